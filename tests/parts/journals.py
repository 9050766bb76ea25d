"""A new journal without the time that making its tables takes."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from rotator.adapters.journal.sql import SqlJournal


def new_journal(path: Path) -> None:
    """An empty journal of the newest schema; bringing it there takes longer than most of what a test does with it."""
    path.touch(mode=0o600)
    path.write_bytes(_empty())


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory(prefix="rotator-journal-") as folder:
        path = Path(folder) / "empty.db"
        SqlJournal.open(f"sqlite:///{path}", is_dead=lambda _holder: False).close()
        return path.read_bytes()
