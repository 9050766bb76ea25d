"""The journal's upkeep in a running service: a thread of its own, so that nothing waits for an anchor's endpoint."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from rotator import process
from rotator.bootstrap import Application

LOOK_EVERY = timedelta(seconds=30)
"""How often it is looked whether something is due; what that is, the configuration and the journal say."""

_PATIENCE = timedelta(seconds=5)
"""How long the end of the service waits for it."""


class Keeper:
    """:param application: the one in force."""

    def __init__(self, application: Callable[[], Application]) -> None:
        self._application = application
        self._stop = threading.Event()
        self.threads = [threading.Thread(target=self._keep, name="upkeep", daemon=True)]

    def start(self) -> None:
        """Begin."""
        self.threads[0].start()

    def stop(self) -> None:
        """End between two steps."""
        self._stop.set()

    def wait(self) -> None:
        """Until it has ended; an endpoint that hangs is not waited for."""
        self.threads[0].join(_PATIENCE.total_seconds())

    def _keep(self) -> None:
        while not self._stop.is_set():
            try:
                application = self._application()
                application.upkeep.run(application.clock.now(), stopping=self._stop.is_set)
                if os.getpid() == 1:  # of a container: what hooks leave behind is ours
                    process.bury_orphans()
            except Exception:  # noqa: BLE001 - a defect here must not end what seals and prunes
                structlog.get_logger().exception("upkeep.crashed")
            self._stop.wait(LOOK_EVERY.total_seconds())
