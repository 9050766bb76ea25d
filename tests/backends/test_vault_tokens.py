"""The life of a Vault token on a real server; the clock is the test's."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rotator.adapters.backends.vault import VaultBackend
from rotator.adapters.backends.vault_auth import AppRoleAuth, TokenAuth, TokenFileAuth
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendError, BackendUnavailable
from tests.backends.conftest import some_metadata
from tests.backends.proxy import Answer, Fault, Proxy, Request
from tests.backends.vault_help import FIELD, JSON, NEW, READING, Hands, at, forget, is_login, kinds, policy, through
from tests.parts.openbao import OpenBao

HOUR = {"token_ttl": "1h", "token_max_ttl": "24h"}


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def proxy(openbao: OpenBao, kv_mount: str) -> Iterator[Proxy]:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    with Proxy(openbao.url) as made:
        yield made


def a_role(server: OpenBao, kv_mount: str, rights: str = READING, **role: Any) -> AppRoleAuth:
    made = server.approle(rights.format(mount=kv_mount), **{**HOUR, **role})
    return AppRoleAuth(role_id=made.role_id, secret_id=made.secret_id)


def a_token(server: OpenBao, kv_mount: str, **token: Any) -> str:
    rights = [policy(server, READING.format(mount=kv_mount))]
    return str(server.root.auth.token.create(policies=rights, **token)["auth"]["client_token"])


def token_of(backend: VaultBackend) -> str:
    return str(backend._session._tokens.adapter().token)


def is_renewal(request: Request) -> bool:
    return request.path.endswith("/renew-self")


def write_data(backend: VaultBackend, mount: str, value: str) -> None:
    backend._session.change(
        lambda adapter: adapter.post(f"/v1/{mount}/data/app", json={"data": {FIELD: value}}), "update"
    )


def test_a_session_that_is_not_used_makes_no_request(openbao: OpenBao, kv_mount: str, proxy: Proxy) -> None:
    through(proxy, a_role(openbao, kv_mount)).close()
    through(proxy, TokenAuth(token=openbao.token)).close()
    assert proxy.requests == []


def test_a_token_is_renewed_when_two_thirds_of_its_lease_are_over(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands
) -> None:
    backend = through(proxy, a_role(openbao, kv_mount), clock)
    seen = []
    for minutes in (0, 39, 2, 39, 2):
        clock.forward(minutes=minutes)
        forget(proxy)
        backend.read(at(kv_mount))
        seen.append(kinds(proxy))
    backend.close()
    assert seen == [["login", "data"], ["data"], ["renew-self", "data"], ["data"], ["renew-self", "data"]]


def test_a_token_that_can_not_be_renewed_is_replaced_before_it_ends(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands
) -> None:
    backend = through(proxy, a_role(openbao, kv_mount, token_type="batch"), clock)
    backend.read(at(kv_mount))
    clock.forward(minutes=41)
    backend.read(at(kv_mount))
    backend.close()
    assert kinds(proxy) == ["login", "data", "login", "data"]


def test_a_token_that_meets_its_maximum_is_replaced(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands
) -> None:
    backend = through(proxy, a_role(openbao, kv_mount), clock)
    backend.read(at(kv_mount))
    clock.forward(minutes=41)
    capped = b'{"auth": {"client_token": "x", "lease_duration": 1200, "renewable": true}}'
    proxy.break_once(is_renewal, Answer(200, capped, JSON))
    backend.read(at(kv_mount))
    first = token_of(backend)
    clock.forward(minutes=14)
    backend.read(at(kv_mount))
    backend.close()
    assert kinds(proxy) == ["login", "data", "renew-self", "data", "login", "data", "revoke-self", "revoke-self"]
    with pytest.raises(Exception, match=r"bad token|permission denied"):
        openbao.root.auth.token.lookup(first)


def test_after_a_long_idle_time_there_is_one_login_and_no_failed_request(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands
) -> None:
    backend = through(proxy, a_role(openbao, kv_mount), clock)
    backend.read(at(kv_mount))
    clock.forward(days=3)
    forget(proxy)
    backend.read(at(kv_mount))
    assert kinds(proxy) == ["login", "data"]
    backend.close()


@pytest.mark.parametrize("fault", [Answer(503), Answer(500), Fault.LOST_ANSWER])
def test_a_renewal_that_fails_for_a_passing_reason_is_tried_again_later(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands, fault: Answer | Fault
) -> None:
    backend = through(proxy, a_role(openbao, kv_mount), clock)
    backend.read(at(kv_mount))
    clock.forward(minutes=41)
    proxy.break_once(is_renewal, fault)
    forget(proxy)
    backend.read(at(kv_mount))
    backend.read(at(kv_mount))
    clock.forward(minutes=5)
    backend.read(at(kv_mount))
    backend.close()
    assert kinds(proxy) == ["renew-self", "data", "data", "renew-self", "data", "revoke-self"]


@pytest.mark.parametrize("answer", [Answer(503), Answer(400, b"{}", JSON), Fault.LOST_REQUEST])
def test_a_new_login_that_fails_ahead_of_time_leaves_the_token_that_is_still_good(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands, answer: Answer | Fault
) -> None:
    backend = through(proxy, a_role(openbao, kv_mount, token_type="batch"), clock)
    backend.read(at(kv_mount))
    clock.forward(minutes=41)
    proxy.break_once(is_login, answer)
    backend.read(at(kv_mount))
    clock.forward(minutes=20)
    proxy.break_once(is_login, answer)
    with pytest.raises((BackendUnavailable, BackendDenied)):
        write_data(backend, kv_mount, "tgp_v1_x")
    backend.close()


def test_a_token_that_is_revoked_in_the_middle_is_replaced_and_nobody_notices(
    openbao: OpenBao, kv_mount: str, proxy: Proxy
) -> None:
    backend = through(proxy, a_role(openbao, kv_mount))
    held = backend.read(at(kv_mount))
    openbao.root.auth.token.revoke(token_of(backend))
    forget(proxy)
    assert backend.read(at(kv_mount)).version == held.version
    assert kinds(proxy) == ["data", "lookup-self", "login", "data"]
    openbao.root.auth.token.revoke(token_of(backend))
    write_data(backend, kv_mount, "tgp_v1_new")
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_new"}
    openbao.root.auth.token.revoke(token_of(backend))
    backend.write(at(kv_mount), SecretValue("tgp_v1_newer"), some_metadata(), "2")
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_newer"}
    backend.close()


def test_a_token_that_ends_on_the_server_first_is_replaced_too(openbao: OpenBao, kv_mount: str, proxy: Proxy) -> None:
    """Our clock stands still: the server's alone ends the lease of one second."""
    backend = through(proxy, a_role(openbao, kv_mount, token_ttl="1s", token_max_ttl="1s"))
    backend.read(at(kv_mount))
    first = token_of(backend)
    deadline = time.monotonic() + 10
    while _lives(openbao, first) and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    assert backend.read(at(kv_mount)).version == "1"
    assert kinds(proxy) == ["login", "data", "data", "lookup-self", "login", "data"]
    backend.close()


