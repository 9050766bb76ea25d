"""A server that takes every connection and never answers, until the test lets go."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Silent:
    """A context manager; ``url`` is where clients hang."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()

    def wait_for_callers(self, number: int, *, seconds: float = 40) -> None:
        """Until so many calls hang."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._connections) >= number, timeout=seconds), "nobody called"

    def callers(self) -> int:
        """How many calls came so far."""
        return len(self._connections)

    def let_go(self) -> None:
        """End every call, and take no more."""
        with contextlib.suppress(OSError):  # a second time, or nobody waits in accept()
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self._connections.append(connection)
                self._changed.notify_all()
