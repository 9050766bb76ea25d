"""What an endpoint asked for: to be left alone for a while. It outlives the guard, which a reload makes anew."""

from __future__ import annotations

import threading

from rotator.ports import Clock
from rotator.service.guard.flow import Elapsed

LONGEST = 300.0
"""Seconds: the most that a wish to wait is believed."""


class Wish:
    """Of one endpoint. Safe for several threads."""

    def __init__(self, clock: Clock) -> None:
        self._elapsed = Elapsed(clock)
        self._lock = threading.Lock()
        self._until = 0.0

    def ask(self, seconds: float) -> None:
        """From now on for so long; a longer wish stands."""
        with self._lock:
            self._until = max(self._until, self._elapsed() + min(seconds, LONGEST))

    def left(self) -> float:
        """The seconds for which it is still to be left alone."""
        with self._lock:
            return max(0.0, self._until - self._elapsed())


class Wishes:
    """One for each endpoint, for as long as its settings stay as they are: another address has asked for nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, Wish]] = {}

    def of(self, endpoint: str, settings: object) -> Wish:
        """That of an endpoint with these settings."""
        with self._lock:
            known = self._known.get(endpoint)
            if known is None or known[0] != settings:
                known = self._known[endpoint] = (settings, Wish(self._clock))
            return known[1]