def _lives(server: OpenBao, token: str) -> bool:
    try:
        server.root.auth.token.lookup(token)
    except Exception:  # noqa: BLE001 -- whatever it says of a token that has ended
        return False
    return True


def test_many_threads_make_one_login_and_after_a_revocation_one_more(
    openbao: OpenBao, kv_mount: str, proxy: Proxy
) -> None:
    backend = through(proxy, a_role(openbao, kv_mount))
    together = threading.Barrier(8)

    def look(_number: int) -> str:
        together.wait()
        return backend.read(at(kv_mount)).version

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(look, range(8))) == {"1"}
        assert kinds(proxy).count("login") == 1
        openbao.root.auth.token.revoke(token_of(backend))
        assert set(threads.map(look, range(8))) == {"1"}
    assert kinds(proxy).count("login") == 2
    backend.close()


def test_threads_that_waited_for_a_login_that_failed_do_not_try_it_each(
    openbao: OpenBao, kv_mount: str, proxy: Proxy
) -> None:
    """A Vault that hangs would be waited for by one after the other; a wrong password would lock the account."""
    wrong = SecretValue("made-up-credential")
    backend = through(proxy, AppRoleAuth(role_id=wrong, secret_id=wrong))
    openbao.approle("# nothing")
    tokens = backend._session._tokens
    failures: list[BackendDenied] = []

    def log_in() -> None:
        with pytest.raises(BackendDenied) as failure:
            tokens.adapter()
        failures.append(failure.value)

    threads = [threading.Thread(target=log_in) for _ in range(4)]
    with tokens._lock:
        for thread in threads:
            thread.start()
        while not all(thread.is_alive() for thread in threads):
            threading.Event().wait(0.01)
        threading.Event().wait(0.1)  # until each of them waits for the lock
    for thread in threads:
        thread.join()
    backend.close()
    assert kinds(proxy) == ["login"]
    assert {str(failure) for failure in failures} == {str(failures[0])}
    assert "made-up-credential" not in str(failures[0])


