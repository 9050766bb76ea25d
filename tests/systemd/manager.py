"""systemd's end of sd_notify(3): a datagram socket, and what a service said to it."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Message = list[str]
"""The lines of one datagram."""


class Manager:
    """``said`` has every datagram so far, in order."""

    def __init__(self) -> None:
        self.address = f"@rotator-test-{secrets.token_hex(8)}"
        self.said: list[Message] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self.address[1:]}")

    def environ(self) -> dict[str, str]:
        """What a service finds in its environment."""
        return {"NOTIFY_SOCKET": self.address}

    def hear(self, wanted: Callable[[Message], bool], *, seconds: float = 40) -> Message:
        """The next datagram that is ``wanted``; fails with all that came when there is none in time."""
        deadline = time.monotonic() + seconds
        while True:
            message = self.next(deadline - time.monotonic())
            assert message is not None, f"not heard; what came: {self.said}"
            if wanted(message):
                return message

    def next(self, seconds: float) -> Message | None:
        """The next datagram; ``None`` when there is none within so many seconds."""
        self._socket.settimeout(max(seconds, 0.001))
        try:
            message = self._socket.recv(4096).decode().split("\n")
        except TimeoutError:
            return None
        self.said.append(message)
        return message

    def drain(self) -> None:
        """Take everything that has come already."""
        while self.next(0) is not None:
            pass

    def close(self) -> None:
        self._socket.close()


@contextmanager
def manager() -> Iterator[Manager]:
    """A socket that listens."""
    made = Manager()
    try:
        yield made
    finally:
        made.close()


def feeds(message: Message) -> bool:
    """Whether it feeds the watchdog."""
    return "WATCHDOG=1" in message


def status_of(message: Message) -> str:
    """What ``systemctl status`` would show."""
    return next((line.removeprefix("STATUS=") for line in message if line.startswith("STATUS=")), "")
