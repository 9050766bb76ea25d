"""``ports_notify.Outbox`` over SQLAlchemy Core, in the journal's own database."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine, Row, bindparam, delete, func, select, text, update

from rotator.adapters.journal.codec import time_from_text, time_to_text
from rotator.adapters.journal.commits import Commits
from rotator.adapters.journal.engine import is_postgresql, upsert_of
from rotator.adapters.journal.tables import channel as channel_table
from rotator.adapters.journal.tables import event, told
from rotator.domain.channel import ChannelState
from rotator.domain.key_checks import LARGEST_SKEW
from rotator.domain.notices import Entry
from rotator.domain.standing import Standing
from rotator.ports_notify import Told

_CHANNELS = select(channel_table)
_CHANNEL = _CHANNELS.where(channel_table.c.name == bindparam("n"))
_SAVE = update(channel_table).where(channel_table.c.name == bindparam("n"), channel_table.c.holder == bindparam("h"))
_HEAD = select(func.max(event.c.seq))
_NEXT = select(event).where(event.c.seq > bindparam("after")).order_by(event.c.seq).limit(bindparam("limit"))
_TOLD = select(told).where(told.c.channel == bindparam("n"))
_FORGET = delete(told).where(
    told.c.channel == bindparam("n"), told.c.policy == bindparam("p"), told.c.condition == bindparam("c")
)


class SqlOutbox:
    """Shares the connections and commits of a ``SqlJournal``.

    :param is_dead: whether a holder is known to be dead, so that its claim need not run out first.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        reading: Callable[[], AbstractContextManager[Connection]],
        commits: Commits,
        is_dead: Callable[[str], bool],
    ) -> None:
        upsert = upsert_of(engine)
        put = upsert(told)
        self._new_channel = upsert(channel_table).on_conflict_do_nothing(index_elements=["name"])
        self._put_told = put.on_conflict_do_update(
            index_elements=["channel", "policy", "condition"], set_={"standing": put.excluded.standing}
        )
        self._reading = reading
        self._commits = commits
        self._is_dead = is_dead
        self._many_writers = is_postgresql(engine)

    def channels(self) -> Mapping[str, ChannelState]:
        """See ``Outbox``."""
        with self._reading() as connection:
            return {row.name: _state_of(row) for row in connection.execute(_CHANNELS)}

    def begin(self, channel: str) -> ChannelState:
        """See ``Outbox``."""
        with self._reading() as connection:
            row = connection.execute(_CHANNEL, {"n": channel}).one_or_none()
        return (
            _state_of(row) if row is not None else self._commits.carry_out(lambda writing: self._new(writing, channel))
        )

    def _new(self, connection: Connection, channel: str) -> ChannelState:
        state = ChannelState(cursor=connection.execute(_HEAD).scalar() or 0)
        row = {"name": channel, "cursor": state.cursor, "state": _states().dump_json(state).decode()}
        connection.execute(self._new_channel, row)
        return _state_of(connection.execute(_CHANNEL, {"n": channel}).one())  # another process may have been faster

    def claim(self, channel: str, holder: str, now: datetime, ttl: timedelta) -> ChannelState | None:
        """See ``Outbox``."""

        def take(connection: Connection) -> ChannelState | None:
            row = connection.execute(_CHANNEL.with_for_update(), {"n": channel}).one_or_none()
            if row is None or self._is_held(row, holder, now, ttl):
                return None
            values = {"holder": holder, "held_until": time_to_text(now + ttl)}
            connection.execute(update(channel_table).where(channel_table.c.name == channel).values(values))
            return _state_of(row)

        return self._commits.carry_out(take)

    def _is_held(self, row: Row[Any], holder: str, now: datetime, ttl: timedelta) -> bool:
        if row.holder in {"", holder} or not row.held_until or self._is_dead(row.holder):
            return False
        # One that ends later than it can have been given was given by a clock ahead.
        return timedelta(0) < time_from_text(row.held_until) - now <= ttl + LARGEST_SKEW

    def save(
        self,
        channel: str,
        holder: str,
        state: ChannelState,
        *,
        told: Told,
        over: Collection[tuple[str, str]],
        until: datetime | None,
    ) -> bool:
        """See ``Outbox``."""
        values = {
            "cursor": state.cursor,
            "state": _states().dump_json(state).decode(),
            "holder": holder if until else "",
            "held_until": time_to_text(until) if until else "",
        }
        rows = [
            {
                "channel": channel,
                "policy": policy,
                "condition": key,
                "standing": _standings().dump_json(standing).decode(),
            }
            for (policy, key), standing in told.items()
        ]

        def put(connection: Connection) -> bool:
            if not connection.execute(_SAVE, {"n": channel, "h": holder, **values}).rowcount:
                return False
            if rows:
                connection.execute(self._put_told, rows)
            if over:
                connection.execute(_FORGET, [{"n": channel, "p": policy, "c": key} for policy, key in over])
            return True

        return self._commits.carry_out(put)

    def told(self, channel: str) -> Told:
        """See ``Outbox``."""
        with self._reading() as connection:
            rows = connection.execute(_TOLD, {"n": channel}).all()
        return {(row.policy, row.condition): _standings().validate_json(row.standing) for row in rows}

    def entries(self, after: int, limit: int) -> Sequence[Entry]:
        """See ``Outbox``.

        In PostgreSQL a number is given before its transaction ends: one that is missing between others may still come.
        So where one is missing, all that write are waited for, for as long as their commits take, and it is read anew.
        """
        with self._reading() as connection:
            rows = connection.execute(_NEXT, {"after": after, "limit": limit}).all()
        if rows and self._many_writers and rows[-1].seq != after + len(rows):
            rows = self._commits.carry_out(lambda writing: _settled(writing, after, limit))
        return [_entry_of(row) for row in rows]


def _settled(connection: Connection, after: int, limit: int) -> Sequence[Row[Any]]:
    # It conflicts with every INSERT and no SELECT; who comes after it waits too, so it is given up soon.
    # Source: PostgreSQL 15, "Explicit Locking" (13.3).
    connection.execute(text("SET LOCAL lock_timeout = '2s'"))
    connection.execute(text("LOCK TABLE event IN SHARE MODE"))
    return connection.execute(_NEXT, {"after": after, "limit": limit}).all()


@cache
def _states() -> TypeAdapter[ChannelState]:
    return TypeAdapter(ChannelState)


@cache
def _standings() -> TypeAdapter[Standing]:
    return TypeAdapter(Standing)


def _state_of(row: Row[Any]) -> ChannelState:
    return replace(_states().validate_json(row.state), cursor=row.cursor)


def _entry_of(row: Row[Any]) -> Entry:
    return Entry(seq=row.seq, at=time_from_text(row.at), policy=row.policy, kind=row.kind, body=json.loads(row.body))
