"""``rotator adopt POLICY``: a key that lies in the destinations becomes the current one, by an operator's word."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints import exits
from rotator.entrypoints.holding import Moment
from rotator.entrypoints.shared import CONFIG, configured, failures, load_settings, operator, wired
from rotator.errors import LeaseHeld

if TYPE_CHECKING:  # see ``shared``
    from rotator.domain.model import Policy
    from rotator.service.adopt import Adopted

NEVER = "never"


class Ending(click.ParamType):  # type: ignore[type-arg]
    """``never``, a date (the start of that day, UTC), or an aware time."""

    name = "date"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime | str:
        """See ``click.ParamType``."""
        if isinstance(value, datetime) or value == NEVER:
            return value if isinstance(value, datetime) else NEVER
        try:
            return datetime.combine(date.fromisoformat(str(value)), time(), UTC)
        except ValueError:
            pass
        try:
            return Moment().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no date; like 2026-12-24, 2026-12-24T18:00Z, or never", param, ctx)


@click.command()
@click.argument("policy")
@CONFIG
@click.option(
    "--expires",
    type=Ending(),
    metavar="DATE|never",
    help="The key's expiration, where the provider does not tell it: a date means its start, in UTC.",
)
@click.pass_context
def adopt(context: click.Context, policy: str, config: Path | None, expires: datetime | str | None) -> None:
    """Record the key that all destinations of POLICY hold as its current one, now.

    Without it the next look does so by itself, where the policy's "drift" allows it. Nothing is written but the
    journal. Refused, with the reason, where the destinations differ, or hold no key of this project that works.
    """
    from rotator.service.adopt import Adopted, Told, adopt as adopt_now  # noqa: PLC0415, I001

    with failures():
        settings = load_settings(config or context.obj)
        known = configured(settings, policy)
        by = operator()
        told = None if expires is None else Told(expires if isinstance(expires, datetime) else None, by)
        with wired(settings) as application:
            try:
                outcome = adopt_now(application.reconciler, known, told, by)
            except LeaseHeld as busy:
                click.echo(f"{policy}: not adopted: {busy}; try again", err=True)
                context.exit(exits.LOCKED)
            if not isinstance(outcome, Adopted):
                raise click.ClickException(f"{policy}: can't be adopted: {outcome.reason}")
            _tell(known, outcome)


def _tell(policy: Policy, outcome: Adopted) -> None:
    from rotator.domain.renewal import renewal_at  # noqa: PLC0415
    from rotator.domain.text import text  # noqa: PLC0415

    key = outcome.key
    if key.expires_at:
        ends = f"it ends at {text(key.expires_at)}"
    else:
        ends = "it never ends" if key.expires_told_by else "when it ends is not known (tell it with --expires)"
    click.echo(f"{policy.name}: {key.key_id} is the current key{'' if outcome.is_new else ' already'}; {ends}")
    click.echo(f"{policy.name}: it is to be replaced at {text(renewal_at(policy, key))}")
    if outcome.others:
        click.echo(f"{policy.name}: the same key is known to {', '.join(outcome.others)}: each gets a key of its own")
