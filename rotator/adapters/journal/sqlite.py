"""The journal in one SQLite file: durable, private, for the processes of one host."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import stamina
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

BUSY_SECONDS = 15
"""How long a transaction waits for another process's before it is given up."""

_LOG, _LOCKS = "-wal", "-shm"
_ATTEMPTS = 5
"""So often a file that others change meanwhile is read."""


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
    """For reading alone; ``None`` where there is no file. In the file's folder nothing is created or changed.

    Where others are at work, SQLite's log and its locks are there, and the locks are shared. Where nobody is, SQLite
    would create both; and if told to read the file alone ("immutable"), it would not see that somebody begins. So all
    of it is read at once, and read again where it has changed meanwhile. Raises ``OSError``, ``sqlite3.Error``.
    """
    path = _path(url)
    if path is None:
        return None
    for _ in range(_ATTEMPTS):
        file, log, locks = there = _marks(path)
        if file is None:
            return None
        if log and locks:
            return _sharing(path)
        try:
            copy = _copied_with_its_log(path) if log else _copied(path, "mode=ro&immutable=1")
        except (FileNotFoundError, sqlite3.Error):
            if _marks(path) == there:
                raise
            continue
        if _marks(path) == there:
            return _holding(copy)
        copy.close()
    raise sqlite3.OperationalError("others change it whenever it is read")


def _holding(copy: sqlite3.Connection) -> Engine:
    copy.execute("PRAGMA query_only=ON")
    return create_engine("sqlite://", poolclass=StaticPool, creator=lambda: copy, hide_parameters=True)


def _sharing(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(_uri(path, "mode=ro"), uri=True, timeout=BUSY_SECONDS, check_same_thread=False)

    # The pool of a file: one connection stays open, so that whoever ends meanwhile leaves log and locks to it.
    engine = create_engine("sqlite://", poolclass=QueuePool, max_overflow=-1, creator=connect, hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return engine


def _copied(path: Path, options: str) -> sqlite3.Connection:
    """The same in memory."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        with closing(sqlite3.connect(_uri(path, options), uri=True)) as original:
            original.backup(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _copied_with_its_log(path: Path) -> sqlite3.Connection:
    """For a copy of a journal that somebody was at work on, say: SQLite needs locks beside it to read its log."""
    with TemporaryDirectory(prefix="rotator-") as folder:
        there = Path(folder, "journal")
        shutil.copyfile(path, there)
        shutil.copyfile(_beside(path, _LOG), _beside(there, _LOG))
        return _copied(there, "mode=rw")


def _marks(path: Path) -> list[tuple[int, int, int] | None]:
    """By what a change shows: of the file, its log and its locks. Raises ``OSError`` where these can't be looked at."""
    return [_mark(one) for one in (path, _beside(path, _LOG), _beside(path, _LOCKS))]


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _uri(path: Path, options: str) -> str:
    # Of a path that begins with two slashes SQLite would take a part for a host.
    return f"file://{quote(os.fsencode(path.absolute()))}?{options}"


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
