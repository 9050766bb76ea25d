"""``ports.Journal`` over SQLAlchemy Core."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Connection, Engine, Row, update
from sqlalchemy.exc import SQLAlchemyError

from rotator.adapters.journal import statements
from rotator.adapters.journal.codec import (
    event_to_json,
    record_from_json,
    record_to_json,
    time_from_text,
    time_to_text,
)
from rotator.adapters.journal.engine import Password, cause, is_postgresql, open_engine, open_read_only, upsert_of
from rotator.adapters.journal.tables import observation, policy_state
from rotator.domain.events import Event
from rotator.domain.key_checks import LARGEST_SKEW
from rotator.domain.lifecycle import fold
from rotator.domain.model import PolicyRecord
from rotator.domain.secret import Fingerprint
from rotator.errors import JournalUnavailable, LeaseHeld, LeaseLost
from rotator.ports import Lease, Look, Observation


class SqlJournal:
    """The journal in one SQLite file, or in a PostgreSQL database.

    :param is_dead: whether a lease's holder is known to be dead, so that its lease need not run out first.
    """

    def __init__(self, engine: Engine, *, is_dead: Callable[[str], bool]) -> None:
        self._engine = engine
        self._is_dead = is_dead
        upsert = upsert_of(engine)
        self._new_policy = upsert(policy_state).on_conflict_do_nothing(index_elements=["policy"])
        self._put_observation = statements.newest(upsert(observation))
        self._many_writers = is_postgresql(engine)
        # SQLite lets one write at a time; threads queue here instead of polling its lock.
        self._writing = threading.Lock()
        # Leases that this process may hold and does not use: giving them back, or taking them, had no clear answer.
        self._left: set[tuple[str, str, int]] = set()
        self._writer: Connection | None = None

    @classmethod
    def open(
        cls, url: str, *, is_dead: Callable[[str], bool], pool_size: int = 10, password: Password | None = None
    ) -> Self:
        """Open for writing. Raises ``JournalUnavailable``."""
        return cls(open_engine(url, pool_size=pool_size, password=password), is_dead=is_dead)

    @classmethod
    def open_read_only(cls, url: str, *, password: Password | None = None) -> Self:
        """Open for a dry run: nothing is created, migrated or changed. Raises ``JournalUnavailable``."""
        return cls(open_read_only(url, password=password), is_dead=lambda _holder: False)

    def load(self, policy: str) -> PolicyRecord:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            return _load(connection, policy)

    def looks(self) -> Mapping[str, Look]:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            return {row.policy: _look(row) for row in connection.execute(statements.LOOKS)}

    def look(self, policy: str) -> Look | None:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            row = connection.execute(statements.LOOK, {"p": policy}).one_or_none()
        return _look(row) if row else None

    def acquire(self, policy: str, holder: str, now: datetime, ttl: timedelta) -> Lease:
        """See ``ports.Journal``."""
        lease = None
        try:
            with self._write() as connection:
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
        except JournalUnavailable:
            self._leave(lease)
            raise
        return lease

    def release(self, lease: Lease) -> None:
        """See ``ports.Journal``."""
        try:
            with self._write() as connection:
                connection.execute(statements.SET_HELD, {**_holding(lease), "lease_holder": "", "lease_until": ""})
        except JournalUnavailable:
            self._leave(lease)
            raise

    def _leave(self, lease: Lease | None) -> None:
        """Whether we have the lease is not certain, and nobody here uses it: the next of us need not wait for it."""
        if lease is not None:
            self._left.add((lease.holder, lease.policy, lease.token))

    def _is_held(self, row: Row[Any], now: datetime) -> bool:
        """Whether a holder that lives, and knows of it, has the policy's lease."""
        if not row.lease_holder or not _is_valid(row, now):
            return False
        left = (row.lease_holder, row.policy, row.lease_token) in self._left
        return not left and not self._is_dead(row.lease_holder)

    def renew(self, lease: Lease, now: datetime) -> None:
        """See ``ports.Journal``."""
        until = {**_holding(lease), "lease_until": time_to_text(now + lease.ttl)}
        with self._write() as connection:
            if connection.execute(statements.SET_HELD, until).rowcount == 0:
                raise LeaseLost(f"{lease.policy}: another holder has taken it over")

    def append(self, lease: Lease, events: Sequence[Event], now: datetime) -> PolicyRecord:
        """See ``ports.Journal``."""
        with self._write() as connection:
            row = connection.execute(statements.HELD_STATE, _holding(lease)).one_or_none()
            if row is None:
                raise LeaseLost(f"{lease.policy}: another holder has taken it over")
            record = self._fold(connection, record_from_json(row.state), events, now, lease.token)
            until = time_to_text(now + timedelta(seconds=row.lease_seconds))
            connection.execute(
                statements.PUT_STATE, {"p": lease.policy, "state": record_to_json(record), "until": until}
            )
        return record

    def note_look(
        self, lease: Lease, look: Look, seen: Sequence[Observation], *, known: PolicyRecord, now: datetime
    ) -> None:
        """See ``ports.Journal``."""
        values = {
            "next_at": time_to_text(look.next_at),
            "digest": look.digest,
            "failures": look.failures,
            "problem": look.problem,
        }
        rows = [
            {
                "destination": one.destination,
                "scope": one.scope,
                "fingerprint": one.fingerprint,
                "seen_at": time_to_text(one.seen_at),
                "key_id": one.key_id,
            }
            for one in seen
        ]
        with self._write() as connection:
            row = connection.execute(statements.HELD_STATE, _holding(lease)).one_or_none()
            if row is None:
                raise LeaseLost(f"{lease.policy}: another holder has taken it over")
            if row.state != record_to_json(known):  # somebody asked for something meanwhile: it is due at once
                values["next_at"] = time_to_text(min(look.next_at, now))
            connection.execute(
                statements.SET_HELD, {**_holding(lease), **values, "lease_holder": "", "lease_until": ""}
            )
            if rows:
                connection.execute(self._put_observation, rows)

    def observations(self, scope: str, since: datetime) -> Mapping[str, Observation]:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            rows = connection.execute(statements.OBSERVATIONS, {"scope": scope, "since": time_to_text(since)}).all()
        return {row.destination: _observation(row) for row in rows}

    def others_with(self, key_id: str, policy: str) -> Sequence[PolicyRecord]:
        """See ``ports.Journal``. The text is searched first: only records that name the key are read."""
        with self._reading() as connection:
            states = connection.execute(statements.NAMING, {"key_id": key_id, "policy": policy}).scalars().all()
        records = map(record_from_json, states)
        return [record for record in records if record.key(key_id)]

    def begun_since(self, moment: datetime, besides: str) -> int:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            counted = connection.execute(statements.BEGUN, {"since": time_to_text(moment), "besides": besides})
            return int(counted.scalar_one())

    def seen_holding(self, key_ids: Sequence[str], fingerprints: Sequence[Fingerprint]) -> Sequence[Observation]:
        """See ``ports.Journal``."""
        with self._reading() as connection:
            rows = connection.execute(
                statements.HOLDING, {"ids": list(key_ids), "fingerprints": list(fingerprints)}
            ).all()
        return [_observation(row) for row in rows]

    def request(self, policy: str, event: Event, now: datetime) -> None:
        """See ``ports.Journal``."""
        with self._write() as connection:
            record = record_from_json(self._locked(connection, policy).state)
            record = self._fold(connection, record, (event,), now, token=0)
            due = {"state": record_to_json(record), "next_at": time_to_text(now)}
            connection.execute(update(policy_state).where(policy_state.c.policy == policy).values(due))

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

    @staticmethod
    def _fold(
        connection: Connection, record: PolicyRecord, events: Sequence[Event], now: datetime, token: int
    ) -> PolicyRecord:
        """Write the events, and answer the record that they make."""
        at = time_to_text(now)
        for event in events:
            record = fold(event, record)
            row = {"at": at, "policy": record.policy, "token": token, "kind": type(event).__name__}
            connection.execute(statements.ADD_EVENT, {**row, "body": event_to_json(event)})
        return record

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise _unavailable(error) from error

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


