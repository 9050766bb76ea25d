"""``rotator plan``: every rotation and revocation to come, by the journal alone. It asks nobody, changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints.holding import Length
from rotator.entrypoints.shared import CONFIG, configured, failures, load_settings, wired

if TYPE_CHECKING:  # see ``shared``
    from rotator.domain.forecast import Happening


@click.command()
@CONFIG
@click.option("--until", "length", type=Length(), default="90d", show_default=True, help="How far to look ahead.")
@click.option("--format", "style", type=click.Choice(["table", "json", "ical"]), default="table", show_default=True)
@click.option("--policy", "names", multiple=True, metavar="NAME", help="This policy alone; may be repeated.")
@click.pass_context
def plan(context: click.Context, config: Path | None, length: timedelta, style: str, names: tuple[str, ...]) -> None:
    """Print every rotation and revocation to come, and what never fits: simulated by the planner itself."""
    with failures():
        settings = load_settings(config or context.obj)
        for name in names:
            configured(settings, name, said_by="--policy")
        from rotator.domain.forecast import forecast  # noqa: PLC0415 - see ``shared``

        with wired(settings, read_only=True) as application:
            now = application.clock.now()
            # All policies: the others of a group decide with.
            happenings = forecast(settings.policies, application.journal.records(), now, now + length)
        wanted = [one for one in happenings if not names or one.policy in names]
        click.echo(_written(wanted, style, now, length, settings.instance), nl=False)


def _written(happenings: Sequence[Happening], style: str, now: datetime, length: timedelta, instance: str) -> str:
    from rotator.telemetry import redact_text  # noqa: PLC0415 - see ``shared``

    if style == "json":
        return redact_text(_as_json(happenings, now, length))
    return _as_calendar(happenings, now, instance) if style == "ical" else _as_table(happenings, length)


def _as_json(happenings: Sequence[Happening], now: datetime, length: timedelta) -> str:
    """``{"version": 1, "at", "until", "happenings": [...]}``; times are RFC 3339 in UTC."""
    from rotator.domain.text import text  # noqa: PLC0415 - see ``shared``

    told = [
        {
            "at": text(one.at),
            "policy": one.policy,
            "project": one.project,
            "what": one.what,
            "key_id": one.key_id or None,
            "why": one.why,
        }
        for one in happenings
    ]
    document = {"version": 1, "at": text(now), "until": text(now + length), "happenings": told}
    return json.dumps(document, indent=2) + "\n"


def _as_calendar(happenings: Sequence[Happening], now: datetime, instance: str) -> str:
    """RFC 5545. A happening keeps its UID as long as its day stays: a calendar that reads it again has it once.

    Of several of one kind that a policy has on a day, the first stays the first, the second the second, and so on.
    """
    import hashlib  # noqa: PLC0415 - see ``shared``
    from collections import Counter  # noqa: PLC0415 - see ``shared``

    from icalendar import Calendar, Event  # noqa: PLC0415 - slow to import

    from rotator.telemetry import shown  # noqa: PLC0415

    calendar = Calendar()
    calendar.add("prodid", "-//rotator//plan//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"rotator {instance}")
    so_far: Counter[str] = Counter()
    for one in happenings:
        event = Event()
        # Nothing of what a key that does not exist yet is called: these are numbered over all policies.
        same = "\0".join((instance, one.policy, one.what, f"{one.at:%Y-%m-%d}"))
        known = f"{same}\0{so_far[same]}"
        so_far[same] += 1
        event.add("uid", f"{hashlib.sha256(known.encode()).hexdigest()[:32]}@rotator")
        event.add("dtstamp", now.replace(microsecond=0))
        event.add("dtstart", one.at.replace(microsecond=0))
        event.add("duration", timedelta(minutes=15))
        event.add("summary", shown(f"{one.what}: {one.policy}"))
        event.add("description", shown(f"{one.key_id}: {one.why}" if one.key_id else one.why))
        event.add("categories", [str(one.what)])
        event.add("transp", "TRANSPARENT")
        calendar.add_component(event)
    text: str = calendar.to_ical().decode()
    return text


def _as_table(happenings: Sequence[Happening], length: timedelta) -> str:
    import io  # noqa: PLC0415 - see ``shared``
    import sys  # noqa: PLC0415 - see ``shared``

    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from rotator.domain.forecast import What, summary  # noqa: PLC0415
    from rotator.domain.text import text  # noqa: PLC0415
    from rotator.entrypoints.render import tidy  # noqa: PLC0415

    on_terminal = sys.stdout.isatty()
    console = Console(file=io.StringIO(), width=None if on_terminal else 200, force_terminal=on_terminal)
    if happenings:
        table = Table("when (UTC)", "policy", "what", "key", "why")
        for one in happenings:
            style = "red" if one.what is What.TROUBLE else ""
            table.add_row(text(one.at), Text(one.policy), Text(one.what, style=style), Text(one.key_id), Text(one.why))
        console.print(tidy(table))
    console.print(summary(happenings, length), highlight=False, soft_wrap=True)
    assert isinstance(console.file, io.StringIO), "made above"
    return console.file.getvalue()
