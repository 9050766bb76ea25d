"""One call of a library that may hang, or say too much: it has an end, and its exceptions stay inside."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from rotator.domain.text import duration
from rotator.errors import SendFailed

_T = TypeVar("_T")

REFUSALS = frozenset({400, 413, 422})
"""Statuses of an answer about the message itself, and not about the way there, the right to send or the load."""


def bounded(call: Callable[[], _T], timeout: timedelta) -> _T:
    """What the call returns. A thread that does not come back is left to itself.

    :raises SendFailed: it raised (another exception would show the address), or had no end in time.
    """
    answers: queue.SimpleQueue[tuple[bool, _T | Exception]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((True, call()))
        except Exception as error:  # noqa: BLE001 - the thread has nobody to raise to
            answers.put((False, error))

    threading.Thread(target=run, name="notification", daemon=True).start()
    try:
        is_answer, answer = answers.get(timeout=timeout.total_seconds())
    except queue.Empty:
        raise SendFailed(f"no answer within {duration(timeout)}") from None
    if is_answer:
        return answer  # type: ignore[return-value]  # told apart by the flag
    if isinstance(answer, SendFailed):
        raise answer
    raise SendFailed(f"no answer ({type(answer).__name__})")
