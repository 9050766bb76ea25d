"""Opening the database at the newest schema; or for reading alone, changing nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, exists, inspect, select, text
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from rotator.adapters.journal import sqlite, tables
from rotator.domain.secret import SecretValue
from rotator.errors import JournalEmpty, JournalUnavailable, JournalUnusable

Password = Callable[[], SecretValue]
"""Asked for each new connection, so that a password can change while rotator runs. Raises ``MissingSecret``."""

_SCHEMA = text("SELECT current_schema()")
_NO_SCHEMA = "no schema of its search path exists, or this role has no USAGE on any of them"
_ANYTHING = select(exists(tables.event.select()) | exists(tables.policy_state.select()))

_VALUES = ("22", "23")
"""Classes of SQLSTATE whose messages repeat values: data exceptions and violated constraints."""


def open_engine(url: str, *, pool_size: int, password: Password | None = None) -> Engine:
    """The journal for writing, created where it is missing and brought to the newest schema.

    :raises JournalUnavailable: with the URL's host and database, never with a password.
    """
    parsed = make_url(url)
    with _failures(parsed, "opened"):
        if is_postgresql(parsed):
            engine = _postgresql(parsed, pool_size, password, read_only=False)
        else:
            engine = sqlite.writing(parsed, pool_size=pool_size)
        with _closed_on_failure(engine):
            _upgrade(engine, _named(parsed))
    return engine


def open_read_only(url: str, *, password: Password | None = None, must_exist: bool = False) -> Engine:
    """The journal for reading alone; nothing is created or migrated.

    :param must_exist: one that is not there is ``JournalUnusable``, one that has never had anything in it
        ``JournalEmpty``; else either is an empty one.
    """
    parsed = make_url(url)
    name = _named(parsed)
    postgresql = is_postgresql(parsed)
    with _failures(parsed, "read"):
        engine = _postgresql(parsed, 2, password, read_only=True) if postgresql else sqlite.reading(parsed)
        if engine is None:
            return _nothing(name, must_exist=must_exist)
        with _closed_on_failure(engine), engine.connect() as connection:
            found = _revision(connection)
            if found is None and postgresql and connection.execute(_SCHEMA).scalar() is None:
                raise JournalUnavailable(f"the journal {name} can't be read: {_NO_SCHEMA}")
            if (found is None and not postgresql) or found not in {None, tables.REVISION}:
                raise JournalUnusable(
                    f"the journal {name} has schema {found or 'none'}, this version reads {tables.REVISION}"
                )
            if found and must_exist and not connection.execute(_ANYTHING).scalar():
                raise JournalEmpty(f"the journal {name} is empty: nothing was ever recorded, or all was taken out")
    if found is None:
        engine.dispose()
        return _nothing(name, must_exist=must_exist)
    return engine


def is_postgresql(where: URL | Engine) -> bool:
    """Whether this is PostgreSQL; SQLite otherwise."""
    return (where.dialect.name if isinstance(where, Engine) else where.get_backend_name()) == "postgresql"


def upsert_of(engine: Engine) -> Callable[[Table], Any]:
    """The INSERT that knows ON CONFLICT: each dialect has its own."""
    if not is_postgresql(engine):
        return sqlite_dialect.insert
    from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415 - start-up is measured, and few need it

    return insert


def cause(error: BaseException) -> str:
    """What a database said, in one line, without the values that a statement carried."""
    original = getattr(error, "orig", None)
    if original is None:
        return type(error).__name__ if isinstance(error, SQLAlchemyError) else str(error)
    state: str | None = getattr(original, "sqlstate", None)
    if state is None:
        return " ".join(str(original).split())
    said = type(original).__name__ if state.startswith(_VALUES) else original.diag.message_primary
    return f"{said} (SQLSTATE {state})"


@contextmanager
def _failures(url: URL, done: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        kind = JournalUnusable if _is_hopeless(error) else JournalUnavailable
        raise kind(f"the journal {_named(url)} can't be {done}: {cause(error)}") from error


def _is_hopeless(error: BaseException) -> bool:
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}  # the low byte: the primary code


@contextmanager
def _closed_on_failure(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def _postgresql(url: URL, pool_size: int, password: Password | None, *, read_only: bool) -> Engine:
    from rotator.adapters.journal import postgresql  # noqa: PLC0415 - start-up is measured, and few need it

    try:
        return postgresql.connecting(url, pool_size=pool_size, password=password, read_only=read_only)
    except ModuleNotFoundError as error:
        raise JournalUnusable(f"{error.name} is missing: pip install 'rotator[postgresql]'") from error


def _nothing(name: str, *, must_exist: bool) -> Engine:
    if must_exist:
        raise JournalUnusable(f"there is no journal {name}, or this user can not see it")
    engine = sqlite.in_memory()
    tables.metadata.create_all(engine)
    return engine


def _named(url: URL) -> str:
    """A URL as an error shows it: parameters and a password have no place there."""
    return str(URL.create(url.drivername, username=url.username, host=url.host, port=url.port, database=url.database))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(engine: Engine, name: str) -> None:
    with engine.connect() as connection:
        found = _revision(connection)
    if found == tables.REVISION:
        return
    # Imported here: Alembic is slow to import, and a journal is up to date on all starts but one.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        if is_postgresql(engine):  # SQLite lets one writer in at a time anyway
            from rotator.adapters.journal.postgresql import lock_for_migration  # noqa: PLC0415

            lock_for_migration(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise JournalUnusable(
                f"the journal {name} has schema {found or 'none'}, this version knows {tables.REVISION}"
            ) from error
