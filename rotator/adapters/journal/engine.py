"""Opening the database: durable, private, at the newest schema; or read-only, changing nothing."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import stamina
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from rotator.adapters.journal import tables
from rotator.errors import JournalUnavailable

BUSY_SECONDS = 15
"""How long a transaction waits for another process's before it is given up."""


def open_engine(url: str, *, pool_size: int) -> Engine:
    """The journal for writing: created with mode 0600 where it is missing, and brought to the newest schema."""
    path = _path(url)
    try:
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
        _upgrade(engine)
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        raise JournalUnavailable(f"the journal {url} can't be opened: {_cause(error)}") from error
    return engine


def open_read_only(url: str) -> Engine:
    """The journal for reading alone. A journal that does not exist is an empty one; nothing is created."""
    path = _path(url)
    if path is None or not path.exists():
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        tables.metadata.create_all(engine)
        return engine

    def connect() -> sqlite3.Connection:
        wal = path.with_name(path.name + "-wal")
        # Without a log there is nothing but the file itself; "immutable" then reads it where nothing may be created.
        mode = "mode=ro" if wal.exists() else "mode=ro&immutable=1"
        return sqlite3.connect(f"file:{path}?{mode}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, hide_parameters=True)
    try:
        with engine.connect() as connection:
            found = _revision(connection)
    except SQLAlchemyError as error:
        raise JournalUnavailable(f"the journal {url} can't be read: {_cause(error)}") from error
    if found != tables.REVISION:
        raise JournalUnavailable(
            f"the journal {url} has schema {found or 'none'}, this version reads {tables.REVISION}"
        )
    return engine


def _path(url: str) -> Path | None:
    database = make_url(url).database
    return Path(database) if database and database != ":memory:" else None


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
    # A reader that turns into a writer can fail half-way; a writer that says so at once only waits.
    immediate = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(engine: Engine) -> None:
    with engine.connect() as connection:
        if _revision(connection) == tables.REVISION:
            return
    # Imported here: Alembic is slow to import, and a journal is up to date on all starts but one.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _cause(error: BaseException) -> str:
    original = getattr(error, "orig", None)
    return str(original or error)
