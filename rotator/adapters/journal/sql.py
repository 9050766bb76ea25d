"""``ports.Journal`` over SQLAlchemy Core."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Connection, Engine, Row, update
from sqlalchemy.exc import SQLAlchemyError

from rotator.adapters.journal import statements
from rotator.adapters.journal.appending import append, move, trouble
from rotator.adapters.journal.codec import record_from_json, record_to_json, time_to_text
from rotator.adapters.journal.commits import Commits, OwnCommits, SharedCommits
from rotator.adapters.journal.engine import Password, cause, is_postgresql, open_engine, open_read_only, upsert_of
from rotator.adapters.journal.history import SqlHistory
from rotator.adapters.journal.outbox import SqlOutbox
from rotator.adapters.journal.rows import (
    By,
    State,
    holding,
    is_valid,
    look_of,
    observation_of,
    row_of,
    state_of,
    work_of,
)
from rotator.adapters.journal.tables import observation, policy_state
from rotator.domain.events import Event
from rotator.domain.lifecycle import fold
from rotator.domain.record import PolicyRecord
from rotator.domain.secret import Fingerprint
from rotator.errors import JournalUnavailable, LeaseHeld, LeaseLost
from rotator.ports import Begun, Lease, Look, Observation, Work


class SqlJournal:
    """The journal in one SQLite file, or in a PostgreSQL database.

    :param is_dead: whether a lease's holder is known to be dead, so that its lease need not run out first.
    :param who: on whose behalf this process records, see ``domain.chain.Entry``.
    """

    def __init__(self, engine: Engine, *, is_dead: Callable[[str], bool], who: str = "") -> None:
        self._engine = engine
        self._is_dead = is_dead
        self._who = who
        upsert = upsert_of(engine)
        self._new_policy = upsert(policy_state).on_conflict_do_nothing(index_elements=["policy"])
        self._put_observation = statements.newest(upsert(observation))
        self._many_writers = is_postgresql(engine)
        self._writing = threading.Lock()  # SQLite lets one write at a time
        self._commits: Commits = OwnCommits(self._write) if self._many_writers else SharedCommits(self._write)
        # Leases that this process may hold and does not use: giving them back, or taking them, had no clear answer.
        self._left: set[tuple[str, str, int]] = set()
        self._writer: Connection | None = None
        self._states: dict[Lease, State] = {}  # what each holder has found, or written last
        self.history = SqlHistory(self._reading, self._at_one_moment, self._commits, who=who)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        is_dead: Callable[[str], bool],
        who: str = "",
        pool_size: int = 10,
        password: Password | None = None,
    ) -> Self:
        """Open for writing. Raises ``JournalUnavailable``."""
        return cls(open_engine(url, pool_size=pool_size, password=password), is_dead=is_dead, who=who)

    @classmethod
    def open_read_only(cls, url: str, *, password: Password | None = None, must_exist: bool = False) -> Self:
        """Open for a dry run: nothing is created, migrated or changed. Raises ``JournalUnavailable``.

        :param must_exist: see ``engine.open_read_only``.
        """
        engine = open_read_only(url, password=password, must_exist=must_exist)
        return cls(engine, is_dead=lambda _holder: False)

    def load(self, policy: str) -> PolicyRecord:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            state = connection.execute(statements.STATE, {"p": policy}).scalar()
        return record_from_json(state) if state else PolicyRecord(policy=policy)

    def records(self) -> Mapping[str, PolicyRecord]:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            return {row.policy: record_from_json(row.state) for row in connection.execute(statements.STATES)}

    def looks(self) -> Mapping[str, Look]:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            return {row.policy: look_of(row) for row in connection.execute(statements.LOOKS)}

    def look(self, policy: str) -> Look | None:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            row = connection.execute(statements.LOOK, {"p": policy}).one_or_none()
        return look_of(row) if row else None

    def works(self) -> Mapping[str, Work]:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            return {row.policy: work_of(row) for row in connection.execute(statements.WORKS)}

    def acquire(self, policy: str, holder: str, now: datetime, ttl: timedelta) -> Lease:
        """See ``ports.Journal``."""
        lease: Lease | None = None

        def take(connection: Connection) -> tuple[Lease, State]:
            nonlocal lease
            row = self._locked(connection, policy)
            if self._is_held(row, now):
                raise LeaseHeld(f"{policy}: {row.lease_holder} is at work on it")
            lease = Lease(policy=policy, holder=holder, token=row.lease_token + 1, ttl=ttl)
            values = {
                "lease_holder": holder,
                "lease_token": lease.token,
                "lease_until": time_to_text(now + ttl),
                "lease_seconds": int(ttl.total_seconds()),
            }
            connection.execute(statements.SET, {"p": policy, **values})
            return lease, state_of(row)

        try:
            lease, state = self._commits.carry_out(take)
        except JournalUnavailable:
            self._leave(lease)
            raise
        self._states[lease] = state
        return lease

    def taken(self, lease: Lease) -> PolicyRecord:
        """See ``ports.Journal``."""
        return self._states[lease].record

    def release(self, lease: Lease) -> None:
        """See ``ports.Journal``."""
        self._states.pop(lease, None)
        free = {**holding(lease), "lease_holder": "", "lease_until": ""}
        try:
            self._commits.carry_out(lambda connection: connection.execute(statements.SET_HELD, free))
        except JournalUnavailable:
            self._leave(lease)
            raise

    def _leave(self, lease: Lease | None) -> None:
        """Whether we have the lease is not certain, and nobody here uses it: the next of us need not wait for it."""
        if lease is not None:
            self._left.add((lease.holder, lease.policy, lease.token))

    def _is_held(self, row: Row[Any], now: datetime) -> bool:
        """Whether a holder that lives, and knows of it, has the policy's lease."""
        if not row.lease_holder or not is_valid(row, now):
            return False
        left = (row.lease_holder, row.policy, row.lease_token) in self._left
        return not left and not self._is_dead(row.lease_holder)

    def renew(self, lease: Lease, now: datetime) -> None:
        """See ``ports.Journal``."""
        until = {**holding(lease), "lease_until": time_to_text(now + lease.ttl)}

        def prolong(connection: Connection) -> None:
            if connection.execute(statements.SET_HELD, until).rowcount == 0:
                raise _lost(lease)

        self._commits.carry_out(prolong)

    def append(self, lease: Lease, events: Sequence[Event], now: datetime) -> PolicyRecord:
        """See ``ports.Journal``."""
        before, by = self._states.get(lease), By(self._who, now, lease.token)

        def add(connection: Connection) -> State:
            # What this lease's holder found or wrote last is nearly always what is there: then nothing is read.
            after = move(connection, lease, before, events, by) if before else None
            if after is None:  # somebody asked for something meanwhile, or the lease is lost
                row = connection.execute(statements.HELD_STATE, holding(lease)).one_or_none()
                if row is None:
                    raise _lost(lease)
                after = move(connection, lease, state_of(row), events, by)
                assert after is not None, "the row is locked"
            return after

        after = self._commits.carry_out(add)
        self._states[lease] = after
        return after.record

    def note_look(
        self, lease: Lease, look: Look, seen: Sequence[Observation], *, known: PolicyRecord, now: datetime
    ) -> None:
        """See ``ports.Journal``."""
        values = {
            **holding(lease),
            "next_at": time_to_text(look.next_at),
            "digest": look.digest,
            "failures": look.failures,
            "problem": look.problem,
            "alerts": json.dumps(look.alerts) if look.alerts else "",
            "failed_at" if look.failures else "ok_at": time_to_text(now),
            "lease_holder": "",
            "lease_until": "",
        }
        rows = [row_of(one) for one in seen]
        there = self._states.pop(lease, None)
        # As it is written there: an earlier version wrote the same record without the fields of this one.
        text = there.text if there and there.record == known else record_to_json(known)
        as_known = {**values, "s": text}
        due = {**values, **_due_at(min(look.next_at, now))}
        turn = trouble(there.failures, look) if there else None

        def note(connection: Connection) -> None:
            ended = connection.execute(statements.SET_KNOWN, as_known).rowcount
            if not ended:  # somebody asked for something meanwhile: it is due at once
                ended = connection.execute(statements.SET_HELD, due).rowcount
            if not ended:
                raise _lost(lease)
            if turn is not None:
                append(connection, lease.policy, [turn], By(self._who, now, lease.token))
            if rows:
                connection.execute(self._put_observation, rows)

        self._commits.carry_out(note)

    def observations(self, scope: str, since: datetime) -> Mapping[str, Observation]:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            rows = connection.execute(statements.OBSERVATIONS, {"scope": scope, "since": time_to_text(since)}).all()
        return {row.destination: observation_of(row) for row in rows}

    def others_with(self, key_id: str, policy: str) -> Sequence[PolicyRecord]:
        """See ``ports.Journal``. The text is searched first: only records that name the key are read."""
        with self._reading() as connection:
            states = connection.execute(statements.NAMING, {"key_id": key_id, "policy": policy}).scalars().all()
        records = map(record_from_json, states)
        return [r for r in records if r.key(key_id) or r.has_found(key_id) or key_id in r.taken_out]

    def begun_since(self, moment: datetime, besides: str) -> Begun:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            counted = connection.execute(statements.BEGUN, {"since": time_to_text(moment), "besides": besides})
            return Begun(*counted.one())

    def seen_holding(self, key_ids: Sequence[str], fingerprints: Sequence[Fingerprint]) -> Sequence[Observation]:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            rows = connection.execute(
                statements.HOLDING, {"ids": list(key_ids), "fingerprints": list(fingerprints)}
            ).all()
        return [observation_of(row) for row in rows]

    def request(self, policy: str, event: Event, now: datetime) -> None:
        """See ``ports.Journal``."""

        def ask(connection: Connection) -> None:
            record = fold(event, record_from_json(self._locked(connection, policy).state))
            append(connection, policy, [event], By(self._who, now))
            due = {"state": record_to_json(record), **_due_at(now)}
            connection.execute(update(policy_state).where(policy_state.c.policy == policy).values(due))

        self._commits.carry_out(ask)

    def outbox(self) -> SqlOutbox:
        """What notifications remember, in the same database."""
        return SqlOutbox(self._engine, reading=self._reading, commits=self._commits, is_dead=self._is_dead)

    def close(self) -> None:
        """See ``ports.Journal``."""
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        self._engine.dispose()

    def _locked(self, connection: Connection, policy: str) -> Row[Any]:
        """The policy's row, made where there was none; no other transaction moves it until this one ends."""
        row = connection.execute(statements.LOCKED, {"p": policy}).one_or_none()
        if row is None:
            # Another host may be a moment faster: then its row is the one.
            empty = record_to_json(PolicyRecord(policy=policy))
            connection.execute(self._new_policy, {"policy": policy, "state": empty})
            row = connection.execute(statements.LOCKED, {"p": policy}).one()
        return row

    @contextmanager
    def _reading(self, *, snapshot: bool = False) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(snapshot=snapshot) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise _unavailable(error) from error

    def _at_one_moment(self) -> AbstractContextManager[Connection]:
        """A transaction whose statements all see the same."""
        return self._reading(snapshot=True)

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        try:
            with self._connected() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise _unavailable(error) from error

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection that may write: one from the pool, or the only one, in turn."""
        if self._many_writers:
            with self._engine.connect().execution_options(write=True) as connection:
                yield connection
            return
        with self._writing:
            if self._writer is None:
                self._writer = self._engine.connect().execution_options(write=True)
            yield self._writer


def _due_at(now: datetime) -> dict[str, str]:
    """At once: a clock that is behind does not wait for that moment, for no configuration has an empty digest."""
    return {"next_at": time_to_text(now), "digest": ""}


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"{lease.policy}: another holder has taken it over")


def _unavailable(error: SQLAlchemyError) -> JournalUnavailable:
    return JournalUnavailable(f"the journal can't be used: {cause(error)}")
