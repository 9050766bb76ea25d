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
from rotator.entrypoints.http.validity import Validity, validity_of


class Certificate:
    """The listener's certificate and key. Files that have changed are read again for the next connection.

    :ivar trouble: why they can't be used as they are now, so that the former ones are; empty where they can.
    :ivar validity: of the certificate that is used; ``None`` where that can't be told.
    :raises OSError: they are not there, or no pair.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._lock = Lock()
        self._seen = self._state()
        self._context = server_context(certificate, key)
        self.trouble = ""
        self.validity = self._read_validity()

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """The connection, to be encrypted; see ``shake_hands``. Raises ``OSError``."""
        connection.setblocking(False)
        return self._newest().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _newest(self) -> ssl.SSLContext:
        with self._lock:
            state = self._state()
            if state != self._seen:  # what can't be used is read once, and again when it has changed
                self._seen = state
                self._read()
            return self._context

    def _read(self) -> None:
        log = structlog.get_logger()
        try:
            self._context = server_context(*self._files)
        except OSError as error:  # half of it is written yet; the former one may still be good
            self.trouble = f"http.tls: the renewed certificate can't be used: {error}"
            log.warning("http.certificate_unusable", reason=str(error))
        else:
            self.trouble = ""
            self.validity = self._read_validity()
            log.info("http.certificate_renewed", file=str(self._files[0]))

    def _read_validity(self) -> Validity | None:
        return validity_of(self._context, self._files[0].read_text(errors="replace"))

    def _state(self) -> tuple[tuple[int, ...], ...]:
        return tuple(map(_state_of, self._files))


def _state_of(file: Path) -> tuple[int, ...]:
    try:
        state = file.stat()
    except OSError as error:
        return (error.errno or 0,)
    return state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size


def shake_hands(connection: ssl.SSLSocket, seconds: float) -> None:
    """In so much time as a whole: the library's own timeout begins anew with each byte. Raises ``OSError``."""
    until = time.monotonic() + seconds
    while True:
        try:
            connection.do_handshake()
            break
        except ssl.SSLWantReadError:
            wanted = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            wanted = selectors.EVENT_WRITE
        with selectors.DefaultSelector() as selector:
            selector.register(connection, wanted)
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError("the handshake does not end")
    connection.settimeout(seconds)
