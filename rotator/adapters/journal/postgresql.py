"""The journal in PostgreSQL: one database for the processes of several hosts.

Every wait has an end: connecting, a lock, a statement, an open transaction, a peer that is gone without a word.
Source: PostgreSQL 15, "Client Connection Defaults" (20.11) and "Database Connection Control Functions" (34.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import Dialect

from rotator.adapters.journal.engine import Password
from rotator.errors import JournalUnavailable, MissingSecret

_LOCK_SECONDS = 15
"""How long a transaction waits for another's lock before it is given up."""

_STATEMENT_SECONDS = 30
"""How long a statement may take, waiting included; and how long the server keeps a transaction of a silent client."""

_READER_SECONDS = 600
"""The same for who reads the whole history: it may be on its way to a slow disk, and holds no lock that others need."""

_CONNECTING: Mapping[str, str | int] = {
    "connect_timeout": 10,
    "fallback_application_name": "rotator",
    # A peer that vanished: 10 + 3 * 5 seconds while we wait for an answer, 15 while it owes us a confirmation.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""What holds where the URL does not say otherwise."""

# With each transaction and not with each connection: between us and the server there may be a pooler (PgBouncer) that
# gives every transaction another connection. One text, for it goes with BEGIN to the server and back in one round.
_BEGIN = "; ".join(
    [
        "BEGIN ISOLATION LEVEL {level} {mode}",
        f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'",
        f"SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s'",
        "SET LOCAL idle_in_transaction_session_timeout = '{idle}s'",
        "SET LOCAL synchronous_commit = on",  # what returned is durable, whatever the role's default is
    ]
)

MIGRATION_LOCK = int.from_bytes(b"rotator.")
"""An advisory lock: any number, so long as it is ours alone."""


def connecting(url: URL, *, pool_size: int, password: Password | None, read_only: bool) -> Engine:
    """An engine; it connects at its first use. Raises ``ModuleNotFoundError`` where the driver is not installed.

    :param read_only: no transaction can change anything, whatever the role may.
    """
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,  # after a restart of the server, the next call finds a fresh connection
        hide_parameters=True,
        use_native_hstore=False,  # would ask the server for the type at each connect
        connect_args={name: value for name, value in _CONNECTING.items() if name not in url.query}
        # Autocommit: the driver sends no BEGIN of its own. Nothing prepared: a pooler may not know it again.
        | {"autocommit": True, "prepare_threshold": None, "client_encoding": "utf8"},
    )

    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        mode = "READ WRITE" if options.get("write", False) and not read_only else "READ ONLY"
        snapshot = options.get("snapshot", False)
        level = "REPEATABLE READ" if snapshot else "READ COMMITTED"
        idle = _READER_SECONDS if snapshot else _STATEMENT_SECONDS
        connection.exec_driver_sql(_BEGIN.format(level=level, mode=mode, idle=idle))

    def connect(dialect: Dialect, _record: object, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401 - SQLAlchemy's hook
        # Into a copy: what is in SQLAlchemy's own options stays there for ever.
        return _connect(dialect, arguments, dict(options), password)

    event.listen(engine, "begin", begin)
    event.listen(engine, "do_connect", connect)
    return engine


def _connect(dialect: Dialect, arguments: tuple[Any, ...], options: dict[str, Any], password: Password | None) -> Any:  # noqa: ANN401 - the driver's
    if password is not None:
        try:
            options["password"] = password().reveal()
        except MissingSecret as error:
            raise JournalUnavailable(f"the journal's password is missing: {error}") from None
    assert dialect.dbapi is not None, "the engine was made with its driver"
    try:
        return dialect.connect(*arguments, **options)
    except dialect.dbapi.Error as error:
        # The driver's error keeps every option of the connection, the password with them (psycopg.Error.pgconn).
        # Another one is raised, outside of this block, so that it does not hold on to the first as its context.
        failure = type(error)(str(error))
    finally:
        options.clear()  # a traceback keeps the frames, and with them what was in their names
    raise failure


def lock_for_migration(connection: Connection) -> None:
    """Processes that start together migrate one after the other; those that come later find nothing left to do."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = '60s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
