"""What is the same for all tests of a process is made once: thousands of journals and clients begin there."""

from __future__ import annotations

import functools
import os
import sys
from ssl import SSLContext
from typing import Any
from weakref import WeakKeyDictionary

import httpx._transports.default as transports
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as Dialect
from sqlalchemy.util import LRUCache


def compile_modules_once() -> None:
    """Bytecode is kept, whatever the environment says: hundreds of processes begin here.

    One that may not keep it compiles all that it imports, a second of work each time; ``make setup`` compiles nothing.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def compile_statements_once() -> None:
    """What SQLAlchemy keeps for each engine, all SQLite engines share from now on.

    An engine begins with nothing; a test's would compile its statements anew for the few times that it needs them.
    Statements are looked up by dialect, so two dialects of one class are the same one.
    """
    compiled: LRUCache[Any, Any] = LRUCache(1000)
    Dialect.__hash__ = lambda dialect: hash(type(dialect))
    Dialect.__eq__ = lambda one, other: type(one) is type(other)
    Dialect._type_memos = WeakKeyDictionary()
    Dialect.engine_created = lambda engine: setattr(engine, "_compiled_cache", compiled)


def read_certificates_once() -> None:
    """httpx reads a hundred root certificates for each client, those that speak plain HTTP too."""
    read = transports.create_ssl_context

    @functools.cache
    def context(verify: object, cert: object, trust_env: bool, *_environ: str | None) -> SSLContext:  # noqa: FBT001 -- httpx's
        return read(verify=verify, cert=cert, trust_env=trust_env)

    transports.create_ssl_context = lambda verify, cert, trust_env: context(
        verify, cert, trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    )
