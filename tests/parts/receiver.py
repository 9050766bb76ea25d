"""A place that notifications are sent to: a real HTTP server that says what it is told to say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came, in order; ``answers`` are given first, then 204. ``hold``: cleared, nothing is answered."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    def kinds(self) -> list[str]:
        """Of webhooks."""
        return [body["type"] for body in self.bodies()]

    def wait(self, what: Callable[[Receiver], bool], *, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not what(self):
            assert time.monotonic() < deadline, f"not received: {self.requests}"
            time.sleep(0.05)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One that listens on a free port."""
    it = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            it.hold.wait(60)
            status, headers = it.answers.pop(0) if it.answers else (204, {})
            it.requests.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it.port = server.server_port
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield it
    finally:
        it.hold.set()
        server.shutdown()
        server.server_close()
