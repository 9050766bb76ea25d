"""What HTTP answers before the journal can be opened, and how it goes on with it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

import httpx
import pytest
import yaml

from rotator.bootstrap import Application, application
from rotator.clock import SystemClock
from rotator.config import Settings, load
from rotator.entrypoints.front import Front
from rotator.entrypoints.heart import SILENT_SECONDS, Heart
from rotator.entrypoints.runtimes import Runtime
from rotator.entrypoints.serve import AGAIN_LAST, ONE_TRY, Opener
from rotator.entrypoints.signals import Signals
from rotator.entrypoints.supervisor import Supervisor
from rotator.errors import JournalUnavailable
from tests.e2e.installation import document, in_file, policy

ENVIRON = {"MANAGEMENT_KEY": "made-up-key"}


def settings_of(folder: Path, **rest: object) -> Settings:
    file = folder / "rotator.yaml"
    file.write_text(yaml.safe_dump(document(folder, "http://127.0.0.1:1", [policy(in_file(folder / ".env"))], **rest)))
    return load(file, ENVIRON)


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front(SystemClock())
    yield made
    made.stop()


class Waits(threading.Event):
    """Stands for the pause between two tries: ``asks`` happens in it."""

    def __init__(self, asks: object) -> None:
        super().__init__()
        self.asks = asks

    def wait(self, timeout: float | None = None) -> bool:
        self.asks()
        return True


def test_while_the_journal_can_not_be_opened_the_service_is_alive_and_says_why_it_is_not_ready(
    tmp_path: Path, front: Front
) -> None:
    settings, told = settings_of(tmp_path, http={"listen": "127.0.0.1:0"}), {}

    def get(path: str) -> httpx.Response:
        assert front._listener is not None
        return httpx.get(f"http://127.0.0.1:{front._listener.port}{path}")

    def ask() -> None:
        told.update({path: get(path) for path in ("/healthz", "/readyz", "/readyz/chat", "/readyz/x", "/metrics", "/")})

    with ExitStack() as stack:
        tries = iter((JournalUnavailable("the disk of the journal is away"), None))

        def wire(given: Settings) -> Application:
            if error := next(tries):
                raise error
            return stack.enter_context(application(given, ENVIRON, service=True))

        signals = Signals(SystemClock())
        signals.wake = Waits(ask)
        opened = Opener(wire, signals, Supervisor({}), front, environ=ENVIRON).open(settings)
        assert opened is not None
        assert (told["/healthz"].status_code, told["/healthz"].text) == (200, "ok\n")
        reason = "the journal can't be read: the disk of the journal is away"
        assert told["/readyz"].status_code == told["/readyz/chat"].status_code == told["/"].status_code == 503
        assert told["/readyz"].json() == {"ready": False, "problems": [reason]}
        assert told["/readyz/chat"].json()["reason"] == reason
        assert told["/readyz/x"].status_code == 404
        assert "the disk of the journal is away" in told["/"].text
        for line in ("rotator_journal_readable 0.0", "rotator_policies 1.0", "rotator_stuck 0.0"):
            assert line in told["/metrics"].text.splitlines()

        listener = front._listener
        known = {one.name: one for one in settings.policies}
        runtime = Runtime(application=opened, policies=known)
        front.serve(lambda: opened, lambda: known, lambda: nullcontext(runtime))
        assert front._listener is listener, "the same port answers on"
        assert get("/readyz").json()["ready"]
        assert "rotator_journal_readable 1.0" in get("/metrics").text


def test_another_place_to_listen_at_is_taken_up_while_it_waits(tmp_path: Path, front: Front) -> None:
    front.wait(settings_of(tmp_path))
    assert front._listener is None
    front.wait(settings_of(tmp_path, http={"listen": "127.0.0.1:0"}))
    assert front._listener is not None
    first = front._listener.port
    front.wait(settings_of(tmp_path, http={"listen": "127.0.0.2:0"}))
    assert httpx.get(f"http://127.0.0.2:{front._listener.port}/healthz").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{first}/healthz")
    front.wait(settings_of(tmp_path))
    assert front._listener is None


def test_promise_10_a_place_to_listen_at_that_is_taken_is_refused_while_it_waits_and_the_one_before_is_kept(
    tmp_path: Path, front: Front
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, other = (one.getsockname()[1] for one in (free, taken))
        free.close()
        settings = settings_of(tmp_path, http={"listen": f"127.0.0.1:{port}"})
        signals, told = Signals(SystemClock()), []

        def asks() -> None:
            told.append(httpx.get(f"http://127.0.0.1:{port}/readyz").json()["problems"])
            settings_of(tmp_path, http={"listen": f"127.0.0.1:{other}"}, instance="other")
            signals.stop.set() if len(told) > 1 else signals.reload.set()

        def wire(given: Settings) -> Application:
            raise JournalUnavailable(f"of {given.instance}")

        signals.wake = Waits(asks)
        assert Opener(wire, signals, Supervisor({}), front, environ=ENVIRON).open(settings) is None
    assert told == [["the journal can't be read: of e2e"]] * 2


def test_a_try_may_take_longer_than_a_round_and_not_for_ever() -> None:
    seconds = [0.0]
    heart = Heart(monotonic=lambda: seconds[0], wall=lambda: 0.0)
    heart.beat("", within=ONE_TRY.total_seconds())
    seconds[0] = 2 * AGAIN_LAST.total_seconds()
    assert seconds[0] > SILENT_SECONDS
    assert heart.trouble() == ""
    seconds[0] = ONE_TRY.total_seconds() + 1
    assert heart.trouble()
    heart.beat("")
    seconds[0] += SILENT_SECONDS + 1
    assert heart.trouble(), "a round has its own, shorter time again"
