"""``rotator history``: what was recorded, whether it is whole, and a copy that can be verified elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints import exits
from rotator.entrypoints.shared import CONFIG, failures, load_settings, wired

if TYPE_CHECKING:  # see ``shared``
    from rotator.bootstrap import Application
    from rotator.domain.verify import Report

_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.command()
@click.argument("policy", required=False)
@CONFIG
@click.option("--last", default=50, show_default=True, type=click.IntRange(1, 100_000), help="So many events at most.")
@click.option("--json", "as_document", is_flag=True, help="For programs.")
@click.option("--verify", is_flag=True, help="Find every change, gap, exchange or cut; exit code 1 where there is one.")
@click.option("--from", "source", type=_FILE, help="With --verify: an export, and no journal. - is standard input.")
@click.option(
    "--anchors", type=_FILE, help="With --verify: heads that were written down elsewhere, or a log with them."
)
@click.option(
    "--export", "target", type=_FILE, help="Write all of it as JSON lines, to a new file or - for standard output."
)
@click.pass_context
def history(
    context: click.Context,
    policy: str | None,
    config: Path | None,
    last: int,
    *,
    as_document: bool,
    verify: bool,
    source: Path | None,
    anchors: Path | None,
    target: Path | None,
) -> None:
    """Print what was recorded of every policy, or of POLICY: who did what, when and why. Changes nothing."""
    if verify and target:
        raise click.UsageError("--verify and --export exclude each other")
    if (source or anchors) and not verify:
        raise click.UsageError("--from and --anchors go with --verify")
    if source and policy:
        raise click.UsageError("--from verifies the whole file: leave POLICY out")
    with failures():
        if source is not None:
            from rotator.entrypoints.evidence import verify_export  # noqa: PLC0415

            context.exit(_tell(verify_export(source, anchors), as_document=as_document))
        settings = load_settings(config or context.obj, secrets=False)
        proves = verify or target is not None
        with wired(settings, read_only=True, must_exist=proves) as application:
            _known(application, policy)
            if verify:
                from rotator.entrypoints.evidence import verify_journal  # noqa: PLC0415

                found = verify_journal(application.history, settings.instance, policy, anchors)
                context.exit(_tell(found, as_document=as_document))
            if target is not None:
                from rotator.entrypoints.evidence import export  # noqa: PLC0415

                count = export(application, policy, target)
                click.echo(f"{target}: {count} events", err=True)
                return
            from rotator.entrypoints import events  # noqa: PLC0415 - with rich, slow to import

            entries = application.history.newest(policy, last)
            if as_document:
                click.echo(events.as_json(entries), nl=False)
            else:
                events.print_events(entries)


def _known(application: Application, policy: str | None) -> None:
    """A policy that has left the configuration has its history all the same."""
    if policy is None or any(one.name == policy for one in application.settings.policies):
        return
    if policy not in application.history.chains():
        source = application.settings.source
        raise click.BadParameter(f"no policy {policy!r} in {source}, nor in the journal", param_hint="POLICY")


def _tell(report: Report, *, as_document: bool) -> int:
    from rotator.entrypoints.evidence import report_as_json, report_as_text  # noqa: PLC0415

    sys.stdout.write(report_as_json(report) if as_document else report_as_text(report))
    return exits.FAILED if report.faults else exits.OK
