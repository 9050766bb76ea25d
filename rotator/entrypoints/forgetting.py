"""``rotator forget``: the journal stops remembering a policy that was taken out of the configuration, or a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints import exits
from rotator.entrypoints.shared import CONFIG, REASON, failures, load_settings, operator, wired
from rotator.errors import LeaseHeld

if TYPE_CHECKING:  # see ``shared``
    from rotator.bootstrap import Application
    from rotator.domain.record import KeyRecord, PolicyRecord
    from rotator.service.forget import Forgotten, NotForgotten


@click.command()
@click.argument("policy")
@CONFIG
@click.option("--key", "key_id", metavar="KEY", help="This key alone, by its id.")
@REASON
@click.option("--even-so", is_flag=True, help="Although something would be lost; without it, you are told what.")
@click.pass_context
def forget(
    context: click.Context, policy: str, config: Path | None, key_id: str | None, reason: str, *, even_so: bool
) -> None:
    """Stop remembering POLICY, which is no longer in the configuration; or one key of any policy.

    Nothing is revoked, and no destination is touched: the keys that live on are named, to be dealt with by hand. What
    has happened stays in the journal's history.
    """
    from rotator.service.forget import NotForgotten, forget as forget_now  # noqa: PLC0415, I001

    with failures():
        settings = load_settings(config or context.obj)
        with wired(settings) as application:
            record = _known(application, policy)
            if (key_id in record.forgotten) if key_id else _is_empty(record):
                click.echo(f"{policy}: {f'{key_id} is' if key_id else ''} forgotten already".replace("  ", " "))
                return
            try:
                outcome = forget_now(
                    application.reconciler,
                    policy,
                    f"{reason} ({operator()})",
                    key_id=key_id or "",
                    is_configured=any(one.name == policy for one in settings.policies),
                    even_so=even_so,
                )
            except LeaseHeld as busy:
                click.echo(f"{policy}: not forgotten: {busy}; try again", err=True)
                context.exit(exits.LOCKED)
            if isinstance(outcome, NotForgotten):
                raise click.ClickException(_why_not(policy, outcome))
            click.echo(_told(f"{policy}: {f'{key_id} is forgotten' if key_id else 'forgotten'}", outcome), nl=False)


def _known(application: Application, policy: str) -> PolicyRecord:
    """What is remembered of it; a usage error where nothing ever was: it is misspelt."""
    records = application.journal.records()
    if policy not in records:
        known = ", ".join(sorted(name for name, record in records.items() if not _is_empty(record))) or "none"
        raise click.BadParameter(f"the journal has no policy {policy!r}; it has: {known}", param_hint="POLICY")
    return records[policy]


def _is_empty(record: PolicyRecord) -> bool:
    return not (record.keys or record.rotations or record.open_intents or record.forgotten)


def _why_not(policy: str, outcome: NotForgotten) -> str:
    if outcome.for_ever:
        return f"{policy}: can't be forgotten: {'; '.join(outcome.reasons)}"
    lost = "".join(f"\n  - {reason}" for reason in outcome.reasons)
    return f"{policy}: not forgotten, because this would be lost (--even-so does it all the same):{lost}"


def _told(heading: str, outcome: Forgotten) -> str:
    if not outcome.alive:
        return f"{heading}; no key of it lives on\n"
    lines = [f"{heading}; what lives on is yours to end, at the provider:"]
    lines += [f"  {_line(key, outcome.holders.get(key.key_id, ()))}" for key in outcome.alive]
    return "\n".join(lines) + "\n"


def _line(key: KeyRecord, holders: tuple[str, ...]) -> str:
    from rotator.domain.text import text  # noqa: PLC0415

    ends = f"ends at {text(key.expires_at)}" if key.expires_at else "when it ends is not known"
    name = f" '{key.name}'" if key.name else ""
    held = f"; last seen in {', '.join(sorted(holders))}" if holders else ""
    return f"{key.key_id}{name}: {key.state}, project {key.project}, {ends}{held}"
