"""No log while a model runs: it would be most of the time that the model takes."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

crashes: list[str] = []
"""Tracebacks of errors that nobody expected, the last ones."""


def _keep_crashes(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event.get("event") == "look.crashed":
        crashes.append(traceback.format_exc())
    raise structlog.DropEvent


@contextmanager
def quiet_log() -> Iterator[None]:
    """Log nothing; the configuration before comes back at the end."""
    before = structlog.get_config()
    structlog.configure(processors=[_keep_crashes], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
