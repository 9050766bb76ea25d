"""How many calls an endpoint gets: in a second, and at a time. And the time by which guards measure.

The token bucket is our own. pyrate-limiter 4.5 was looked at: its ``Limiter`` sleeps by ``time.sleep`` and runs a
thread, so neither a shutdown nor a test reaches it; the part of it that takes the time as an argument is one formula
(GCRA), which it calls internal. Here the same formula reserves a moment for each caller, so none is overtaken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.ports import Clock

LONGEST_WAIT = 30.0
"""Seconds that a call waits for its turn before it is refused: a look with several calls must not outlast its lease."""

_LISTEN_EVERY = 0.05  # seconds: how soon a call that waits for another one's end notices a shutdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an endpoint is asked at most.

    :param concurrency: calls at a time.
    :param rate: calls that begin in a second, with a burst of as many; ``None`` for no limit.
    """

    concurrency: int
    rate: float | None = None


class Refusal(Exception):
    """A guard's own "not now": nothing was sent. It never leaves the guard; the port's error does.

    :param seconds: from now until it may be worth another try, where that is known.
    """

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


class Elapsed:
    """Seconds that have passed by a clock, which may be set back: that counts as no time at all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: datetime = clock.now()
        self._seconds = 0.0

    def __call__(self) -> float:
        with self._lock:
            now = self._clock.now()
            self._seconds += max(0.0, (now - self._last).total_seconds())
            self._last = now
            return self._seconds


class Pace:
    """A token bucket that holds ``rate`` tokens, at least one, and gains as many in a second."""

    def __init__(self, rate: float | None, elapsed: Elapsed) -> None:
        self._apart = 1 / rate if rate else 0.0
        self._early = max(rate or 1.0, 1.0) * self._apart - self._apart
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._due = 0.0  # when the next call would begin, were all evenly apart

    def reserve(self) -> float:
        """The seconds until this caller's moment. Raises ``Refusal`` when that is too long; then none is taken."""
        if not self._apart:
            return 0.0
        with self._lock:
            now = self._elapsed()
            due = max(self._due, now)
            wait = max(0.0, due - self._early - now)
            if wait > LONGEST_WAIT:
                raise Refusal(f"too many calls wait for the limit of {1 / self._apart:g} a second", wait)
            self._due = due + self._apart
        return wait


class Slots:
    """So many calls at a time."""

    def __init__(self, number: int, clock: Clock, elapsed: Elapsed) -> None:
        self._number = number
        self._free = threading.Semaphore(number)
        self._clock = clock
        self._elapsed = elapsed

    @contextmanager
    def one(self) -> Iterator[None]:
        """A slot, as soon as one is free. Raises ``Refusal`` after too long, ``Stopping`` at a shutdown."""
        if not self._free.acquire(blocking=False):
            self._wait()
        try:
            yield
        finally:
            self._free.release()

    def _wait(self) -> None:
        began = self._elapsed()
        while not self._free.acquire(timeout=_LISTEN_EVERY):
            self._clock.sleep(timedelta(0))
            if self._elapsed() - began > LONGEST_WAIT:
                raise Refusal(f"as many calls as may be at a time ({self._number}) are under way, and none ends")
