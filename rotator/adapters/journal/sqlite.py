"""The journal in one SQLite file: durable, private, for the processes of one host."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import stamina
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

BUSY_SECONDS = 15
"""How long a transaction waits for another process's before it is given up."""


def writing(url: URL, *, pool_size: int) -> Engine:
    """For writing: the file is created with mode 0600 where it is missing. Raises ``OSError``, ``sqlite3.Error``."""
    path = _path(url)
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(path)
        _write_ahead(path)
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _begin)
    return engine


def reading(url: URL) -> Engine | None:
    """For reading alone; ``None`` where there is no file. Nothing is created."""
    path = _path(url)
    if path is None or not path.exists():
        return None

    def connect() -> sqlite3.Connection:
        wal = path.with_name(path.name + "-wal")
        # Without a log there is nothing but the file itself; "immutable" then reads it where nothing may be created.
        mode = "mode=ro" if wal.exists() else "mode=ro&immutable=1"
        return sqlite3.connect(f"file:{path}?{mode}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False)

    return create_engine("sqlite://", creator=connect, hide_parameters=True)


def in_memory() -> Engine:
    """A database that nobody else sees, gone at the end."""
    return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def _path(url: URL) -> Path | None:
    return Path(url.database) if url.database and url.database != ":memory:" else None


def _create(path: Path) -> None:
    """With mode 0600. A file that is there is not even opened: closing it would end this process's locks on it."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _write_ahead(path: Path) -> None:
    """Set the mode, which the file keeps. SQLite does not wait for others here, whatever its timeout says."""
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        for attempt in stamina.retry_context(
            on=_is_locked, attempts=None, timeout=BUSY_SECONDS, wait_initial=0.01, wait_max=0.1, wait_jitter=0.1
        ):
            with attempt:
                connection.execute("PRAGMA journal_mode=WAL")


def _is_locked(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin says so, not at the first write
    connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: Connection) -> None:
    # A reader that turns into a writer can fail half-way; a writer that says so at once only waits. Who only reads asks
    # one question, which is a transaction by itself, or several that are to see the same.
    options = connection.get_execution_options()
    if options.get("write", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif options.get("snapshot", False):
        connection.exec_driver_sql("BEGIN")
