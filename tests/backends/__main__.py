"""Runs every fault at every backend, and prints what each ended in: ``python -m tests.backends``."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console


class _Results:
    """A pytest plug-in: how many causes of each fault came through, by test class."""

    def __init__(self) -> None:
        self.passed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Function) -> Iterator[None]:
        report = yield
        cause = getattr(item, "callspec", None) and item.callspec.params.get("cause")
        if cause and report.failed:
            self.failed.append(f"{item.cls.__name__}: {cause}")
        elif cause and report.when == "call":
            self.passed[item.cls.__name__][cause.fault] += 1
        return report


def main() -> int:
    """Exit code 0 when all ended as promised."""
    results = _Results()
    matrix = Path(__file__).with_name("test_fault_matrix.py")
    code = pytest.main(["-q", "--no-header", "-p", "no:xdist", str(matrix)], plugins=[results])
    # Not before: pytest rewrites the asserts of what it imports first.
    from tests.backends.fault_table import of_faults, of_permissions  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(of_faults(results.passed))
    console.print(of_permissions())
    for failure in results.failed:
        console.print(f"not as promised: {failure}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
