"""Real parts for every test; each module starts one of them, and fails where it can't."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.parts.once import compile_modules_once, compile_statements_once, read_certificates_once

pytest_plugins = [
    "tests.parts.aws",
    "tests.parts.browser",
    "tests.parts.openbao",
    "tests.parts.postgres",
    "tests.parts.simulator",
    "tests.parts.strict_aws",
]

_LONG = ("tests/soak/", "tests/faults/", "tests/model/")

# How long an example takes is a matter of the machine's other work, and no property of ours.
settings.register_profile("rotator", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rotator")

compile_modules_once()
compile_statements_once()
read_certificates_once()


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """A command that runs in this process sets the log up for itself; the next test begins without."""
    yield
    structlog.reset_defaults()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests come first in each worker, so that none of them is left for the end, when the others are done.

    pytest-xdist gives each worker a run of tests that follow one another; a test of a worker is at home in its folder.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for folder in _LONG for item in items if item.nodeid.startswith(folder)]
    short = [item for item in items if not item.nodeid.startswith(_LONG)]
    parts = [len(short) * number // workers for number in range(workers + 1)]
    items[:] = [
        item
        for number in range(workers)
        for item in (*long[number::workers], *short[parts[number] : parts[number + 1]])
    ]
