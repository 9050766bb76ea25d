"""TLS for the listener: a certificate that may be renewed while it listens, and a handshake that ends in time."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from pathlib import Path
from threading import Lock

import structlog

from rotator.config.tls import server_context


class Certificate:
    """The listener's certificate and key. Files that have changed are read again for the next connection.

    :raises OSError: they are not there, or no pair.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._lock = Lock()
        self._seen = self._state()
        self._context = server_context(certificate, key)

    def accept(self, connection: socket.socket, seconds: float) -> ssl.SSLSocket:
        """The connection, encrypted; it is closed where that fails. Raises ``OSError``, which a timeout is too."""
        connection.setblocking(False)
        encrypted = self._newest().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            _shake_hands(encrypted, time.monotonic() + seconds)
        except BaseException:
            encrypted.close()
            raise
        encrypted.settimeout(seconds)
        return encrypted

    def _newest(self) -> ssl.SSLContext:
        with self._lock:
            try:
                state = self._state()
                if state != self._seen:
                    self._context = server_context(*self._files)
                    self._seen = state
                    structlog.get_logger().info("http.certificate_renewed", file=str(self._files[0]))
            except OSError as error:  # half of it is written yet; the former one may still be good
                structlog.get_logger().warning("http.certificate_unusable", reason=str(error))
            return self._context

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        states = [file.stat() for file in self._files]
        return tuple((state.st_mtime_ns, state.st_ino, state.st_size) for state in states)


def _shake_hands(connection: ssl.SSLSocket, until: float) -> None:
    """In so much time as a whole: the library's own timeout begins anew with each byte."""
    while True:
        try:
            connection.do_handshake()
            return
        except ssl.SSLWantReadError:
            wanted = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            wanted = selectors.EVENT_WRITE
        with selectors.DefaultSelector() as selector:
            selector.register(connection, wanted)
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError("the handshake does not end")
