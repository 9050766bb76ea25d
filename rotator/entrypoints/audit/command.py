"""``rotator audit``: what security staff run and hand in. It reads, and changes nothing anywhere."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints import exits
from rotator.entrypoints.audit.private import put_privately
from rotator.entrypoints.holding import Length
from rotator.entrypoints.shared import CONFIG, configured, failures, load_settings

if TYPE_CHECKING:  # see ``shared``
    from rotator.config import Settings
    from rotator.domain.audit.report import Report

SEVERITIES = ("info", "low", "medium", "high", "critical")
FORMATS = ("table", "json", "sarif", "csv", "html")


@click.command()
@CONFIG
@click.option(
    "--format", "style", type=click.Choice(FORMATS), default="table", show_default=True, help="Of the report."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Where it goes; - is standard output.",
)
@click.option(
    "--fail-on", type=click.Choice(SEVERITIES), metavar="SEVERITY", help="Exit 3 where a finding is that bad, or worse."
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Findings that are accepted, each with a reason and an end (YAML).",
)
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="This policy alone; may be repeated.")
@click.option("--project", "projects", multiple=True, metavar="ID", help="This project alone; may be repeated.")
@click.option("--no-journal", is_flag=True, help="Do not look at the journal, which this machine may not have.")
@click.option("--allow-incomplete", is_flag=True, help="Exit 0 although something could not be looked at.")
@click.option("--unused-after", type=Length(), default="45d", show_default=True, help="How long a key may be unused.")
@click.pass_context
def audit(
    context: click.Context,
    *,
    config: Path | None,
    style: str,
    output: Path | None,
    fail_on: str | None,
    baseline: Path | None,
    policies: tuple[str, ...],
    projects: tuple[str, ...],
    unused_after: timedelta,
    no_journal: bool,
    allow_incomplete: bool,
) -> None:
    """Report what is wrong with keys, destinations, policies and the rotator itself; change nothing.

    Read-only credentials are enough. Exit codes: 0; 1 where something could not be looked at (the rest is reported);
    2 usage or configuration; 3 where a finding is at or over --fail-on.
    """
    with failures():
        settings = load_settings(config or context.obj)
        _check(settings, policies, projects)
        from rotator.domain.audit.finding import Severity  # noqa: PLC0415 - see ``shared``
        from rotator.domain.audit.seen import Limits  # noqa: PLC0415
        from rotator.entrypoints.audit.accepted import read_baseline  # noqa: PLC0415
        from rotator.entrypoints.audit.run import Wanted, audited  # noqa: PLC0415
        from rotator.service.audit import Scope  # noqa: PLC0415

        wanted = Wanted(
            scope=Scope(policies=frozenset(policies), projects=frozenset(projects)),
            baseline=read_baseline(baseline) if baseline else (),
            journal=not no_journal,
            limits=Limits(unused_after=unused_after),
        )
        report = audited(settings, wanted)
        _write(report, settings, style, output)
        if not report.complete and not allow_incomplete:
            context.exit(exits.FAILED)
        context.exit(exits.FOUND if fail_on and report.has(Severity(fail_on)) else exits.OK)


def _check(settings: Settings, policies: tuple[str, ...], projects: tuple[str, ...]) -> None:
    for name in policies:
        configured(settings, name, said_by="--policy")
    known = {policy.project for policy in settings.policies}
    for project in projects:
        if project not in known:
            raise click.BadParameter(f"no policy is of project {project!r}", param_hint="--project")


def _write(report: Report, settings: Settings, style: str, output: Path | None) -> None:
    from rotator.entrypoints.audit.formats import summary, written  # noqa: PLC0415 - with rich or Jinja, slow to import

    text = written(report, settings, style, wide=output is not None)
    if output is None or str(output) == "-":
        click.echo(text, nl=False)
        return
    try:
        put_privately(output, text)
    except OSError as error:
        raise click.ClickException(f"{output}: can't be written ({error.strerror})") from error
    click.echo(f"{summary(report)}; written to {output}")