@pytest.mark.parametrize("ended", ["after an idle time", "revoked"])
def test_threads_that_waited_for_another_login_that_failed_do_not_try_it_each(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands, ended: str
) -> None:
    """Promise 9: with a Vault that hangs, the workers of all policies would wait one after the other."""
    backend = through(proxy, a_role(openbao, kv_mount), clock)
    backend.read(at(kv_mount))
    tokens = backend._session._tokens
    denied = tokens.adapter()
    if ended == "revoked":
        openbao.root.auth.token.revoke(token_of(backend))
    else:
        clock.forward(days=3)
    forget(proxy)
    with proxy.break_while(is_login, Answer(503)):
        failures = _each_of(4, tokens, tokens.adapter if ended != "revoked" else lambda: tokens.instead_of(denied))
    assert kinds(proxy).count("login") == 1
    assert {type(failure) for failure in failures} == {BackendUnavailable}
    assert backend.read(at(kv_mount)).version == "1"
    backend.close()


def _each_of(number: int, tokens: Any, call: Callable[[], object]) -> list[BackendError]:
    """What the call raises in each of so many threads that begin while somebody else has the token."""
    failures: list[BackendError] = []

    def fail() -> None:
        with pytest.raises(BackendError) as failure:
            call()
        failures.append(failure.value)

    threads = [threading.Thread(target=fail) for _ in range(number)]
    with tokens._lock:
        for thread in threads:
            thread.start()
        threading.Event().wait(0.1)  # until each of them waits for the lock
    for thread in threads:
        thread.join()
    return failures


def test_a_missing_right_makes_no_login_but_a_role_that_was_widened_is_noticed(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands
) -> None:
    auth = a_role(openbao, kv_mount, rights='path "elsewhere" {{ capabilities = ["read"] }}')
    backend = through(proxy, auth, clock)
    for _ in range(2):
        with pytest.raises(BackendDenied, match=f"read on {kv_mount}/data/app: denied"):
            backend.read(at(kv_mount))
    assert kinds(proxy) == ["login", "data", "lookup-self", "data", "lookup-self"]
    role = openbao.root.auth.token.lookup(token_of(backend))["data"]["meta"]["role_name"]
    wider = policy(openbao, READING.format(mount=kv_mount))
    openbao.root.auth.approle.create_or_update_approle(role, token_policies=[wider])
    clock.forward(minutes=6)
    assert backend.read(at(kv_mount)).version == "1"
    backend.close()
    assert kinds(proxy)[5:] == ["data", "lookup-self", "login", "data", "revoke-self", "revoke-self"]


def test_a_given_token_is_renewed_when_its_lease_runs_down(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands
) -> None:
    backend = through(proxy, TokenAuth(token=SecretValue(a_token(openbao, kv_mount, ttl="1h"))), clock)
    seen = []
    for minutes in (0, 39, 2, 39, 2):
        clock.forward(minutes=minutes)
        forget(proxy)
        backend.read(at(kv_mount))
        seen.append(kinds(proxy))
    backend.close()
    assert seen == [["data", "lookup-self"], ["data"], ["renew-self", "data"], ["data"], ["renew-self", "data"]]


def test_a_given_token_near_its_end_is_renewed_in_the_first_run(openbao: OpenBao, kv_mount: str, proxy: Proxy) -> None:
    """Runs from cron are short: none of them would ever see its lease run down."""
    token = a_token(openbao, kv_mount, period="1h")
    worn = openbao.root.auth.token.lookup(token)["data"] | {"ttl": 900}
    proxy.break_once(lambda request: request.path.endswith("/lookup-self"), Answer(200, _data(worn), JSON))
    backend = through(proxy, TokenAuth(token=SecretValue(token)))
    backend.read(at(kv_mount))
    backend.read(at(kv_mount))
    backend.close()
    assert kinds(proxy) == ["data", "lookup-self", "renew-self", "data"]


