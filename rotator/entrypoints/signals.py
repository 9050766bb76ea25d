"""The signals of the service. They are blocked, and one thread waits for them.

A handler would only run when the kernel gives the signal to the main thread, and could then interrupt it in a lock
that the handler needs.
"""

from __future__ import annotations

import signal
import threading
import time
from datetime import timedelta

import structlog

from rotator.clock import SystemClock
from rotator.entrypoints import exits

_ENDS = frozenset({signal.SIGTERM, signal.SIGINT})
_ALL = _ENDS | {signal.SIGHUP}


class Signals:
    """What was asked for so far.

    ``stop``: to end; ``reload``: to read the configuration anew; ``wake``: something happened that the main thread
    should look at. Whoever takes up ``reload`` or ``wake`` clears it.

    :ivar within: how long the end may take, counted from the signal. What is left then is resumed by the next start,
        for the journal is ahead of every effect.
    :ivar waits_for: what the end would be waiting for, for the log.
    """

    def __init__(self, clock: SystemClock) -> None:
        self.stop = threading.Event()
        self.reload = threading.Event()
        self.wake = threading.Event()
        self.within = timedelta(0)
        self.waits_for = "the journal did not answer in time; the next start resumes what was in flight"
        self._clock = clock

    def heed(self, within: timedelta) -> None:
        """From now on. Before any other thread is started: each inherits what is blocked."""
        self.within = within
        signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def _wait(self) -> None:
        while signal.sigwait(_ALL) == signal.SIGHUP:
            self.reload.set()
            self.wake.set()
        self._clock.stop()
        self.stop.set()
        self.wake.set()
        until = time.monotonic() + self.within.total_seconds()
        while (caught := signal.sigtimedwait(_ALL, max(0.0, until - time.monotonic()))) is not None:
            if caught.si_signo in _ENDS:
                exits.at_once(128 + caught.si_signo)
            structlog.get_logger().warning("configuration.kept", reason="the service is stopping")
        structlog.get_logger().warning("service.left", reason=self.waits_for)
        exits.at_once(exits.OK)
