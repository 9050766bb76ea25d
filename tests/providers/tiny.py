"""A tiny server that says whatever it is told, and what it is told most often."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EXPIRES = datetime(2099, 1, 1, tzinfo=UTC)
SECRET = "tgp_v1_" + "s" * 43
ROW = {"id": "key_1", "name": "n", "project_id": "p", "created_at": "2026-01-01T00:00:00Z", "expires_at": None}
FLAT = {"api_key_id": "key_1", "project_id": "p", "organization_id": "o"}
TYPED = {
    "type": "project_api_key",
    "api_key": {"id": "key_1"},
    "project": {"id": "p", "name": "P", "slug": "p"},
    "organization": {"id": "o", "name": "O"},
}
KEYS, KEY = "/v1/projects/p/api-keys", "/v1/projects/p/api-keys/key_1"
NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "half of JSON": b'{"id": "key_1", "na',
    "a page": b"<html>hello</html>",
    "bytes": b"\xff\xfe\x00",
    "too deep": b"[" * 100_000,
}


class TinyServer:
    """Answers by path (without its query) with ``(status, body, headers)``; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes, dict[str, str]]]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        tiny = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                tiny.seen.append((f"{self.command} {self.path}", {k.lower(): v for k, v in self.headers.items()}))
                answers = tiny.answers.get(self.path.partition("?")[0], [(404, b"", {})])
                status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
                (self.send_response_only if "Date" in headers else self.send_response)(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names that http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"

    def say(self, path: str, status: int, body: object, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.setdefault(path, []).append((status, raw, headers))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def shown(error: BaseException) -> str:
    return f"{error!s} {error!r} {error.__cause__!r} {error.__context__!r}"
