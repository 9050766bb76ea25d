"""``ledger.History``: reading the chains, sealing them, and taking out what is older than it is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, select, update

from rotator.adapters.journal import statements
from rotator.adapters.journal.appending import append
from rotator.adapters.journal.codec import record_from_json, time_from_text, time_to_text
from rotator.adapters.journal.commits import Commits
from rotator.adapters.journal.rows import By, entry_of, event_rows
from rotator.adapters.journal.tables import channel, event, journal_chain, policy_state
from rotator.domain.chain import OWN, Entry, Head, Pruned, Sealed
from rotator.domain.events import Held, RollbackRequested, RotationRequested
from rotator.domain.record import PolicyRecord
from rotator.domain.verify import Remembered

MOST = 500
"""So many entries one pruning takes out: a few milliseconds, in which nobody else writes to a SQLite journal."""

LEAST = 20
"""A chain with fewer than that to prune is left: each pruning is an entry itself."""

LEAST_SEALS = 200
"""The same for the journal's own chain, where a pruning begins with a seal of everything."""

PRUNE_EVERY = timedelta(days=1)

_OF_CHAIN = event.c.policy == bindparam("p")
_NEXT = (
    select(event)
    .where(_OF_CHAIN, event.c.number > bindparam("after"))
    .order_by(event.c.number)
    .limit(bindparam("most"))
)
_WHOLE = select(event).where(_OF_CHAIN).order_by(event.c.number, event.c.seq)
_AT_ONCE = 1000
"""So many rows of a chain are fetched at a time."""

_NEWEST = select(event).where(event.c.policy != OWN).order_by(event.c.seq.desc()).limit(bindparam("most"))
_NEWEST_OF_CHAIN = select(event).where(_OF_CHAIN).order_by(event.c.number.desc()).limit(bindparam("most"))
_HEADS = select(policy_state.c.policy, policy_state.c.chain_length, policy_state.c.chain_head, policy_state.c.sealed)
_CHAINS = select(event.c.policy).distinct()
_CURSOR = select(func.min(channel.c.cursor)).where(channel.c.name.in_(bindparam("readers", expanding=True)))
_OWN = select(journal_chain)
_SET_OWN = update(journal_chain)
_GROWN = (
    update(policy_state)
    .where(policy_state.c.chain_length > policy_state.c.sealed)
    .values(sealed=policy_state.c.chain_length)
    .returning(policy_state.c.policy, policy_state.c.chain_length, policy_state.c.chain_head)
)
_OLD = select(event.c.policy, func.count()).where(event.c.at < bindparam("before")).group_by(event.c.policy)
_TAKE_OUT = delete(event).where(_OF_CHAIN, event.c.number <= bindparam("last"))


def undelivered(connection: Connection, readers: Collection[str]) -> int | None:
    """The lowest ``event.seq`` that somebody is still to be told of: from there on nothing is pruned.

    :param readers: the channels of the configuration; one that has left it would hold everything back for ever.
    :returns: ``None`` where nobody waits for anything.
    """
    cursor = connection.execute(_CURSOR, {"readers": list(readers)}).scalar()
    return None if cursor is None else int(cursor) + 1


