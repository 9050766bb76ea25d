"""The real clock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from rotator.errors import Stopping


class SystemClock:
    """``ports.Clock`` over the system's time. ``stop()`` ends every ``sleep`` at once."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def now(self) -> datetime:
        """See ``ports.Clock``."""
        return datetime.now(UTC)

    def sleep(self, duration: timedelta) -> None:
        """See ``ports.Clock``."""
        if self._stopping.wait(duration.total_seconds()):
            raise Stopping("told to end before it was done")

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Ask everything that waits to leave off."""
        self._stopping.set()
