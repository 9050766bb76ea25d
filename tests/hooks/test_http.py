"""A hook that is a request, to a real server."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rotator.adapters.hooks.http import HttpHook
from rotator.domain.secret import SecretValue
from rotator.errors import HookFailed, Stopping
from tests.fakes.hooks import NEWS

SECRET = "made-up-token-of-a-hook"


@contextmanager
def server(status: int = 204, **headers: str) -> Iterator[tuple[str, list[tuple[str, dict, dict]]]]:
    """Answers every POST with that status; tells what it was sent."""
    seen: list[tuple[str, dict, dict]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{made.server_port}/rotated", seen
    finally:
        made.shutdown()
        made.server_close()


@contextmanager
def silent() -> Iterator[str]:
    """Takes a connection, and answers one byte of a header after the other, until it is left."""
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while not left.is_set():
                        connection.sendall(b"x")
                        time.sleep(0.05)
                except OSError:
                    left.set()

        threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        assert left.wait(5), "its connection was closed"


def run(url, *, token=None, timeout=10, pulse=lambda: None):
    HttpHook(url=url, token=token, timeout=timedelta(seconds=timeout)).tell("tell", NEWS, pulse)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_2xx_is_success(status):
    with server(status) as (url, seen):
        run(url)
    ((path, headers, body),) = seen
    assert (path, headers["content-type"]) == ("/rotated", "application/json")
    assert "authorization" not in headers
    assert body == {
        "version": 1,
        "hook": "tell",
        "instance": "prod",
        "policy": "chat",
        "project": "proj_a",
        "key_id": "key_new",
        "old_key_ids": ["key_old"],
        "destinations": ["vault:secret/chat#KEY", "dotenv:/srv/.env#KEY"],
        "test": False,
    }


def test_its_token_is_sent_in_the_header_alone():
    with server() as (url, seen):
        run(url, token=SecretValue(SECRET))
    ((_, headers, body),) = seen
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in json.dumps(body)


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_another_status_is_a_failure(status):
    with server(status) as (url, _), pytest.raises(HookFailed, match=f"^it was answered with {status}$"):
        run(url, token=SecretValue(SECRET))


def test_a_redirect_is_not_followed_and_takes_the_token_nowhere():
    with server() as (elsewhere, seen), server(307, Location=elsewhere) as (url, _):
        with pytest.raises(HookFailed, match=r"^it was answered with 307$"):
            run(url, token=SecretValue(SECRET))
        assert seen == []


def test_nobody_there_is_a_failure_that_names_neither_the_token_nor_the_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(HookFailed, match=r"^no answer \(ConnectError\)$") as caught:
        run(f"http://127.0.0.1:{port}/", token=SecretValue(SECRET))
    assert caught.value.__cause__ is None


def test_an_answer_that_never_ends_is_given_up_at_the_timeout():
    began = time.monotonic()
    with silent() as url, pytest.raises(HookFailed, match=r"^no answer within 1s$"):
        run(url, timeout=1)
    assert time.monotonic() - began < 5


def test_one_that_is_not_waited_for_any_more_is_left():
    def pulse():
        raise Stopping("the service is shutting down")

    began = time.monotonic()
    with silent() as url, pytest.raises(Stopping):
        run(url, pulse=pulse)
    assert time.monotonic() - began < 5


def test_a_token_that_no_header_can_hold_is_a_failure():
    with pytest.raises(HookFailed, match="its token can't be sent in a header"):
        run("http://127.0.0.1:9/", token=SecretValue("two\nlines"))
