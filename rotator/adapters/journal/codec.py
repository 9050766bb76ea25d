"""Records and events as JSON. A field that a later version adds has a default, so older journals stay readable."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from rotator.domain.record import PolicyRecord

_events: dict[type, TypeAdapter[Any]] = {}


@cache
def _record() -> TypeAdapter[PolicyRecord]:
    # Made when it is first needed: a pass with nothing due needs none.
    return TypeAdapter(PolicyRecord)


def record_to_json(record: PolicyRecord) -> str:
    """The whole record."""
    return _record().dump_json(record).decode()


def record_from_json(text: str) -> PolicyRecord:
    """The record again; unknown fields are passed over."""
    return _record().validate_json(text)


def event_to_json(event: object) -> str:
    """The event's fields; its class name is stored beside."""
    adapter = _events.get(type(event))
    if adapter is None:
        adapter = _events[type(event)] = TypeAdapter(type(event))
    return adapter.dump_json(event).decode()


def time_to_text(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def time_from_text(text: str) -> datetime:
    """The time again, aware."""
    return datetime.fromisoformat(text)
