"""What the journal knows, at the moment of a scrape: three reads, however many policies there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily

from rotator.domain.model import Policy
from rotator.domain.record import KeyState, Level, PolicyRecord
from rotator.domain.renewal import renewal_at
from rotator.domain.requests import tasks_of
from rotator.errors import JournalError
from rotator.ports import Look, Work
from rotator.ports_read import Channels, Memory

PHASES = ("idle", "awaiting key", "intended", "issued", "verified", "publishing", "grace", "revoking")
"""Where a policy's rotation stands; ``idle``: there is none."""

_STATES = tuple(KeyState)
_LEVELS = tuple(Level)


class _Gauges:
    """Families by their short name, each with the label ``policy``."""

    def __init__(self) -> None:
        self._families: dict[str, GaugeMetricFamily] = {}

    def declare(self, name: str, text: str, *labels: str) -> None:
        self._families[name] = GaugeMetricFamily(f"rotator_policy_{name}", text, labels=["policy", *labels])

    def put(self, name: str, policy: str, value: float | datetime | None, *labels: str) -> None:
        """One sample; none where there is nothing to tell."""
        if value is not None:
            number = value.timestamp() if isinstance(value, datetime) else value
            self._families[name].add_metric([policy, *labels], number)

    def all(self) -> Iterable[GaugeMetricFamily]:
        return self._families.values()


def of_journal(journal: Memory, policies: Mapping[str, Policy], now: datetime) -> Iterable[GaugeMetricFamily]:
    """The gauges of these policies, and whether the journal could be read."""
    gauges, readable = _declared(), 1.0
    try:
        records, looks, works = journal.records(), journal.looks(), journal.works()
    except JournalError:
        readable = 0.0  # that is what is told; the service's own comparison logs why
    else:
        for name, policy in policies.items():
            _put(gauges, policy, records.get(name, PolicyRecord(policy=name)), looks.get(name), now)
            work = works.get(name, Work())
            gauges.put("last_success_timestamp_seconds", name, work.ok_at)
            gauges.put("last_error_timestamp_seconds", name, work.failed_at)
        held = sum(work.held_until is not None and work.held_until > now for work in works.values())
        yield GaugeMetricFamily("rotator_leases", "Policies that somebody is at work on, on any host.", value=held)
    yield GaugeMetricFamily("rotator_journal_readable", "Whether this scrape could read the journal.", value=readable)
    yield from gauges.all()


def of_channels(outbox: Channels, names: Iterable[str]) -> Iterable[GaugeMetricFamily]:
    """How each configured channel of notifications does; nothing where the journal can't be read."""
    try:
        known = outbox.channels()
    except JournalError:
        return
    failures = GaugeMetricFamily(
        "rotator_notification_failures", "Tries in a row that failed; 0 where the channel works.", labels=["channel"]
    )
    for name in names:
        failures.add_metric([name], known[name].failures if name in known else 0)
    yield failures


def _declared() -> _Gauges:
    gauges = _Gauges()
    gauges.declare("key_expiry_timestamp_seconds", "When the current key ends; absent where it never does.")
    gauges.declare("key_created_timestamp_seconds", "When the current key was made, or came to us.")
    gauges.declare("next_rotation_timestamp_seconds", "When the current key is to be replaced.")
    gauges.declare("next_look_timestamp_seconds", "When the policy is looked at next.")
    gauges.declare("rotation_started_timestamp_seconds", "When the rotation that is not published yet began.")
    gauges.declare("phase", f"1 for the phase that the policy is in: {', '.join(PHASES)}.", "phase")
    gauges.declare("last_success_timestamp_seconds", "When a look was fine last, on any host.")
    gauges.declare("last_error_timestamp_seconds", "When a look ended in an error last, on any host.")
    gauges.declare("consecutive_failures", "Looks in a row that ended in an error.")
    gauges.declare("on_hold", "1 while an operator has put it on hold.")
    gauges.declare("requests", f"What waits for a person, by kind and level: {', '.join(_LEVELS)}.", "kind", "level")
    gauges.declare("request_deadline_timestamp_seconds", "By when a person is to have acted, at the earliest.")
    gauges.declare("keys", f"Live keys by state: {', '.join(_STATES)}.", "state")
    return gauges


def _put(gauges: _Gauges, policy: Policy, record: PolicyRecord, look: Look | None, now: datetime) -> None:
    name, current = policy.name, record.current
    if current is not None:
        gauges.put("key_expiry_timestamp_seconds", name, current.expires_at)
        gauges.put("key_created_timestamp_seconds", name, current.created_at or current.since)
        gauges.put("next_rotation_timestamp_seconds", name, renewal_at(policy, current))
    gauges.put("next_look_timestamp_seconds", name, look.next_at if look else None)
    started = record.in_flight.started_at if record.in_flight else None
    gauges.put("rotation_started_timestamp_seconds", name, started)
    now_in = phase(record)
    for one in PHASES:
        gauges.put("phase", name, float(one == now_in), one)
    gauges.put("consecutive_failures", name, look.failures if look else 0)
    gauges.put("on_hold", name, float(bool(record.held(now))))
    tasks = tasks_of(policy, record, now)
    for (kind, level), many in Counter((task.kind, task.level) for task in tasks).items():
        gauges.put("requests", name, many, kind, level)
    first = min((task.deadline for task in tasks if task.deadline), default=None)
    gauges.put("request_deadline_timestamp_seconds", name, first)
    for state in _STATES:
        gauges.put("keys", name, len(record.in_state(state)), state)


def phase(record: PolicyRecord) -> str:
    """One of ``PHASES``."""
    if record.in_flight:
        return str(record.in_flight.phase)
    if record.awaiting:
        return str(record.awaiting.phase)
    if record.in_state(KeyState.RETIRING):
        return "grace"
    return "revoking" if record.in_state(KeyState.REVOKED) else "idle"
