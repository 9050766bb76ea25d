"""The command line. Results go to standard output, logs and errors to standard error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator import __version__
from rotator.entrypoints import exits, steering
from rotator.entrypoints.audit.command import audit
from rotator.entrypoints.coming import plan
from rotator.entrypoints.health import health
from rotator.entrypoints.history import history
from rotator.entrypoints.people import requests, submit
from rotator.entrypoints.policy import policy
from rotator.entrypoints.shared import CONFIG, configured, failures, load_settings, log_from, wired

if TYPE_CHECKING:  # see ``shared``
    from rotator.config import Settings

EPILOG = """\b
Exit codes:
  0   fine
  1   something failed, a pass was ended early, or its output can't be written
  2   usage or configuration
  3   --dry-run found work to do; audit found what --fail-on names
  75  another process holds the lock

\b
Start here:
  rotator validate --config FILE      checks the configuration, offline
  rotator --config FILE --dry-run     the plan; changes nothing anywhere
  rotator --config FILE --run-once    one pass, for cron
  rotator --config FILE               the service, in the foreground
"""


@click.group(
    invoke_without_command=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@CONFIG
@click.option("--run-once", is_flag=True, help="One pass over all policies, then exit.")
@click.option("--dry-run", is_flag=True, help="Print the plan of one pass; change nothing anywhere.")
@click.option("--test-hooks", is_flag=True, help="Run the hooks of every policy once, as a test; nothing else.")
@click.option("--test-notifications", is_flag=True, help="Send a test message over every channel; nothing else.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How --dry-run prints the plan.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Overrides the configuration.",
)
@click.version_option(__version__, message="rotator %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    config: Path | None,
    *,
    run_once: bool,
    dry_run: bool,
    test_hooks: bool,
    test_notifications: bool,
    style: str,
    log_level: str | None,
) -> None:
    """Keep project API keys fresh.

    rotator creates a replacement ahead of expiry, verifies it, writes it to every place where consumers read
    it, and revokes the old key after a grace period. Without a command it runs as a service.
    """
    context.obj = config
    if not dry_run and context.get_parameter_source("style") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--format goes with --dry-run")
    trials = {"--test-hooks": test_hooks, "--test-notifications": test_notifications}
    trial = next((option for option, given in trials.items() if given), None)
    if context.invoked_subcommand is not None:
        if run_once or dry_run:
            raise click.UsageError("--run-once and --dry-run go without a command")
        if trial:
            raise click.UsageError(f"{trial} goes without a command")
        return
    if run_once and dry_run:
        raise click.UsageError("--run-once and --dry-run exclude each other")
    if trial and (run_once or dry_run or all(trials.values())):
        raise click.UsageError(f"{trial} goes alone")
    with failures():
        settings = load_settings(config)
        level = log_level or ("warning" if run_once or dry_run or trial else settings.log.level)
        if run_once:
            context.exit(_pass(settings, level))
        if dry_run:
            context.exit(_dry_run(settings, style, level))
        log_from(settings, level)
        if trial:
            from rotator.entrypoints.trial import try_hooks, try_notifications  # noqa: PLC0415

            context.exit(try_hooks(settings) if test_hooks else try_notifications(settings))
        from rotator.entrypoints.serve import serve  # noqa: PLC0415 - the scheduler is slow to import

        context.exit(serve(settings))


@cli.command()
@CONFIG
@click.pass_context
def validate(context: click.Context, config: Path | None) -> None:
    """Check the configuration, offline: fields, names, references, secrets that are missing."""
    with failures():
        settings = load_settings(config or context.obj, forms=True)
        click.echo(
            f"{settings.source}: fine; policies: {len(settings.policies)}, "
            f"backends: {', '.join(settings.backends)}, providers: {', '.join(settings.providers)}"
        )


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from rotator.config import schema as of_configuration  # noqa: PLC0415 - pydantic is slow to import

    click.echo(json.dumps(of_configuration(), indent=2))


@cli.command()
@click.argument("policy", required=False)
@CONFIG
@click.option("--json", "as_document", is_flag=True, help="For programs.")
@click.option("--watch", is_flag=True, help="On a terminal: anew every two seconds, until Ctrl-C.")
@click.pass_context
def status(context: click.Context, policy: str | None, config: Path | None, *, as_document: bool, watch: bool) -> None:
    """Print what the journal knows of every policy, or of POLICY; asks nobody else, changes nothing."""
    if watch and as_document:
        raise click.UsageError("--watch and --json exclude each other")
    if watch and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; for programs there is --json")
    with failures():
        settings = load_settings(config or context.obj)
        if policy is not None:
            configured(settings, policy)
        from rotator.entrypoints import status as shown  # noqa: PLC0415 - with rich, slow to import

        if watch:
            shown.watch_status(lambda: wired(settings, read_only=True), policy)
            return
        with wired(settings, read_only=True) as application:
            if as_document:
                others = shown.not_configured(application) if policy is None else {}
                rows = shown.rows_of(application, policy)
                click.echo(shown.as_json(rows, application.clock.now(), others), nl=False)
            else:
                shown.print_status(application, policy)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback, unless you know why.")
@click.option("--port", type=click.IntRange(0, 65535), default=8555, show_default=True, help="0 picks a free one.")
@click.option("--seed", type=click.Path(path_type=Path, exists=True), help="Organisations and projects to begin with.")
@click.option("--faults", type=click.Path(path_type=Path, exists=True), help="What goes wrong, and when.")
def simulator(host: str, port: int, seed: Path | None, faults: Path | None) -> None:
    """Run a Together-compatible server in memory, for rehearsals: public endpoints and key management."""
    try:
        from rotator.simulator.server import BadFile, serve  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is missing: pip install 'rotator[simulator]'") from error
    try:
        serve(
            host=host,
            port=port,
            seed_file=seed,
            faults_file=faults,
            announce=lambda url: click.echo(f"listening on {url}"),
        )
    except BadFile as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(exits.USAGE)
    except OSError as error:
        raise click.ClickException(str(error)) from error


def _pass(settings: Settings, log_level: str) -> int:
    from rotator.entrypoints.once import run_once  # noqa: PLC0415 - see ``shared``

    with wired(settings, who="once", log_level=log_level) as application:
        return run_once(application)


def _dry_run(settings: Settings, style: str, log_level: str) -> int:
    from rotator.entrypoints.dry import dry_run  # noqa: PLC0415 - see ``shared``

    with wired(settings, read_only=True, log_level=log_level) as application:
        return dry_run(application, style)


steering.register(cli)
cli.add_command(history)
cli.add_command(submit)
cli.add_command(requests)
cli.add_command(policy)
cli.add_command(health)
cli.add_command(audit)
cli.add_command(plan)
