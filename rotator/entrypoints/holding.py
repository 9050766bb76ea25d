"""Commands that give time: hold, release, extend-grace. Each is recorded with who gave it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints.shared import CONFIG, REASON, Recorded, configured, failures, load_settings, operator, wired

if TYPE_CHECKING:  # see ``shared``
    from rotator.config import Settings
    from rotator.domain.record import KeyRecord, PolicyRecord

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST = timedelta(days=3650)


class Length(click.ParamType):  # type: ignore[type-arg]
    """``90s``, ``30m``, ``8h``, ``2d``: a ``timedelta`` above zero, ten years at most."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """See ``click.ParamType``."""
        from rotator.domain.text import duration  # noqa: PLC0415 - see ``shared``

        found = re.fullmatch(r"([1-9][0-9]{0,15})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is no duration; like 90s, 30m, 8h or 2d", param, ctx)
        seconds = int(found[1]) * _UNITS[found[2]]
        if seconds > _LONGEST.total_seconds():
            self.fail(f"{value!r} is too long; allowed: a duration of at most {duration(_LONGEST)}", param, ctx)
        return timedelta(seconds=seconds)


class Moment(click.ParamType):  # type: ignore[type-arg]
    """``2026-12-24T18:00Z``: an aware time; one without a zone is refused, because nobody knows which is meant."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """See ``click.ParamType``."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(f"{value!r} is no time with a zone; like 2026-12-24T18:00Z", param, ctx)
        return moment.astimezone(UTC)


@click.command()
@click.argument("policy", required=False)
@CONFIG
@click.option("--all", "every", is_flag=True, help="Every policy of the configuration.")
@REASON
@click.option("--until", type=Moment(), help="The hold ends by itself then, like 2026-12-24T18:00Z.")
@click.option("--for", "length", type=Length(), help="The hold ends by itself after that time, like 8h.")
@click.pass_context
def hold(
    context: click.Context,
    policy: str | None,
    config: Path | None,
    *,
    reason: str,
    until: datetime | None,
    length: timedelta | None,
    every: bool,
) -> None:
    """Leave POLICY alone, revocations included, until it is released or the hold ends.

    A policy has one hold, whether it was given by its name or by --all: the last one given counts.
    """
    from rotator.domain.events import Held  # noqa: PLC0415
    from rotator.domain.record import KeyState  # noqa: PLC0415
    from rotator.domain.text import text  # noqa: PLC0415

    with failures():
        settings = load_settings(config or context.obj)
        names = _names(settings, policy, every=every)
        with wired(settings) as application:
            now = application.clock.now()
            end = _end(until, length, now) if until or length else None
            for name in names:
                application.journal.request(name, Held(reason=f"{reason} ({operator()})", until=end), now)
                click.echo(f"{name}: on hold{f' until {text(end)}' if end else ''}")
                for key in application.journal.load(name).in_state(KeyState.RETIRING):
                    if key.first_expiry and key.expires_at:
                        ends = f"{key.key_id} ends by itself at {text(key.expires_at)}, on hold too"
                        click.echo(f"{name}: {ends}; 'rotator extend-grace {name}' gives it more time")


@click.command()
@click.argument("policy", required=False)
@CONFIG
@click.option("--all", "every", is_flag=True, help="Every policy of the configuration.")
@click.option("--reason", type=Recorded(), help="Why; it is recorded.")
@click.pass_context
def release(
    context: click.Context, policy: str | None, config: Path | None, reason: str | None, *, every: bool
) -> None:
    """Take POLICY off hold, whether it was held by its name or by --all; one that is not on hold is left as it is."""
    from rotator.domain.events import Held  # noqa: PLC0415

    with failures():
        settings = load_settings(config or context.obj)
        names = _names(settings, policy, every=every)
        with wired(settings) as application:
            by = f"{reason or ''} ({operator()})".strip()
            for name in names:
                now = application.clock.now()
                if not application.journal.load(name).held(now):
                    click.echo(f"{name}: was not on hold")
                    continue
                application.journal.request(name, Held(reason="", by=by), now)
                click.echo(f"{name}: released")


@click.command("extend-grace")
@click.argument("policy")
@CONFIG
@REASON
@click.option("--by", "length", type=Length(), help="How much later than now planned, like 24h.")
@click.option("--until", type=Moment(), help="The new deadline, like 2026-12-24T18:00Z.")
@click.pass_context
def extend_grace(
    context: click.Context,
    policy: str,
    config: Path | None,
    *,
    reason: str,
    length: timedelta | None,
    until: datetime | None,
) -> None:
    """Let the replaced keys of POLICY live longer: beyond the policy's limit, up to their own expiration.

    The end that rotator had set for them is moved along by the service, or by the next pass.
    """
    from rotator.domain.events import GraceProlonged  # noqa: PLC0415
    from rotator.domain.text import text  # noqa: PLC0415

    if bool(length) == bool(until):
        raise click.UsageError("say --by or --until, and not both")
    with failures():
        settings = load_settings(config or context.obj)
        configured(settings, policy)
        with wired(settings) as application:
            now, record = application.clock.now(), application.journal.load(policy)
            keys = _in_grace(record)
            if isinstance(keys, str):
                raise click.ClickException(f"{policy}: no grace can be extended: {keys}")
            latest = max(key.grace_until or now for key in keys)
            end = until or latest + (length or timedelta(0))
            if until == latest:  # told a second time
                click.echo(f"{policy}: stays valid until {text(latest)} already")
                return
            why = _refused(keys, end, max(latest, now))
            if why:
                raise click.ClickException(f"{policy}: the grace can't be extended: {why}")
            ids = tuple(key.key_id for key in keys)
            event = GraceProlonged(key_ids=ids, grace_until=end, reason=f"{reason} ({operator()})")
            application.journal.request(policy, event, now)
            click.echo(f"{policy}: {', '.join(ids)} stays valid until {text(end)}")


def _in_grace(record: PolicyRecord) -> tuple[KeyRecord, ...] | str:
    """The keys whose grace can be extended, or why there is none."""
    from rotator.domain.record import KeyState, Origin  # noqa: PLC0415

    retiring = [key for key in record.in_state(KeyState.RETIRING) if key.origin is not Origin.LEGACY]
    if not retiring:
        return "no key is in its grace"
    if record.compromised or any(key.leaked for key in retiring):
        return "the key before was told to have leaked"
    keys = tuple(key for key in retiring if not key.condemned)
    return keys or "the revocation was decided, and perhaps sent"


def _refused(keys: tuple[KeyRecord, ...], end: datetime, latest: datetime) -> str:
    from rotator.domain.text import text  # noqa: PLC0415

    if end <= latest:
        return f"{text(end)} is not later than {text(latest)}"
    for key in keys:
        own = key.first_expiry.at if key.first_expiry else key.expires_at
        if own is not None and own < end:
            return f"{key.key_id} ends by itself at {text(own)}"
    return ""


def _end(until: datetime | None, length: timedelta | None, now: datetime) -> datetime:
    from rotator.domain.text import text  # noqa: PLC0415

    if until and length:
        raise click.UsageError("say --until or --for, and not both")
    end = until or now + (length or timedelta(0))
    if end <= now:
        raise click.UsageError(f"--until {text(end)} is past")
    return end


def _names(settings: Settings, policy: str | None, *, every: bool) -> list[str]:
    if every == bool(policy):
        raise click.UsageError("say one POLICY, or --all")
    return [one.name for one in settings.policies] if every else [configured(settings, policy or "").name]
