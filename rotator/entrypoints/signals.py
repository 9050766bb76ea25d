"""The signals of the service. They are blocked, and one thread waits for them.

A handler would only run when the kernel gives the signal to the main thread, and could then interrupt it in a lock
that the handler needs.
"""

from __future__ import annotations

import signal
import threading

import structlog

from rotator.clock import SystemClock
from rotator.entrypoints import exits

_ENDS = frozenset({signal.SIGTERM, signal.SIGINT})
_ALL = _ENDS | {signal.SIGHUP}


class Signals:
    """What was asked for so far.

    ``stop``: to end; ``reload``: to read the configuration anew; ``wake``: something happened that the main thread
    should look at. Whoever takes up ``reload`` or ``wake`` clears it.
    """

    def __init__(self, clock: SystemClock) -> None:
        self.stop = threading.Event()
        self.reload = threading.Event()
        self.wake = threading.Event()
        self._clock = clock

    def heed(self) -> None:
        """From now on. Before any other thread is started: each inherits what is blocked."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def _wait(self) -> None:
        while signal.sigwait(_ALL) == signal.SIGHUP:
            self.reload.set()
            self.wake.set()
        self._clock.stop()
        self.stop.set()
        self.wake.set()
        while (number := signal.sigwait(_ALL)) == signal.SIGHUP:
            structlog.get_logger().warning("configuration.kept", reason="the service is stopping")
        exits.at_once(128 + number)