def _data(told: dict[str, Any]) -> bytes:
    return json.dumps({"data": told}).encode()


@pytest.mark.parametrize("refused", ["/lookup-self", "/renew-self"])
def test_a_given_token_that_may_not_ask_or_renew_itself_is_used_all_the_same(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands, refused: str
) -> None:
    backend = through(proxy, TokenAuth(token=SecretValue(a_token(openbao, kv_mount, ttl="1h"))), clock)
    for _ in range(4):
        proxy.break_once(lambda request: request.path.endswith(refused), Answer(403, b"{}", JSON))
    for _ in range(4):
        backend.read(at(kv_mount))
        clock.forward(minutes=25)
    backend.close()
    assert kinds(proxy).count(refused.removeprefix("/")) == 1


def test_a_given_token_that_ended_is_denied_and_one_put_in_its_place_is_taken(
    openbao: OpenBao, kv_mount: str, proxy: Proxy
) -> None:
    place = [SecretValue(a_token(openbao, kv_mount, ttl="1h"))]
    backend = through(proxy, TokenAuth(token=lambda: place[0]))
    backend.read(at(kv_mount))
    openbao.root.auth.token.revoke(place[0].reveal())
    with pytest.raises(BackendDenied):
        backend.read(at(kv_mount))
    place[0] = SecretValue(a_token(openbao, kv_mount, ttl="1h"))
    write_data(backend, kv_mount, NEW.reveal())
    backend.close()
    assert openbao.get(kv_mount, "app") == {FIELD: NEW.reveal()}


def test_a_token_file_is_read_again_when_it_changes_so_that_no_request_fails(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, clock: Hands, tmp_path: Path
) -> None:
    sink = tmp_path / "sink"
    sink.write_text(a_token(openbao, kv_mount))
    backend = through(proxy, TokenFileAuth(path=sink), clock)
    backend.read(at(kv_mount))
    first = token_of(backend)
    _replace(sink, a_token(openbao, kv_mount))
    openbao.root.auth.token.revoke(first)
    clock.forward(days=30)
    backend.read(at(kv_mount))
    backend.close()
    assert kinds(proxy) == ["data", "data"]
    assert _lives(openbao, sink.read_text())


def test_a_token_file_is_read_again_when_its_token_is_refused(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, tmp_path: Path
) -> None:
    """The file looked the same by time, number and size: its change was not seen."""
    sink = tmp_path / "sink"
    sink.write_text(a_token(openbao, kv_mount))
    backend = through(proxy, TokenFileAuth(path=sink))
    backend.read(at(kv_mount))
    openbao.root.auth.token.revoke(sink.read_text())
    with pytest.raises(BackendDenied):
        backend.read(at(kv_mount))
    sink.write_text(a_token(openbao, kv_mount))
    backend._session._tokens._seen = backend._session._tokens._mark()
    write_data(backend, kv_mount, NEW.reveal())
    backend.close()


@pytest.mark.parametrize("content", ["", "half of a tok en", None])
def test_a_token_file_that_is_just_being_written_leaves_the_token_that_is_still_good(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, tmp_path: Path, content: str | None
) -> None:
    sink = tmp_path / "sink"
    sink.write_text(a_token(openbao, kv_mount))
    backend = through(proxy, TokenFileAuth(path=sink))
    backend.read(at(kv_mount))
    if content is None:
        sink.unlink()
    else:
        sink.write_text(content)
    assert backend.read(at(kv_mount)).version == "1"
    _replace(sink, a_token(openbao, kv_mount))
    assert backend.read(at(kv_mount)).version == "1"
    assert token_of(backend) == sink.read_text()
    backend.close()


def _replace(file: Path, text: str) -> None:
    new = file.with_name("new")
    new.write_text(text)
    new.replace(file)


def test_closing_when_the_server_is_gone_ends_at_once_and_quietly(openbao: OpenBao, kv_mount: str) -> None:
    with Proxy(openbao.url) as proxy:
        backend = through(proxy, a_role(openbao, kv_mount))
        backend.read(at(kv_mount))
    backend.close()
