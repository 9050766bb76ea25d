"""What the service tells systemd: that it is ready, that it gets on, that it stops. Nobody listens: nothing is told.

The protocol is one datagram of lines. Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

import structlog

_SEND_SECONDS = 1.0
"""A manager that takes no datagram must not keep the service from its work."""

_MORE_TIME_USEC = 180_000_000
"""How soon the next word comes while it starts: a connection that hangs, and the longest pause between two tries."""

PULSE_SECONDS = 10.0
"""How late the scheduler may run a job that is due, on a busy machine."""


class Supervisor:
    """The manager at the socket that ``NOTIFY_SOCKET`` names."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._is_ready = False
        self._told_of_failure = False

    def starting(self, status: str) -> None:
        """It is not ready yet, and this is why. It is given more time: an outage at the start is sat out."""
        self._send(f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={_MORE_TIME_USEC}")

    def alive(self, status: str) -> None:
        """It got on: ready, when said for the first time. To be said for real progress alone: see ``Progress``."""
        ready = () if self._is_ready else ("READY=1",)
        self._is_ready = True
        self._send(*ready, "WATCHDOG=1", f"STATUS={status}")

    def in_trouble(self, status: str) -> None:
        """It does not get on: the watchdog is not fed, and an operator can read why."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """It reads its configuration anew; ``reloaded`` follows. Nothing is said before it was ready."""
        if self._is_ready:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, status: str) -> None:
        """The new configuration is in force, or refused."""
        if self._is_ready:
            self._send("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        """It ends; what is in flight is finished first."""
        self._send("STOPPING=1", "STATUS=finishing what is in flight")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # '@' stands for the NUL byte of an abstract socket.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(_SEND_SECONDS)
                channel.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            if not self._told_of_failure:  # a manager that is gone would be told of every two seconds
                structlog.get_logger().warning("supervisor.unreachable", reason=str(error))
            self._told_of_failure = True


class Progress:
    """Whether the service gets on, judged by what its parts did, not by a timer.

    Asked at the end of each comparison of the schedule with the journal. So a comparison that hangs (in the journal,
    or in the scheduler's locks) is no progress by itself: nobody asks. Beyond that there is none

    - when the scheduler did not run the job that an earlier comparison gave it;
    - when a thread has ended that lasts as long as the service: what it did, nobody does any more;
    - while a look has been running for longer than ``patience``: nothing but a new process ends what hangs there;
    - when the journal could not be read for longer than ``patience``. An outage is told and sat out, since a new
      process could do no better; after so long it is the one thing that was not tried yet.

    :param patience: for a look and for the journal.
    :param monotonic: seconds of a clock that never steps.
    :param threads: those that last, asked for anew each time; one that was not started yet is well.
    """

    def __init__(
        self,
        *,
        patience: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
        threads: Callable[[], Iterable[threading.Thread]] = tuple,
    ) -> None:
        self.patience = patience
        self._threads = threads
        self._monotonic = monotonic
        self._compared = monotonic()
        self._is_readable = self._was_readable = False
        self._running: dict[str, float] = {}
        self._asked: float | None = None

    def began(self, policy: str) -> None:
        """A look began."""
        self._running[policy] = self._monotonic()

    def ended(self, policy: str) -> None:
        """A look came to its end, whatever that was."""
        self._running.pop(policy, None)

    def is_running(self, policy: str) -> bool:
        """Whether a look at it is under way."""
        return policy in self._running

    @property
    def running(self) -> int:
        """How many looks are under way."""
        return len(self._running)

    def compared(self, *, succeeded: bool) -> None:
        """A comparison came to its end: with what the journal says, or with an error because it can't be read."""
        self._is_readable = succeeded
        if succeeded:
            self._was_readable = True
            self._compared = self._monotonic()

    @property
    def is_new(self) -> bool:
        """Whether no comparison succeeded yet."""
        return not self._was_readable

    def ask_pulse(self, give: Callable[[], None]) -> None:
        """``give`` the scheduler a job that calls ``pulse``, unless the last one is still to come."""
        if self._asked is None:
            self._asked = self._monotonic()
            give()

    def pulse(self) -> None:
        """The scheduler took a job, and a thread of it carries it out."""
        self._asked = None

    def trouble(self) -> str:
        """Why there is no progress; empty where there is."""
        now, asked = self._monotonic(), self._asked
        if asked is not None and now - asked > PULSE_SECONDS:
            return "the scheduler runs no jobs"
        ended = [thread.name for thread in self._threads() if thread.ident and not thread.is_alive()]
        if ended:
            return f"a thread has ended: {_first(ended)}"
        began = self._running.copy()  # in one step: other threads begin and end looks meanwhile
        stuck = sorted(policy for policy, since in began.items() if now - since > self.patience.total_seconds())
        if stuck:
            return f"a look does not end: {_first(stuck)}"
        if now - self._compared > self.patience.total_seconds():
            return f"the journal can't be read, for more than {self.patience.total_seconds():.0f} s; the log says why"
        return ""

    def status(self, policies: int) -> str:
        """One short line for ``systemctl status``."""
        journal = "" if self._is_readable else "; the journal can't be read now, the log says why"
        return f"policies: {policies}, looks under way: {self.running}{journal}"


def _first(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
