"""Rows of the tables as what the port speaks of, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from rotator.adapters.journal.codec import event_to_json, time_from_text, time_to_text
from rotator.domain.events import Event
from rotator.domain.key_checks import LARGEST_SKEW
from rotator.domain.record import PolicyRecord
from rotator.domain.secret import Fingerprint
from rotator.ports import Lease, Look, Observation


@dataclass(frozen=True, slots=True)
class State:
    """A record, and its text in the database."""

    text: str
    record: PolicyRecord


def look_of(row: Row[Any, Any, Any, Any, Any, Any]) -> Look:
    """The end of a policy's last look."""
    return Look(
        next_at=time_from_text(row.next_at),
        digest=row.digest,
        failures=row.failures,
        problem=row.problem,
        alerts=tuple((check, reason) for check, reason in json.loads(row.alerts or "[]")),
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


def event_row(policy: str, token: int, event: Event, now: datetime) -> dict[str, object]:
    """The row of ``event``.

    :param token: of the lease by which it is recorded; 0 for what is recorded beside its holder.
    """
    row = {"at": time_to_text(now), "policy": policy, "token": token}
    return {**row, "kind": type(event).__name__, "body": event_to_json(event)}


def is_valid(row: Row[Any], now: datetime) -> bool:
    """Whether a lease holds now; one that ends later than it can have been given was given by a clock ahead."""
    left = time_from_text(row.lease_until) - now
    return timedelta(0) < left <= timedelta(seconds=row.lease_seconds) + LARGEST_SKEW


def holding(lease: Lease) -> dict[str, object]:
    """What ``statements.HELD`` compares with."""
    return {"p": lease.policy, "t": lease.token, "h": lease.holder}
