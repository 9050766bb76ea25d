"""The pytest plugin: loaded in every run of an environment that has rotator, so it does next to nothing.

It has the asserts of the contract suites rewritten before anybody imports them, whichever module comes first, and tells
which contract they are for.
"""

from __future__ import annotations

import pytest

import rotator.testing
from rotator import __version__
from rotator.plugins import CONTRACT

assert rotator.testing, "importing it registers the suites"


def pytest_report_header(config: pytest.Config) -> str:  # noqa: ARG001 -- the hook's own signature
    """One line at the top of a run."""
    return f"rotator: {__version__}, contract {CONTRACT} (rotator.testing)"
