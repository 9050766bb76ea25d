"""Notifications beside the looks: a thread for each channel, so that one that hangs holds up nobody.

They read the journal every two seconds. All end with the process, whatever they wait for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import timedelta

import structlog

from rotator.bootstrap import Application
from rotator.errors import JournalError
from rotator.service.notify import Sender

EVERY = timedelta(seconds=2)
"""How soon an event is told."""

LASTING_EVERY = timedelta(seconds=30)
"""How soon a condition is: that takes reading all records."""

FLUSH_AT_MOST = timedelta(seconds=20)
"""How long one pass waits for what is being sent; the rest is sent by the next."""

LEFT_AFTER = timedelta(seconds=5)
"""How long the end of the service waits; the next start sends the rest."""


class Senders:
    """The channels of the configuration that is in force."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._loops: list[_Loop] = []

    def start(self, application: Application) -> None:
        """Send from now on; what another configuration had started comes to its end with the message it is at."""
        for loop in self._loops:
            loop.stop()
        self._loops = [_Loop(sender) for sender in _made(application, self._environ)]
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """Send what there is, for a bounded time, and no more."""
        for loop in self._loops:
            loop.stop()
        _join(self._loops, LEFT_AFTER)

    @property
    def threads(self) -> list[threading.Thread]:
        """Of the configuration that is in force."""
        return [loop.thread for loop in self._loops]

    @property
    def trouble(self) -> str:
        """Which channels fail; empty where none does."""
        failing = [loop.sender.rules.name for loop in self._loops if loop.sender.problem]
        return f"notifications fail: {', '.join(failing)}" if failing else ""


def begin(application: Application) -> None:
    """Let new channels begin now: before the looks, so that what these do is told."""
    for name in application.settings.notifications:
        try:
            application.outbox.begin(name)
        except JournalError as error:
            structlog.get_logger().warning("notification.not_begun", channel=name, reason=str(error))


def flush(application: Application, environ: Mapping[str, str]) -> None:
    """One round of every channel, side by side, for a bounded time: at the end of one pass."""
    loops = [_Loop(sender) for sender in _made(application, environ)]
    for loop in loops:
        loop.stop(FLUSH_AT_MOST)  # which leaves the one round at its end
        loop.start()
    _join(loops, FLUSH_AT_MOST)


def _made(application: Application, environ: Mapping[str, str]) -> list[Sender]:
    if not application.settings.notifications:
        return []
    from rotator.bootstrap_notifications import senders  # noqa: PLC0415 - few ask for it, and start-up is measured

    return senders(application, environ)


def _join(loops: list[_Loop], at_most: timedelta) -> None:
    until = time.monotonic() + at_most.total_seconds()
    for loop in loops:
        loop.thread.join(max(0.0, until - time.monotonic()))


class _Loop:
    """Rounds of one sender until it is stopped, and one last round then."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self._stopped = threading.Event()
        self._until: float | None = None
        self.thread = threading.Thread(target=self._run, name=f"notify {sender.rules.name}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self, at_most: timedelta = LEFT_AFTER) -> None:
        self._until = time.monotonic() + at_most.total_seconds()
        self._stopped.set()

    def _run(self) -> None:
        next_lasting = time.monotonic()
        is_last = False
        while not is_last:
            is_last = self._stopped.is_set()
            is_lasting = is_last or time.monotonic() >= next_lasting
            if is_lasting:
                next_lasting = time.monotonic() + LASTING_EVERY.total_seconds()
            self._round(lasting=is_lasting)
            if not is_last:
                self._stopped.wait(EVERY.total_seconds())

    def _round(self, *, lasting: bool) -> None:
        try:
            self.sender.round(lasting=lasting, stopping=self._is_over)
        except JournalError as error:
            structlog.get_logger().debug("notification.no_journal", channel=self.sender.rules.name, reason=str(error))
        except Exception as error:  # noqa: BLE001 - one channel's defect ends neither it nor another
            # The type alone: an exception of a library may show an address.
            structlog.get_logger().error(
                "notification.crashed", channel=self.sender.rules.name, error=type(error).__name__
            )

    def _is_over(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until