class SqlChains:
    """See ``ledger.Chains``: what one transaction sees."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def remembered(self) -> Remembered:
        """See ``ledger.Chains``."""
        rows = self._connection.execute(_HEADS).all()
        own = self._connection.execute(_OWN).one_or_none()
        heads = {row.policy: Head(row.chain_length, row.chain_head) for row in rows if row.chain_length}
        heads |= {OWN: Head(own.length, own.head)} if own is not None and own.length else {}
        sealed = {row.policy: row.sealed for row in rows if row.sealed}
        return Remembered(heads=heads, sealed=sealed, can_seal=own is not None)

    def names(self) -> Sequence[str]:
        """See ``ledger.Chains``."""
        return self._connection.execute(_CHAINS).scalars().all()

    def entries(self, policy: str) -> Iterator[Entry]:
        """See ``ledger.Chains``."""
        options = {"yield_per": _AT_ONCE}
        for row in self._connection.execute(_WHOLE, {"p": policy}, execution_options=options):
            yield entry_of(row)


class SqlHistory:
    """See ``ledger.History``.

    :param reading: a transaction that only reads.
    :param snapshot: one whose statements all see the same moment.
    :param who: see ``domain.chain.Entry``.
    """

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Connection]],
        snapshot: Callable[[], AbstractContextManager[Connection]],
        commits: Commits,
        *,
        who: str,
    ) -> None:
        self._reading = reading
        self._snapshot = snapshot
        self._commits = commits
        self._who = who

    @contextmanager
    def at_one_moment(self) -> Iterator[SqlChains]:
        """See ``ledger.History``."""
        with self._snapshot() as connection:
            yield SqlChains(connection)

    def heads(self) -> Mapping[str, Head]:
        """See ``ledger.History``."""
        with self._snapshot() as connection:
            return SqlChains(connection).remembered().heads

    def chains(self) -> Sequence[str]:
        """See ``ledger.History``."""
        with self._reading() as connection:
            return SqlChains(connection).names()

    def entries(self, policy: str, after: int, most: int) -> Sequence[Entry]:
        """See ``ledger.History``."""
        with self._reading() as connection:
            rows = connection.execute(_NEXT, {"p": policy, "after": after, "most": most}).all()
        return [entry_of(row) for row in rows]

    def newest(self, policy: str | None, most: int) -> Sequence[Entry]:
        """See ``ledger.History``."""
        with self._reading() as connection:
            if policy is None:
                rows = connection.execute(_NEWEST, {"most": most}).all()
            else:
                rows = connection.execute(_NEWEST_OF_CHAIN, {"p": policy, "most": most}).all()
        return _in_the_order_of_chains([entry_of(row) for row in reversed(rows)])

    def seal(self, now: datetime, every: timedelta) -> Head | None:
        """See ``ledger.History``."""
        if not self._is_due("sealed_at", now, every):
            return None

        def write(connection: Connection) -> Head | None:
            own = connection.execute(_OWN.with_for_update()).one()
            return self._seal(connection, own, now) if _is_due(own.sealed_at, now, every) else None

        return self._commits.carry_out(write)

    def prunable(self, before: datetime, now: datetime) -> Sequence[str]:
        """See ``ledger.History``."""
        if not self._is_due("pruned_at", now, PRUNE_EVERY):
            return ()
        self._commits.carry_out(lambda connection: connection.execute(_SET_OWN, {"pruned_at": time_to_text(now)}))
        with self._reading() as connection:
            rows = connection.execute(_OLD, {"before": time_to_text(before)}).all()
        return [policy for policy, number in rows if number >= _least(policy)]

    def prune(self, policy: str, before: datetime, now: datetime, readers: Collection[str] = ()) -> int:
        """See ``ledger.History``."""
        oldest = time_to_text(before)
        return self._commits.carry_out(lambda writing: self._prune(writing, policy, oldest, now, readers))

    def _prune(self, connection: Connection, policy: str, before: str, now: datetime, readers: Collection[str]) -> int:
        if policy == OWN:
            keeps: Callable[[Row[Any]], bool] = _keeps_nothing
            own = connection.execute(_OWN.with_for_update()).one()
        else:
            row = connection.execute(statements.LOCKED, {"p": policy}).one_or_none()
            if row is None:
                return 0  # its events alone were left: no pruning hides that
            keeps = _keeps(record_from_json(row.state), now)
        waited_for = undelivered(connection, readers)
        old: list[Row[Any]] = []
        for row in connection.execute(_NEXT, {"p": policy, "after": 0, "most": MOST}).all():
            if row.at >= before or keeps(row) or (waited_for is not None and row.seq >= waited_for):
                break
            old.append(row)
        if len(old) < _least(policy):
            return 0
        last = old[-1]
        gone = Pruned(first=old[0].number, last=last.number, hash=last.hash, since=old[0].at, until=last.at)
        connection.execute(_TAKE_OUT, {"p": policy, "last": last.number})
        if policy != OWN:
            append(connection, policy, [gone], By(self._who, now))
            return len(old)
        # What the pruned seals said, the new one says of everything.
        connection.execute(update(policy_state).values(sealed=0))
        self._seal(connection, own, now, gone)
        return len(old)

    def _seal(self, connection: Connection, own: Row[Any], now: datetime, *also: object) -> Head:
        grown = connection.execute(_GROWN).all()
        heads = {row.policy: (row.chain_length, row.chain_head) for row in grown}
        events = [*also, *([Sealed(heads=heads)] if heads else [])]
        rows, head = event_rows(Head(own.length, own.head), OWN, events, By(self._who, now))
        for row in rows:
            connection.execute(statements.ADD_EVENT, row)
        connection.execute(_SET_OWN, {"length": head.number, "head": head.hash, "sealed_at": time_to_text(now)})
        return head

    def _is_due(self, column: str, now: datetime, every: timedelta) -> bool:
        with self._reading() as connection:
            own = connection.execute(_OWN).one_or_none()
        return own is not None and _is_due(getattr(own, column), now, every)


def _in_the_order_of_chains(entries: Sequence[Entry]) -> list[Entry]:
    """Each policy's in the places that it has among the others': a chain proves its order, and ``seq`` none."""
    by_number: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=_place):
        by_number[entry.policy].append(entry)
    following = {policy: iter(those) for policy, those in by_number.items()}
    return [next(following[entry.policy]) for entry in entries]


def _place(entry: Entry) -> int:
    return entry.number if isinstance(entry.number, int) else 0  # somebody has spoilt it


def _is_due(last: str, now: datetime, every: timedelta) -> bool:
    """Whether that time has passed; a moment to come was written before the clock stepped back."""
    return not last or not timedelta(0) <= now - time_from_text(last) < every


def _least(policy: str) -> int:
    return LEAST_SEALS if policy == OWN else LEAST


def _keeps_nothing(_row: Row[Any]) -> bool:
    return False


def _keeps(record: PolicyRecord, now: datetime) -> Callable[[Row[Any]], bool]:
    """Whether an entry tells where something comes from that the record still has."""
    names = {key.key_id for key in record.keys} | {key.rotation_id for key in record.keys}
    names |= {rotation.rotation_id for rotation in record.rotations}
    names |= {intent.key_name for intent in record.open_intents}
    names |= {record.rollback.rollback_id} if record.rollback else set()
    orders = {Held.__name__} if record.held(now) else set()
    orders |= {RotationRequested.__name__} if record.requested or record.compromised else set()
    orders |= {RollbackRequested.__name__} if record.rollback else set()
    names.discard("")
    return lambda row: row.kind in orders or any(name in row.body for name in names)
