"""Writing events at the end of a policy's chain, within a transaction that another one began."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from rotator.adapters.journal import statements
from rotator.adapters.journal.codec import record_to_json, time_to_text
from rotator.adapters.journal.rows import By, State, event_rows, head_of, holding
from rotator.domain.chain import TroubleBegan, TroubleEnded
from rotator.domain.events import Event
from rotator.domain.lifecycle import fold_all
from rotator.ports import Lease, Look

LONGEST_WHY = 500
"""So much of a problem's text is recorded for good; the whole of the newest one is in the schedule."""


def move(connection: Connection, lease: Lease, before: State, events: Sequence[Event], by: By) -> State | None:
    """Write what events make of a record, and them; ``None``, and nothing is written, where it is not there."""
    record = fold_all(before.record, list(events))
    rows, head = event_rows(before.head, lease.policy, events, by)
    after = State(record_to_json(record), record, head, before.failures)
    put = {**holding(lease), "s": before.text, "n": before.head.number, "state": after.text}
    put |= {"lease_until": time_to_text(by.now + lease.ttl), "chain_length": head.number, "chain_head": head.hash}
    if connection.execute(statements.MOVE_KNOWN, put).rowcount == 0:
        return None
    for row in rows:
        connection.execute(statements.ADD_EVENT, row)
    return after


def append(connection: Connection, policy: str, events: Sequence[object], by: By) -> None:
    """Write events that no record folds, or whose record the caller writes. The row is locked until the end."""
    row = connection.execute(statements.LOCKED, {"p": policy}).one()
    rows, head = event_rows(head_of(row), policy, events, by)
    for each in rows:
        connection.execute(statements.ADD_EVENT, each)
    end = {"p": policy, "chain_length": head.number, "chain_head": head.hash}
    connection.execute(statements.SET, end)


def trouble(failures: int, look: Look) -> TroubleBegan | TroubleEnded | None:
    """What the end of a look is worth recording for good: that things went wrong, or well again."""
    if look.failures and not failures:
        return TroubleBegan(why=look.problem[:LONGEST_WHY])
    return TroubleEnded(failures=failures) if failures and not look.failures else None
