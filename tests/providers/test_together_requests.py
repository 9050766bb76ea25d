"""What the Together adapter sends, where to, and when it stops waiting."""

from __future__ import annotations

import socket
import threading
import time
from datetime import datetime

import httpx
import pytest

from rotator.adapters.providers import _exchange
from rotator.adapters.providers._exchange import Exchange, NoAnswer
from rotator.adapters.providers.together import TogetherPaths, TogetherProvider
from rotator.domain.model import Identity
from rotator.domain.secret import SecretValue
from rotator.errors import (
    ProviderDenied,
    ProviderNonsense,
    ProviderRejected,
    ProviderUnavailable,
)
from tests.parts.simulator import PROJECT, Simulator
from tests.providers.tiny import EXPIRES, FLAT, KEYS, ROW, SECRET, TYPED, TinyServer


def test_a_redirect_is_not_followed_with_a_key(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say("/v3/whoami", 307, b"", Location="/v1/whoami")
    tiny.say("/v1/whoami", 200, FLAT)
    with pytest.raises(ProviderNonsense):
        provider.identify(SecretValue(SECRET))
    assert [request for request, _ in tiny.seen] == ["GET /v3/whoami"]


def test_a_cookie_from_one_answer_goes_with_no_other_key(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say("/v3/whoami", 200, TYPED, **{"Set-Cookie": "session=first; Path=/"})
    for text in (SECRET, "another"):
        provider.identify(SecretValue(text))
    assert [headers["authorization"] for _, headers in tiny.seen] == [f"Bearer {SECRET}", "Bearer another"]
    assert not any("cookie" in headers for _, headers in tiny.seen)


def test_an_id_can_not_lead_to_another_path(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say("/v1/projects/a%2F..%2Fb%3Fc/api-keys", 200, {"data": []})
    assert provider.list_keys("a/../b?c") == ()
    for project, key_id in (("p", ".."), ("..", "k"), ("p", ""), (".", "k")):
        with pytest.raises(ProviderRejected, match="not sent"):
            provider.revoke_key(project, key_id)
    assert len(tiny.seen) == 1


def test_every_path_can_be_set(tiny: TinyServer) -> None:
    paths = TogetherPaths(keys="/gw/{project_id}/k", key="/gw/{project_id}/k/{key_id}", whoami="/gw/me")
    provider = TogetherProvider(
        base_url=f"{tiny.base_url}/base/", management_key=SecretValue("management"), paths=paths
    )
    tiny.say("/base/gw/p/k", 200, {"data": [ROW]})
    tiny.say("/base/gw/p/k/key_1", 204, b"")
    tiny.say("/base/gw/me", 200, TYPED)
    assert len(provider.list_keys("p")) == 1
    provider.revoke_key("p", "key_1")
    assert isinstance(provider.identify(SecretValue(SECRET)), Identity)
    provider.close()


@pytest.mark.parametrize(
    "paths",
    [
        {"keys": "/v1/keys"},
        {"keys": "v1/{project_id}"},
        {"key": "/v1/{project_id}"},
        {"key": "/{project_id}/{key_id}/{x}"},
        {"whoami": "/me?x=1"},
        {"whoami": "https://elsewhere.example/me"},
    ],
)
def test_a_path_template_that_can_not_work_is_refused_at_once(paths: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="paths"):
        TogetherPaths(**paths)


@pytest.mark.parametrize("url", ["", "api.example", "ftp://api.example", "https://", "http://a\x00b"])
def test_a_base_url_that_can_not_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        TogetherProvider(base_url=url, management_key=SecretValue("management"))


@pytest.mark.parametrize("text", ["", "two words", "tgp_v1_x\n", "Bearer\ttgp"])
def test_a_management_key_that_no_header_can_carry_is_denied_at_once_and_not_shown(text: str) -> None:
    with pytest.raises(ProviderDenied) as caught:
        TogetherProvider(base_url="http://127.0.0.1:1", management_key=SecretValue(text))
    assert not text or text.strip() not in str(caught.value)


def test_a_naive_time_is_a_defect_of_the_caller(provider: TogetherProvider, tiny: TinyServer) -> None:
    with pytest.raises(ValueError, match="zone"):
        provider.create_key("p", "n", datetime(2099, 1, 1))  # noqa: DTZ001 - the defect itself
    assert tiny.seen == []


def test_an_answer_without_an_end_is_given_up(tiny: TinyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotator.adapters.providers._exchange._LARGEST_BODY", 1000)
    provider = TogetherProvider(base_url=tiny.base_url, management_key=SecretValue("management"), attempts=1)
    tiny.say(KEYS, 200, b" " * 2000)
    with pytest.raises(ProviderUnavailable, match="too large"):
        provider.list_keys("p")
    provider.close()


def test_many_threads_share_one_provider(simulator: Simulator) -> None:
    provider = TogetherProvider(base_url=simulator.base_url, management_key=simulator.management_key, max_connections=3)
    threads = [
        threading.Thread(target=lambda n=n: provider.create_key(PROJECT, f"key-{n}", EXPIRES)) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {facts.name for facts in provider.list_keys(PROJECT)} == {f"key-{n}" for n in range(12)}
    provider.close()


def test_no_thread_loses_its_answer_to_another_one(simulator: Simulator) -> None:
    """A pool that threads share can close a connection that one of them is about to read from; then keys are lost."""
    exchange = Exchange(simulator.base_url, timeout=5, max_connections=3)
    lost: list[NoAnswer] = []

    def ask() -> None:
        answers = (exchange.send("GET", "/v1/whoami", SecretValue("unknown")) for _ in range(40))
        lost.extend(answer for answer in answers if isinstance(answer, NoAnswer))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exchange.close()
    assert not lost


def test_who_finds_no_free_connection_in_time_has_sent_nothing() -> None:
    release = threading.Event()

    def accept(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            release.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=accept, args=(listener,))
        server.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        exchange = Exchange(address, timeout=0.5, max_connections=1)
        with exchange._connection():
            assert exchange.send("GET", "/", SecretValue("x")) == NoAnswer("no connection is free", sent=False)
        assert exchange.send("GET", "/", SecretValue("x")) == NoAnswer("ReadTimeout", sent=True)
        release.set()
        server.join()
        exchange.close()


def test_an_answer_that_drips_is_given_up_in_time() -> None:
    """A body that comes byte by byte keeps no read waiting for long, and would never end."""
    enough = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not enough.wait(0.05):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        provider = TogetherProvider(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            management_key=SecretValue("management"),
            timeout=0.3,
            attempts=1,
        )
        began = time.monotonic()
        with pytest.raises(ProviderUnavailable, match="too slow"):
            provider.list_keys("p")
        assert time.monotonic() - began < 5
        enough.set()
        thread.join()
        provider.close()


def test_every_network_error_of_the_http_library_is_turned_into_a_value() -> None:
    families = [httpx.RequestError]
    for family in families:
        families.extend(family.__subclasses__())
    errors = {family.__name__ for family in families}
    exported = {name for name in dir(httpx) if name.endswith(("Error", "Timeout", "Redirects", "Protocol"))}
    not_of_the_network = {"HTTPError", "HTTPStatusError", "StreamError", "Timeout"}
    assert exported - errors == not_of_the_network
    assert {kind.__name__ for kind in _exchange._NOT_SENT} <= errors
