"""The circuit breaker: an endpoint in trouble is left alone, and revocations are the first to wait."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    OutcomeUnknown,
    ProviderDenied,
    ProviderRejected,
    ProviderUnavailable,
    VersionConflict,
    WrongDestination,
)
from rotator.service.guard.flow import Elapsed, Refusal
from rotator.service.guard.wish import Wish

FAILURES = (ProviderUnavailable, BackendUnavailable, OutcomeUnknown)
"""They may pass, and say that the endpoint is in trouble."""

ANSWERS = (ProviderDenied, ProviderRejected, BackendDenied, WrongDestination, VersionConflict)
"""A refusal comes from an endpoint that works. Nonsense is in neither: a proxy's page proves nothing."""

COOL_DOWN = 30.0
"""Seconds; doubled by each try that fails."""

LONGEST = 300.0
"""Seconds: the longest cool-down."""

PATIENCE = 10.0
"""Seconds: a wish to wait no longer than this is waited for, a longer one refused at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Failures in a row.

    :param revocations: so many, and no key is revoked until a call succeeds: a revocation can wait, and whether
        replacements work can't be known while the provider does not.
    :param everything: so many, and nothing is sent for a while.
    """

    revocations: int = 3
    everything: int = 8


DEFAULT = Thresholds()

NEVER = Thresholds(revocations=sys.maxsize, everything=sys.maxsize)
"""For what is many endpoints under one name: a failure of one says nothing about the others."""


class Circuit:
    """Counts an endpoint's failures in a row; see ``Thresholds``. Safe for several threads.

    Closed: everything passes. Open: nothing, for a cool-down. Then half-open: one call is let through; when it
    succeeds the circuit closes, when it fails there is another, longer cool-down.
    """

    def __init__(self, endpoint: str, elapsed: Elapsed, thresholds: Thresholds, wish: Wish) -> None:
        self._log = structlog.get_logger().bind(endpoint=endpoint)
        self._elapsed = elapsed
        self._thresholds = thresholds
        self._lock = threading.Lock()
        self._failures = 0
        self._last = ""
        self._open_until: float | None = None
        self._cool_down = COOL_DOWN
        self._trying = False
        self._wish = wish

    def check(self, *, revokes: bool) -> float:
        """Raise ``Refusal`` where ``attempt`` would; else the seconds for which it asked to be left alone."""
        with self._lock:
            self._gate(self._elapsed(), revokes=revokes)
            return self._wish.left()

    @contextmanager
    def attempt(self, *, revokes: bool) -> Iterator[None]:
        """One call; how it ends is counted. Raises ``Refusal`` when it must not begin."""
        tries = self._enter(revokes=revokes)
        try:
            yield
        except FAILURES as error:
            self._failed(error, tries=tries)
            raise
        except ANSWERS:
            self._answered()
            raise
        except BaseException:
            self._left(tries=tries)
            raise
        self._answered()

    def trouble(self) -> str:
        """What is wrong, fit for people; empty when all is well."""
        with self._lock:
            now = self._elapsed()
            parts = []
            if self._open_until is not None:
                parts.append(f"{self._story()}; {self._when(now)}")
            elif self._failures >= self._thresholds.revocations:
                parts.append(f"{self._story()}; revocations wait")
            if asked := self._wish.left():
                parts.append(f"it asked to be left alone for {_seconds(asked)} more")
            return "; ".join(parts)

    def _gate(self, now: float, *, revokes: bool) -> None:
        asked = self._wish.left()
        if asked > PATIENCE:
            raise Refusal(f"it asked to be left alone for {_seconds(asked)} more", asked)
        if self._open_until is not None and (now < self._open_until or self._trying):
            rest = max(0.0, self._open_until - now)
            raise Refusal(f"{self._story()}; {self._when(now)}", rest or None)
        if revokes and self._failures >= self._thresholds.revocations:
            raise Refusal(f"it is in trouble, revocations wait: {self._story()}")

    def _enter(self, *, revokes: bool) -> bool:
        with self._lock:
            self._gate(self._elapsed(), revokes=revokes)
            if self._open_until is None:
                return False
            self._trying = True
            self._log.info("circuit.half_open")
            return True

    def _answered(self) -> None:
        with self._lock:
            if self._failures >= self._thresholds.revocations:
                self._log.info("circuit.closed", after_failures=self._failures)
            self._failures, self._last = 0, ""
            self._open_until, self._cool_down, self._trying = None, COOL_DOWN, False

    def _failed(self, error: Exception, *, tries: bool) -> None:
        asked = error.retry_after if isinstance(error, ProviderUnavailable | BackendUnavailable) else None
        with self._lock:
            now = self._elapsed()
            if asked:
                self._wish.ask(asked)
            if self._open_until is not None and not tries:
                return  # it began before the circuit opened, and tells nothing new
            self._failures += 1
            self._last = str(error)
            if tries:
                self._trying = False
                self._cool_down = min(self._cool_down * 2, LONGEST)
            if tries or self._failures >= self._thresholds.everything:
                self._open_until = now + self._cool_down
                self._log.error("circuit.opened", failures=self._failures, seconds=self._cool_down, reason=self._last)
            elif self._failures == self._thresholds.revocations:
                self._log.warning("circuit.revocations_wait", failures=self._failures, reason=self._last)

    def _left(self, *, tries: bool) -> None:
        """It ended in a way that tells nothing about the endpoint: the next call tries."""
        if tries:
            with self._lock:
                self._trying = False

    def _story(self) -> str:
        return f"{self._failures} failures in a row, the last: {self._last}"

    def _when(self, now: float) -> str:
        if self._trying:
            return "one call is trying it now"
        rest = max(0.0, (self._open_until or now) - now)
        return f"the next try is in {_seconds(rest)}" if rest else "the next call tries it"


def _seconds(number: float) -> str:
    return f"{math.ceil(number)} s"
