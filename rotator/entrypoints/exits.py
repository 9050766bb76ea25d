"""Exit codes, and leaving at once."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

OK = 0
FAILED = 1
USAGE = 2
FOUND = 3  # a dry run found work to do; an audit found something at or over --fail-on
LOCKED = 75  # EX_TEMPFAIL: another process holds the lock


def at_once(code: int) -> NoReturn:
    """End the process without waiting for any thread: the journal is ahead of every effect, so nothing is lost."""
    # Called from a signal handler, this can interrupt a write in this very thread; what was half written is lost then.
    # So is what nobody can take: a full disk, a reader that has gone.
    for stream in (sys.stdout, sys.stderr):
        with suppress(RuntimeError, OSError):
            stream.flush()
    os._exit(code)
