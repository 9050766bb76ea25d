"""A reverse proxy on the loopback interface: counts requests, and breaks the ones that a test names."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server"}


class Fault(Enum):
    """What happens to a request instead of an answer."""

    LOST_REQUEST = "the connection ends before the request is carried out"
    LOST_ANSWER = "the request is carried out, then the connection ends"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in."""

    method: str
    path: str
    target: str  # X-Amz-Target without its prefix; empty elsewhere
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; its headers without those of the connection."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: tuple[tuple[str, str], ...] = ()


Matches = Callable[[Request], bool]
Upstream = Callable[[bytes], Answer]
Intercept = Callable[[Request, Upstream], Answer | None]
"""``None``: the connection ends without an answer."""


def forward(request: Request, upstream: Upstream) -> Answer:
    return upstream(request.body)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed, or has waited long enough, is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Proxy:
    """A context manager; ``url`` is where clients connect.

    :param intercept: sees each request, and may change its body or answer it itself.
    """

    def __init__(self, target: str, intercept: Intercept = forward) -> None:
        self._host = urlsplit(target).netloc
        self._intercept = intercept
        self._lock = threading.Lock()
        self._faults: list[tuple[Matches, Fault | Answer]] = []
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def break_once(self, matches: Matches, fault: Fault | Answer) -> None:
        """The next request that matches meets this fault."""
        with self._lock:
            self._faults.append((matches, fault))

    def forget_faults(self) -> None:
        """What did not strike yet never will."""
        with self._lock:
            self._faults.clear()

    def _fault_for(self, request: Request) -> Fault | Answer | None:
        with self._lock:
            self.requests.append(request)
            for index, (matches, fault) in enumerate(self._faults):
                if matches(request):
                    del self._faults[index]
                    return fault
        return None

    def _answer(self, request: Request, headers: dict[str, str]) -> Answer | None:
        fault = self._fault_for(request)
        if fault is Fault.LOST_REQUEST:
            return None
        if isinstance(fault, Answer):
            return fault
        answer = self._intercept(request, lambda body: self._upstream(request, body, headers))
        return None if fault is Fault.LOST_ANSWER else answer

    def _upstream(self, request: Request, body: bytes, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(self._host, timeout=20)
        try:
            connection.request(request.method, request.path, body, headers)
            response = connection.getresponse()
            kept = tuple((name, text) for name, text in response.getheaders() if name.lower() not in _HOP_BY_HOP)
            return Answer(response.status, response.read(), kept)
        finally:
            connection.close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two writes: the second waits for no acknowledgement

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if len(body) < length:  # the client was killed while it sent
                    self.close_connection = True
                    return
                target = (self.headers.get("X-Amz-Target") or "").partition(".")[2]
                headers = {name: text for name, text in self.headers.items() if name.lower() not in _HOP_BY_HOP}
                request = Request(self.command, self.path, target, body, headers)
                answer = proxy._answer(request, headers)
                if answer is None:
                    self.close_connection = True
                    with contextlib.suppress(OSError):  # the client may have left before
                        self.connection.shutdown(socket.SHUT_RDWR)
                    return
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has given up
                    self._send(answer)

            def _send(self, answer: Answer) -> None:
                self.send_response_only(answer.status)  # the other side has said what time it is
                for name, text in answer.headers:
                    self.send_header(name, text)
                if answer.status not in {204, 304}:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_LIST = _serve  # noqa: N815 -- http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- http.server's name
                """Say nothing: the test looks at ``requests``."""

        return Handler
