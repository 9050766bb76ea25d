"""The listener, and bounds for whoever asks: threads, bytes, and the time of the whole request.

GET and HEAD, and POST for the one page where somebody hands something over.
"""

from __future__ import annotations

import io
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog

from rotator.config import HttpSettings
from rotator.domain.links import PREFIX
from rotator.domain.secret import Unjudged
from rotator.entrypoints.http.answer import Answer
from rotator.entrypoints.http.asked import Request
from rotator.entrypoints.http.bounds import Arriving, Bounded, Room, TooMuch, let_go
from rotator.entrypoints.http.encrypted import Certificate, shake_hands
from rotator.errors import ListenFailed

Page = Callable[[Request], Answer]
"""From what is asked to the answer."""

THREADS = 8
"""Requests that are answered at a time; who comes besides is told to come again."""

ARRIVING = 32
"""Connections at a time whose request is not there yet; for another one the oldest of them is closed."""

SECONDS = 5.0
"""For a whole request to arrive, and again for its answer to be taken."""

BYTES = 16 * 1024
"""Of a request; the rest is not read."""

FORM = 4 * 1024
"""Bytes of what is handed over; a key has fewer than a hundred."""

_TAKEN_BESIDE = 256 * 1024
"""Bytes that are taken and thrown away, so that who sent too many reads the answer."""

_FORM_TYPE = "application/x-www-form-urlencoded"

_FULL = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Listener:
    """Listens from the moment it is made, answers once it is started.

    :ivar certificate: ``None`` where it speaks plain HTTP.
    :raises ListenFailed: the port is taken, the address is not of this machine, or the certificate can't be used.
    """

    def __init__(self, settings: HttpSettings, page: Page, wait_told: Callable[[], None] | None = None) -> None:
        """``wait_told``: see there."""
        self._wait_told = wait_told
        try:
            self.certificate = certificate = Certificate(*settings.tls) if settings.tls else None
        except OSError as error:
            raise ListenFailed(f"http.tls: its certificate can't be used: {error}") from error
        try:
            self._server = _Server(settings.host, settings.port, page, certificate)
        except OSError as error:
            where = f"{settings.host}, port {settings.port}"
            raise ListenFailed(f"http.listen: can't listen at {where}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens: that of the configuration, or the free one that was found."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on, in threads of its own."""
        self._thread.start()

    def wait_told(self) -> None:
        """Until whoever sent a form a moment ago has asked what came of it; a few seconds at most."""
        if self._wait_told is not None:
            self._wait_told()

    def stop(self) -> None:
        """Take no more requests, and wait for those that are being answered, for a few seconds at most."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.answering.wait_empty(SECONDS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # who has not asked yet is not worth a wait; for the others see ``Listener.stop``
    request_queue_size = 32

    def __init__(self, host: str, port: int, page: Page, certificate: Certificate | None) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.address_family = family
        self.page = page
        self._certificate = certificate
        self.arriving = Arriving(ARRIVING)
        self.answering = Room(THREADS)
        self._room = Room(4 * ARRIVING + THREADS)  # one that was closed needs a moment to end
        super().__init__(address, _Handler)  # type: ignore[arg-type]  # an IPv6 address has two parts more

    def server_bind(self) -> None:
        # HTTPServer's own asks a name server for the host's name, which may hang, and nobody needs.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "rotator", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's signature
        if not self._room.enter():
            request.setblocking(False)  # it fits into the buffer of a new connection, or nobody takes it
            try:
                request.send(_FULL)
            except OSError as error:
                structlog.get_logger().debug("http.broken", reason=str(error))
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._room.leave()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - likewise
        try:
            self.arriving.enter(request)
            super().process_request_thread(request, client_address)
        finally:
            self._room.leave()

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - likewise
        self.arriving.leave()
        super().shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - likewise
        if self._certificate is None:
            super().finish_request(request, client_address)
            return
        encrypted = None
        try:
            encrypted = self._certificate.wrap(request)
            self.arriving.enter(encrypted)
            shake_hands(encrypted, SECONDS)
        except OSError as error:  # a client that speaks plain HTTP, knows no such authority, or has gone
            structlog.get_logger().debug("http.no_tls", reason=str(error))
            self.arriving.leave()
            if encrypted is not None:
                encrypted.close()
            return
        try:
            super().finish_request(encrypted, client_address)
        finally:
            self.shutdown_request(encrypted)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - likewise
        structlog.get_logger().warning("http.failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request on one connection; HTTP/1.0, so that none is kept open."""

    server: _Server
    server_version, sys_version = "rotator", ""
    requestline = ""  # there is none yet where the first line is too long

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(Bounded(self.connection, BYTES, SECONDS))

    def handle(self) -> None:
        try:
            try:
                super().handle()
            except TooMuch:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except OSError as error:  # the client has gone: nobody is left to be told
            structlog.get_logger().debug("http.broken", reason=str(error))

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        allowed = ["GET", "HEAD", *(["POST"] if self.path.startswith(PREFIX) else [])]
        if self.command in allowed:
            return True
        several = " and ".join(filter(None, [", ".join(allowed[:-1]), allowed[-1]]))
        self._send(Answer.text(HTTPStatus.METHOD_NOT_ALLOWED, f"{several} alone", Allow=", ".join(allowed)))
        return False

    def do_GET(self) -> None:
        self._answer(None)

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def do_POST(self) -> None:
        said = self.headers.get_all("Content-Length", [])
        length = said[0] if len(said) == 1 else ""
        if not (length.isascii() and length.isdecimal()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif len(length) > len(str(FORM)) or int(length) > FORM:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self.headers.get_content_type() != _FORM_TYPE:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        elif len(form := self.rfile.read(int(length))) != int(length):  # what is left of a key could be taken for one
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            self._answer(Unjudged(form.decode("ascii", "replace")))

    def _refuse(self, status: HTTPStatus) -> None:
        """What is not read to its end."""
        self.send_error(status)
        let_go(self.connection, 1.0, _TAKEN_BESIDE)

    def _answer(self, form: Unjudged | None) -> None:
        """What arrived as a whole."""
        self.server.arriving.leave()
        if not self.server.answering.enter():
            self._send(Answer.text(HTTPStatus.SERVICE_UNAVAILABLE, "too many ask at a time", Retry_After="1"))
            return
        try:
            self._send(self._page(form))
        finally:
            self.server.answering.leave()

    def _page(self, form: Unjudged | None) -> Answer:
        path, _, query = self.path.partition("?")
        asked = Request(
            path=path,
            query=query,
            authorization=Unjudged(self.headers.get("Authorization", "")),
            host=self.headers.get("Host", ""),
            origin=self.headers.get("Origin", ""),
            form=form,
        )
        try:
            return self.server.page(asked)
        except Exception:  # noqa: BLE001 - it is logged, and whoever asks is told
            structlog.get_logger().exception("http.crashed")
            return Answer.text(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect; the log has its traceback")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """The library's own errors repeat what was sent; here it is the code alone."""
        status = HTTPStatus(code)
        self.command = getattr(self, "command", None) or "GET"
        self.request_version = "HTTP/1.0"  # its first version had answers without a status
        self._send(Answer.text(status, status.phrase))

    def _send(self, answer: Answer) -> None:
        self.close_connection = True
        self.connection.settimeout(SECONDS)
        self.send_response(answer.status)
        fixed = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body)), "Cache-Control": "no-store"}
        for name, value in (fixed | {"X-Content-Type-Options": "nosniff"} | dict(answer.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing: a probe every few seconds is no news, and what a client sends is not ours to write down."""
