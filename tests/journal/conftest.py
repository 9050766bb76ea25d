"""The stores of one contract: a SQLite file, and a PostgreSQL database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from rotator.adapters.journal.sql import SqlJournal
from tests.parts.postgres import Database


def nobody_is_dead(_holder: str) -> bool:
    return False


class Store:
    """Where a journal can be; empty at first. What is opened is closed at the end."""

    def __init__(self) -> None:
        self._open: list[SqlJournal] = []

    def open(self, is_dead: Callable[[str], bool] = nobody_is_dead) -> SqlJournal:
        self._open.append(self._writing(is_dead))
        return self._open[-1]

    def open_read_only(self, *, must_exist: bool = False) -> SqlJournal:
        self._open.append(self._reading(must_exist=must_exist))
        return self._open[-1]

    def close(self) -> None:
        for journal in self._open:
            journal.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a person sees who looks into it."""
        raise NotImplementedError

    def is_empty(self) -> bool:
        """Nothing was created yet."""
        raise NotImplementedError

    def elsewhere(self) -> Engine:
        """An empty database of the same kind."""
        raise NotImplementedError

    def _writing(self, is_dead: Callable[[str], bool]) -> SqlJournal:
        raise NotImplementedError

    def _reading(self, *, must_exist: bool) -> SqlJournal:
        raise NotImplementedError


class SqliteStore(Store):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.url = f"sqlite:///{path}"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as database, database:
            return database.execute(query).fetchall()

    def is_empty(self) -> bool:
        return not self.path.exists()

    def elsewhere(self) -> Engine:
        return create_engine("sqlite://")

    def _writing(self, is_dead: Callable[[str], bool]) -> SqlJournal:
        return SqlJournal.open(self.url, is_dead=is_dead)

    def _reading(self, *, must_exist: bool) -> SqlJournal:
        return SqlJournal.open_read_only(self.url, must_exist=must_exist)


class PostgresStore(Store):
    def __init__(self, database: Database, other: Database) -> None:
        super().__init__()
        self.database, self._other = database, other

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.database.rows(query)

    def is_empty(self) -> bool:
        return self.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()") == []

    def elsewhere(self) -> Engine:
        password = self._other.password.reveal()
        return create_engine(self._other.url, connect_args={"password": password})

    def _writing(self, is_dead: Callable[[str], bool]) -> SqlJournal:
        return SqlJournal.open(self.database.url, is_dead=is_dead, password=lambda: self.database.password)

    def _reading(self, *, must_exist: bool) -> SqlJournal:
        database = self.database
        return SqlJournal.open_read_only(database.url, password=lambda: database.password, must_exist=must_exist)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "state" / "rotator.db")
    yield made
    made.close()


@pytest.fixture
def postgres_store(database: Database) -> Iterator[PostgresStore]:
    other = database.server.new_schema()
    made = PostgresStore(database, other)
    yield made
    made.close()
    database.server.drop_schema(other)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    """Both, one after the other."""
    made = request.getfixturevalue(f"{request.param}_store")
    assert isinstance(made, Store)
    return made


@pytest.fixture
def journal(store: Store) -> SqlJournal:
    """Open for writing; the process "dead" is known to be dead."""
    return store.open(is_dead=lambda holder: holder == "dead")
