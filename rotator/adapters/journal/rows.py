"""Rows of the tables as what the port speaks of, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from rotator.adapters.journal.codec import event_to_json, record_from_json, time_from_text, time_to_text
from rotator.domain.chain import Entry, Head
from rotator.domain.key_checks import LARGEST_SKEW
from rotator.domain.record import PolicyRecord
from rotator.domain.secret import Fingerprint
from rotator.ports import Lease, Look, Observation, Work

_OF_ENTRY = tuple(one.name for one in fields(Entry))


@dataclass(frozen=True, slots=True)
class State:
    """A record, its text in the database, and where its chain of events ends.

    :param failures: looks in a row that ended in an error, when the lease was taken.
    """

    text: str
    record: PolicyRecord
    head: Head
    failures: int = 0


def state_of(row: Row[Any]) -> State:
    """What a row of ``policy_state`` says."""
    return State(row.state, record_from_json(row.state), head_of(row), row.failures)


def head_of(row: Row[Any]) -> Head:
    """Where the chain of a row of ``policy_state`` ends."""
    return Head(row.chain_length, row.chain_head)


def entry_of(row: Row[Any]) -> Entry:
    """A row of ``event``."""
    return Entry(**{name: getattr(row, name) for name in _OF_ENTRY})


def look_of(row: Row[Any, Any, Any, Any, Any, Any, Any]) -> Look:
    """The end of a policy's last look."""
    return Look(
        next_at=time_from_text(row.next_at),
        digest=row.digest,
        failures=row.failures,
        problem=row.problem,
        alerts=tuple((check, reason) for check, reason in json.loads(row.alerts or "[]")),
        ok_at=_time_of(row.ok_at),
    )


def work_of(row: Row[Any, Any, Any, Any, Any]) -> Work:
    """How the work on a policy went."""
    return Work(
        ok_at=_time_of(row.ok_at),
        failed_at=_time_of(row.failed_at),
        held_until=time_from_text(row.lease_until) if row.lease_holder and row.lease_until else None,
    )


def observation_of(row: Row[Any, Any, Any, Any, Any]) -> Observation:
    """What a destination was seen to hold."""
    return Observation(
        destination=row.destination,
        scope=row.scope,
        fingerprint=Fingerprint(row.fingerprint) if row.fingerprint else None,
        seen_at=time_from_text(row.seen_at),
        key_id=row.key_id,
    )


def row_of(one: Observation) -> dict[str, object]:
    """The row of ``observation``."""
    return {
        "destination": one.destination,
        "scope": one.scope,
        "fingerprint": one.fingerprint,
        "seen_at": time_to_text(one.seen_at),
        "key_id": one.key_id,
    }


@dataclass(frozen=True, slots=True)
class By:
    """Who records something, when, and by which lease; see ``domain.chain.Entry``."""

    who: str
    now: datetime
    token: int = 0


def event_rows(head: Head, policy: str, events: Sequence[object], by: By) -> tuple[list[dict[str, object]], Head]:
    """The rows of ``event`` that follow on a chain's end, and its new end."""
    rows = []
    for event in events:
        unlinked = Entry(
            policy=policy,
            number=head.number + 1,
            at=time_to_text(by.now),
            who=by.who,
            token=by.token,
            kind=type(event).__name__,
            body=event_to_json(event),
            previous=head.hash,
        )
        head = Head(unlinked.number, unlinked.digest())
        rows.append({name: getattr(unlinked, name) for name in _OF_ENTRY} | {"hash": head.hash})
    return rows, head


def is_valid(row: Row[Any], now: datetime) -> bool:
    """Whether a lease holds now; one that ends later than it can have been given was given by a clock ahead."""
    left = time_from_text(row.lease_until) - now
    return timedelta(0) < left <= timedelta(seconds=row.lease_seconds) + LARGEST_SKEW


def holding(lease: Lease) -> dict[str, object]:
    """What ``statements.HELD`` compares with."""
    return {"p": lease.policy, "t": lease.token, "h": lease.holder}


def _time_of(text: str) -> datetime | None:
    """Of a column that is empty where there is no such moment."""
    return time_from_text(text) if text else None
