"""The contract suites of rotator, on this backend: ``pip install pytest . && pytest``."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rotator_table import READ, SCHEMA, WRITE, TableBackend

from rotator.domain.model import Destination
from rotator.testing.backends import BackendCase, BackendContract
from rotator.testing.layouts import LayoutContract


class TestTable(BackendContract, LayoutContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[BackendCase]:
        file = tmp_path / "secrets.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as hand:
            hand.execute(SCHEMA)

            def at(field: str) -> Destination:
                return Destination("table", f"table:chat#{field}", (("field", field), ("name", "chat")))

            def put(field: str, text: str) -> None:
                hand.execute(WRITE, {"name": "chat", "field": field, "value": text, "hints": "{}", "ours": False})

            def other(field: str) -> str | None:
                found = hand.execute(READ, ("chat", field)).fetchone()
                return found[0] if found else None

            yield BackendCase(TableBackend(str(file)), at, put, other, one_version_for_all_fields=False)
