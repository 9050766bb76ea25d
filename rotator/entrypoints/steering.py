"""Commands of an operator for one policy. Each is recorded with who gave it, and works beside a running service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints import exits
from rotator.entrypoints.adopting import adopt
from rotator.entrypoints.forgetting import forget
from rotator.entrypoints.holding import extend_grace, hold, release
from rotator.entrypoints.shared import CONFIG, REASON, configured, failures, load_settings, operator, say, wired

if TYPE_CHECKING:  # see ``shared``
    from rotator.bootstrap import Application
    from rotator.domain.model import Policy
    from rotator.service.reconcile import Outcome


@click.command()
@click.argument("policy")
@CONFIG
@REASON
@click.option("--compromised", is_flag=True, help="The key has leaked: at once, and without a grace.")
@click.pass_context
def rotate(context: click.Context, policy: str, config: Path | None, reason: str, *, compromised: bool) -> None:
    """Ask for a new key for POLICY; a running service begins within seconds, cron at its next run.

    On a policy that is on hold it waits for the release, a leaked key too (exit 75).
    """
    from rotator.domain.events import RotationRequested  # noqa: PLC0415

    reason = f"{reason} ({operator()})"
    event = RotationRequested(reason=reason, compromised=compromised)
    with failures():
        settings = load_settings(config or context.obj)
        configured(settings, policy)
        with wired(settings) as application:
            now = application.clock.now()
            application.journal.request(policy, event, now)
            held = application.journal.load(policy).held(now)
    if held:
        say(f"{policy}: on hold ({held}): a new key is made when the policy is released")
        context.exit(exits.LOCKED)
    click.echo(f"{policy}: a new key is asked for")


@click.command()
@click.argument("policy")
@CONFIG
@REASON
@click.pass_context
def rollback(context: click.Context, policy: str, config: Path | None, reason: str) -> None:
    """Put the key back that the last rotation of POLICY replaced, within its grace, at once.

    The newer key stays valid for a grace of its own, because consumers may hold it already. A running service that
    is at work on the policy does it instead. On a policy that is on hold it waits for the release (exit 75).
    """
    from rotator.domain.events import RollbackRequested  # noqa: PLC0415
    from rotator.domain.rollback import former_key  # noqa: PLC0415
    from rotator.domain.text import text  # noqa: PLC0415

    with failures():
        settings = load_settings(config or context.obj)
        known = configured(settings, policy)
        with wired(settings) as application:
            record, now = application.journal.load(policy), application.clock.now()
            former = former_key(record)
            if isinstance(former, str):
                raise click.ClickException(f"{policy}: can't be rolled back: {former}")
            event = RollbackRequested(reason=f"{reason} ({operator()})")
            application.journal.request(policy, event, now)
            held, until = record.held(now), record.hold_until
            if held:
                say(f"{policy}: on hold ({held}): {former.key_id} is put back when the policy is released")
                if until:
                    click.echo(f"{policy}: the hold ends at {text(until)}")
                context.exit(exits.LOCKED)
            click.echo(f"{policy}: {former.key_id} is to be put back")
            context.exit(look_now(application, known))


def look_now(application: Application, policy: Policy) -> int:
    """Do at once what was asked for; exit 75 where another process is at work on the policy, and will do it."""
    from rotator.entrypoints.render import outcome_line  # noqa: PLC0415
    from rotator.service.reconcile import Result  # noqa: PLC0415

    outcome: Outcome = application.reconciler.reconcile(policy)
    click.echo(outcome_line(outcome), nl=False)
    codes: dict[Result, int] = {Result.OK: exits.OK, Result.BUSY: exits.LOCKED}
    return codes.get(outcome.result, exits.FAILED)


def register(group: click.Group) -> None:
    """Add these commands to the command line."""
    for command in (rotate, hold, release, extend_grace, rollback, adopt, forget):
        group.add_command(command)
