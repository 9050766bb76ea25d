"""``rotator status``: what the journal knows of every policy. It asks nobody else, and changes nothing."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rotator.bootstrap import Application
from rotator.domain.channel import troubles_of
from rotator.domain.model import Policy
from rotator.domain.record import KeyRecord, KeyState, Phase, PolicyRecord, RotationRecord
from rotator.domain.renewal import renewal_at
from rotator.domain.requests import Task, tasks_of
from rotator.domain.text import text
from rotator.entrypoints.render import print_table, task_as_dict, tidy
from rotator.entrypoints.served import Served
from rotator.ports import Look
from rotator.telemetry import redact_text, shown

if TYPE_CHECKING:
    from rich.table import Table

AGAIN = timedelta(seconds=2)
"""How often ``--watch`` reads the journal."""

Rows = Sequence[tuple[Policy, PolicyRecord, Look | None]]


def rows_of(application: Served, policy: str | None) -> Rows:
    """Each policy of the configuration, or that one."""
    journal = application.journal
    records, looks = journal.records(), journal.looks()
    return [
        (one, records.get(one.name, PolicyRecord(policy=one.name)), looks.get(one.name))
        for one in application.settings.policies
        if policy in {None, one.name}
    ]


def not_configured(application: Application) -> Mapping[str, Sequence[str]]:
    """Policies that the journal remembers and the configuration does not have, with the ids of their keys."""
    configured = {policy.name for policy in application.settings.policies}
    return {
        name: [key.key_id for key in record.keys]
        for name, record in sorted(application.journal.records().items())
        if name not in configured and (record.keys or record.rotations or record.open_intents)
    }


def print_status(application: Application, policy: str | None) -> None:
    """As a table on standard output, and a line for each channel of notifications that fails."""
    print_table(_table(rows_of(application, policy), application.clock.now()))
    for name, keys in not_configured(application).items() if policy is None else ():
        told = ", ".join(keys) or "none"
        sys.stdout.write(f"{name}: not configured any more; keys that nobody renews or revokes: {told}\n")
    for trouble in _channels(application):
        sys.stdout.write(f"{shown(trouble)}\n")


def _channels(application: Application) -> list[str]:
    names = application.settings.notifications
    return troubles_of(names, application.outbox.channels()) if names else []


def watch_status(opened: Callable[[], AbstractContextManager[Application]], policy: str | None) -> None:
    """The table on a terminal, anew every two seconds, until Ctrl-C or until the terminal has gone.

    :param opened: the application, with a journal that is opened for reading: that shows one moment for ever.
    """
    from rich.live import Live  # noqa: PLC0415 - see ``_table``

    def table() -> Table:
        with opened() as application:
            return tidy(_table(rows_of(application, policy), application.clock.now()))

    try:
        with Live(table(), auto_refresh=False) as shown:
            while os.isatty(sys.stdout.fileno()):
                time.sleep(AGAIN.total_seconds())
                shown.update(table(), refresh=True)
    except KeyboardInterrupt:
        return


def as_json(rows: Rows, now: datetime, others: Mapping[str, Sequence[str]]) -> str:
    """``{"version": 1, "at", "policies": [...]}``; times are RFC 3339 in UTC, ``null`` where there is none.

    :param others: see ``not_configured``.
    """
    document = {
        "version": 1,
        "at": text(now),
        "policies": [_as_dict(*row, now) for row in rows],
        "not_configured": [{"policy": name, "keys": list(keys)} for name, keys in others.items()],
    }
    return redact_text(json.dumps(document, indent=2)) + "\n"


def _as_dict(policy: Policy, record: PolicyRecord, look: Look | None, now: datetime) -> dict[str, object]:
    hold = record.held(now)
    return {
        "policy": policy.name,
        "provider": policy.provider,
        "project": policy.project,
        "destinations": [destination.name for destination in policy.destinations],
        "next_rotation": _text(_due(policy, record, now)),
        "next_window": _text(policy.windows.opens(now) if policy.windows else None),
        "next_look": _text(look.next_at if look else None),
        "failures": look.failures if look else 0,
        "problem": look.problem if look else "",
        "hold": {"reason": hold, "until": _text(record.hold_until)} if hold else None,
        "requested": {"reason": record.requested, "compromised": record.compromised} if record.requested else None,
        "rollback": record.rollback.reason if record.rollback else None,
        "hooks_due": _untold(policy, record),
        "requests": [task_as_dict(task) for task in tasks_of(policy, record, now)],
        "keys": [_key_as_dict(key) for key in record.keys],
        "rotations": [_rotation_as_dict(rotation) for rotation in record.rotations],
    }


def _key_as_dict(key: KeyRecord) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "state": key.state,
        "origin": key.origin,
        "created_at": _text(key.created_at),
        "expires_at": _text(key.expires_at),
        "expires_told_by": key.expires_told_by or None,
        "grace_until": _text(key.grace_until),
    }


def _rotation_as_dict(rotation: RotationRecord) -> dict[str, object]:
    return {
        "rotation_id": rotation.rotation_id,
        "phase": rotation.phase,
        "reason": rotation.reason,
        "started_at": text(rotation.started_at),
    }


def _text(moment: datetime | None) -> str | None:
    return text(moment) if moment else None


def _table(rows: Rows, now: datetime) -> Table:
    from rich.table import Table  # noqa: PLC0415 - slow to import, and only needed here
    from rich.text import Text  # noqa: PLC0415

    columns = (
        "current key",
        "expires (UTC)",
        "next rotation (UTC)",
        "other keys",
        "phase",
        "next look (UTC)",
        "trouble",
    )
    table = Table("policy", *columns)
    for policy, record, look in rows:
        current, untold = record.current, _untold(policy, record)
        trouble = (
            _hold(record, now),
            _asked(record),
            record.rollback and f"rollback asked for: {record.rollback.reason}",
            untold and f"hooks still to run: {', '.join(untold)}",
            *(f"{task.level}: {task.what[0]}{_by(task)}" for task in tasks_of(policy, record, now)),
            look and look.problem,
        )
        table.add_row(
            Text(policy.name),
            Text(current.key_id if current else "none yet"),
            Text(_end(current)),
            Text(_next_rotation(policy, record, now)),
            Text("\n".join(_other(key) for key in record.keys if key is not current)),
            Text(", ".join(_phase(rotation, policy) for rotation in record.rotations)),
            Text(text(look.next_at) if look else "never looked at"),
            Text("; ".join(part for part in trouble if part), style="red"),
        )
    return table


def _end(key: KeyRecord | None) -> str:
    if key and key.expires_at:
        return text(key.expires_at)
    return "never" if key and key.expires_told_by else "not known"


def _by(task: Task) -> str:
    return f", by {text(task.deadline)}" if task.deadline else ""


def _due(policy: Policy, record: PolicyRecord, now: datetime) -> datetime | None:
    if record.requested:
        return now
    return renewal_at(policy, record.current) if record.current else None


def _next_rotation(policy: Policy, record: PolicyRecord, now: datetime) -> str:
    due = _due(policy, record, now) or now
    told = ["asked for"] if record.requested else [text(due)] if record.current else []
    if policy.windows and not record.compromised:
        opens = policy.windows.opens(max(due, now))
        told.append(f"window: {text(opens) if opens else 'never again'}")
    return "\n".join(told)


def _untold(policy: Policy, record: PolicyRecord) -> list[str]:
    return [hook for hook in (record.current.hooks_due if record.current else ()) if hook in policy.hooks]


def _asked(record: PolicyRecord) -> str:
    what = "told to have leaked" if record.compromised else "a new key is asked for"
    return f"{what}: {record.requested}" if record.requested else ""


def _hold(record: PolicyRecord, now: datetime) -> str:
    hold, until = record.held(now), record.hold_until
    return f"on hold{f' until {text(until)}' if until else ''}: {hold}" if hold else ""


def _other(key: KeyRecord) -> str:
    ends = f" until {text(key.grace_until)}" if key.state is KeyState.RETIRING and key.grace_until else ""
    return f"{key.key_id} {key.state}{ends}"


def _phase(rotation: RotationRecord, policy: Policy) -> str:
    if rotation.phase is not Phase.PUBLISHING:
        return rotation.phase
    return f"published to {len(rotation.published)} of {len(policy.destinations)}"
