"""The listener: what is cut off or too long, who says nothing, and who sends what belongs to others."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from rotator.config import HttpSettings
from rotator.domain.secret import SecretValue, Unjudged
from rotator.entrypoints.http.answer import Answer
from rotator.entrypoints.http.asked import Request
from rotator.entrypoints.http.pages import Pages
from rotator.entrypoints.http.server import ARRIVING, THREADS, Listener, Page
from rotator.telemetry import redact_text
from tests.pages.people import LINK, form, serving
from tests.parts.certificates import Authority
from tests.service.people import AssistedStage

OTHERS = "rotator_stuck"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@contextmanager
def listening(page: Page, **settings: Any) -> Iterator[Listener]:
    listener = Listener(HttpSettings(host="127.0.0.1", port=0, token=None, **settings), page)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def fine(_: Request) -> Answer:
    return Answer.text(HTTPStatus.OK, "ok")


def connected(port: int | None) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def all_of(connection: socket.socket) -> bytes:
    answer = b""
    while got := connection.recv(65536):
        answer += got
    return answer


# --- what is sent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 3, 20])
def test_promise_1_a_form_that_was_cut_off_is_not_taken(stage: AssistedStage, left: int) -> None:
    """Half of a date, or of the answer to when it expires, would be recorded as something else."""
    key = stage.make_key().secret.reveal()
    whole = f"key={key}&expires=never".encode()
    with serving(stage) as address, connected(urlsplit(address).port) as connection:
        head = f"POST {LINK} HTTP/1.0\r\nContent-Length: {len(whole)}\r\n".encode()
        connection.sendall(head + FORM + b"\r\n" + whole[:-left])
        connection.shutdown(socket.SHUT_WR)
        assert all_of(connection).startswith(b"HTTP/1.0 400 ")
    assert stage.record.keys == ()


def test_two_lengths_of_one_form_are_none(stage: AssistedStage) -> None:
    with serving(stage) as address, connected(urlsplit(address).port) as connection:
        lengths = b"Content-Length: 5\r\nContent-Length: 9\r\n"
        connection.sendall(b"POST " + LINK.encode() + b" HTTP/1.0\r\n" + lengths + FORM + b"\r\nkey=a&b=c")
        assert all_of(connection).startswith(b"HTTP/1.0 411 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 12_000 + b" HTTP/1.1\r\nA: " + b"y" * 12_000,
        b"GET /" + b"x" * 40_000,
        b"GET /healthz HTTP/1.1\r\n" + b"Cookie: " + b"x" * 300_000 + b"\r\n\r\n",
    ],
)
def test_whoever_sends_too_much_is_told(sent: bytes) -> None:
    with listening(fine) as listener, connected(listener.port) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert all_of(connection).startswith(b"HTTP/1.0 431 Request Header Fields Too Large\r\n")


def test_what_others_send_blanks_nothing_that_is_written_meanwhile(stage: AssistedStage) -> None:
    """Only who has an open link sends secrets."""
    written: list[str] = []

    def token() -> SecretValue:
        written.append(redact_text(f"{OTHERS} 0.0"))
        return SecretValue("the token of scrapes")

    pages = Pages(
        alive=lambda: "",
        ready=SimpleNamespace(problems=lambda *, detailed: {}, warnings=dict),
        token=token,
        metrics=lambda: (f"{OTHERS} 0.0\n".encode(), "text/plain"),
        overview=SimpleNamespace(),
    )
    basic = "Basic " + base64.b64encode(f":{OTHERS}".encode()).decode()
    with listening(pages) as listener:
        for given in (f"Bearer {OTHERS}", basic):
            answer = httpx.get(f"http://127.0.0.1:{listener.port}/metrics", headers={"Authorization": given})
            assert answer.status_code == 401
    with serving(stage) as address:
        load = stage.journal.load

        def loads(name: str) -> object:
            written.append(redact_text(f"{OTHERS} 0.0"))
            return load(name)

        stage.journal.load = loads
        for path in (f"{LINK}x", "/handover/"):
            httpx.post(address + path, data=form(OTHERS))
            httpx.post(address + path, content=OTHERS.encode(), headers={"Content-Type": "text/plain"})
    assert len(written) >= 3
    assert set(written) == {f"{OTHERS} 0.0"}


def test_what_was_sent_is_in_no_text_of_it() -> None:
    asked = Request(path="/", authorization=Unjudged("made-up-1"), form=Unjudged("made-up-2"))
    assert "made-up" not in f"{asked} {asked!r} {asked.form} {asked.form!r}"


# --- who says nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True])
def test_who_opens_connections_and_says_nothing_keeps_nobody_from_an_answer(tmp_path: Path, *, encrypted: bool) -> None:
    authority = Authority(tmp_path)
    tls = authority.sign("one", hosts=("127.0.0.1",)) if encrypted else None
    trusting = ssl.create_default_context(cafile=authority.file)
    with listening(fine, tls=tls) as listener, ExitStack() as silent:
        url = f"{'https' if encrypted else 'http'}://127.0.0.1:{listener.port}/healthz"
        idle = [silent.enter_context(connected(listener.port)) for _ in range(2 * ARRIVING)]
        for _ in range(ARRIVING):
            idle.append(silent.enter_context(connected(listener.port)))
            assert httpx.get(url, verify=trusting).status_code == 200
        assert idle[0].recv(1) == b"", "the oldest was closed"


def test_a_request_that_is_there_is_answered_however_many_connect_meanwhile() -> None:
    inside, go = Event(), Event()

    def waits(_: Request) -> Answer:
        inside.set()
        assert go.wait(30)
        return fine(_)

    with listening(waits) as listener, ExitStack() as silent, ThreadPoolExecutor() as people:
        asked = people.submit(httpx.get, f"http://127.0.0.1:{listener.port}/", timeout=60)
        assert inside.wait(30)
        for _ in range(2 * ARRIVING):
            silent.enter_context(connected(listener.port))
        go.set()
        assert asked.result().text == "ok\n"


def test_more_than_are_answered_at_a_time_are_told_to_come_again() -> None:
    inside, go = [Event() for _ in range(THREADS)], Event()
    free = list(inside)

    def waits(_: Request) -> Answer:
        free.pop().set()
        assert go.wait(30)
        return fine(_)

    with listening(waits) as listener, ThreadPoolExecutor(THREADS) as people:
        url = f"http://127.0.0.1:{listener.port}/"
        asked = [people.submit(httpx.get, url, timeout=60) for _ in range(THREADS)]
        for one in inside:
            assert one.wait(30)
        besides = httpx.get(url)
        assert (besides.status_code, besides.headers["Retry-After"]) == (503, "1")
        go.set()
        assert [one.result().status_code for one in asked] == [200] * THREADS


def test_a_stop_lets_an_answer_that_is_being_made_be_sent() -> None:
    inside, go = Event(), Event()

    def waits(_: Request) -> Answer:
        inside.set()
        assert go.wait(30)
        return fine(_)

    listener = Listener(HttpSettings(host="127.0.0.1", port=0, token=None), waits)
    listener.start()
    with ThreadPoolExecutor() as people:
        asked = people.submit(httpx.get, f"http://127.0.0.1:{listener.port}/", timeout=60)
        assert inside.wait(30)
        stopped = people.submit(listener.stop)
        listener._thread.join(30)  # nobody is let in any more
        assert not stopped.done()
        go.set()
        stopped.result(30)
        assert asked.result().text == "ok\n"