def _look(row: Row[Any, Any, Any, Any, Any]) -> Look:
    return Look(next_at=time_from_text(row.next_at), digest=row.digest, failures=row.failures, problem=row.problem)


def _observation(row: Row[Any, Any, Any, Any, Any]) -> Observation:
    return Observation(
        destination=row.destination,
        scope=row.scope,
        fingerprint=Fingerprint(row.fingerprint) if row.fingerprint else None,
        seen_at=time_from_text(row.seen_at),
        key_id=row.key_id,
    )


def _is_valid(row: Row[Any], now: datetime) -> bool:
    """Whether a lease holds now; one that ends later than it can have been given was given by a clock ahead."""
    left = time_from_text(row.lease_until) - now
    return timedelta(0) < left <= timedelta(seconds=row.lease_seconds) + LARGEST_SKEW


def _holding(lease: Lease) -> dict[str, object]:
    """What ``statements.HELD`` compares with."""
    return {"p": lease.policy, "t": lease.token, "h": lease.holder}


def _load(connection: Connection, policy: str) -> PolicyRecord:
    state = connection.execute(statements.STATE, {"p": policy}).scalar()
    return record_from_json(state) if state else PolicyRecord(policy=policy)


def _unavailable(error: SQLAlchemyError) -> JournalUnavailable:
    return JournalUnavailable(f"the journal can't be used: {cause(error)}")
