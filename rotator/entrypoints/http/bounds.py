"""Bounds for whoever asks: bytes and seconds of a request, and how many may be at which point."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Any


class TooMuch(Exception):
    """A request has more bytes than are read."""


class Bounded(io.RawIOBase):
    """What a client sends, up to so many bytes and so many seconds in all. Raises ``TooMuch``, ``TimeoutError``."""

    def __init__(self, connection: socket.socket, most: int, seconds: float) -> None:
        self._connection = connection
        self._left = most
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        if not self._left:
            raise TooMuch
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the request does not end")
        self._connection.settimeout(seconds)
        got = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= got
        return got


def let_go(connection: socket.socket, seconds: float, most: int) -> None:
    """Take what is still on its way: the client's system would forget the answer if it were refused."""
    until = time.monotonic() + seconds
    with suppress(OSError):
        while most > 0 and (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            got = len(connection.recv(min(most, 16 * 1024)))
            most = most - got if got else 0


class Arriving:
    """Connections whose request is not there yet, one a thread: a new one takes the oldest one's place.

    So who opens connections and says nothing keeps nobody from an answer who asks at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: OrderedDict[int, socket.socket] = OrderedDict()

    def enter(self, connection: socket.socket) -> None:
        """This thread waits for what comes over it; again: over this one, in place of the former."""
        with self._lock:
            self._waiting[threading.get_ident()] = connection
            while len(self._waiting) > self._most:
                _, oldest = self._waiting.popitem(last=False)
                # Not its own method: that of an encrypted one forgets what its thread still uses.
                with suppress(OSError):
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)

    def leave(self) -> None:
        """This thread waits no more, or is about to close its connection."""
        with self._lock:
            self._waiting.pop(threading.get_ident(), None)


class Room:
    """For so many at a time."""

    def __init__(self, most: int) -> None:
        self._free = self._most = most
        self._changed = threading.Condition()

    def enter(self) -> bool:
        """Whether there was room; never waits."""
        with self._changed:
            if not self._free:
                return False
            self._free -= 1
            return True

    def leave(self) -> None:
        """Once for each time that one entered."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def wait_empty(self, seconds: float) -> None:
        """Until nobody is in it, or so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._free == self._most, seconds)
