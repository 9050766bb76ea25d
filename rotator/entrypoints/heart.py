"""Whether the service is alive, for who asks from outside: told by the same rounds that feed systemd's watchdog."""

from __future__ import annotations

import time
from collections.abc import Callable

SILENT_SECONDS = 60.0
"""A round takes two seconds; the journal may keep one waiting for longer. After so long it hangs."""


class Heart:
    """When the last round of the schedule ended, and what was wrong then.

    :param monotonic: seconds of a clock that never steps.
    :param wall: seconds since 1970.
    """

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._last = (monotonic(), wall(), "")
        self._patience = SILENT_SECONDS

    def beat(self, trouble: str, *, within: float = SILENT_SECONDS) -> None:
        """A round ended. ``trouble``: why the service does not get on; empty where it does.

        :param within: seconds until the next beat at most.
        """
        self._patience = within
        self._last = (self._monotonic(), self._wall(), trouble)

    @property
    def at(self) -> float:
        """When it beat last, in seconds since 1970; before the first beat, when it was made."""
        return self._last[1]

    def trouble(self) -> str:
        """Why the service is not alive; empty where it is."""
        since, _, trouble = self._last
        silent = self._monotonic() - since
        if silent > self._patience:
            return f"the schedule was not compared with the journal for {silent:.0f} s"
        return trouble
