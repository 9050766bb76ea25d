"""The Vault backend against the answers that a server rarely gives."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rotator.adapters.backends.vault import TokenAuth, VaultBackend
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import (
    BackendDenied,
    BackendError,
    BackendUnavailable,
    OutcomeUnknown,
    VersionConflict,
    WrongDestination,
)
from tests.backends.conftest import a_destination, some_metadata
from tests.backends.proxy import Answer, Fault, Proxy, Request
from tests.parts.openbao import OpenBao

FIELD = "TOGETHER_API_KEY"
NEW = SecretValue("tgp_v1_new")
JSON = (("Content-Type", "application/json"),)


def at(mount: str, path: str = "app", field: str = FIELD) -> Destination:
    return a_destination("vault", mount=mount, path=path, field=field)


def with_root(server: OpenBao, url: str | None = None) -> VaultBackend:
    return VaultBackend(url=url or server.url, auth=TokenAuth(token=server.token), timeout=2)


@pytest.fixture
def backend(openbao: OpenBao) -> Iterator[VaultBackend]:
    made = with_root(openbao)
    yield made
    made.close()


@pytest.fixture
def proxy(openbao: OpenBao) -> Iterator[Proxy]:
    with Proxy(openbao.url) as made:
        yield made


@pytest.fixture
def through_proxy(openbao: OpenBao, proxy: Proxy) -> Iterator[VaultBackend]:
    made = with_root(openbao, proxy.url)
    yield made
    made.close()


def is_value_write(request: Request) -> bool:
    return request.method == "POST" and "/data/" in request.path


def is_value_read(request: Request) -> bool:
    return request.method == "GET" and "/data/" in request.path


def is_hint(request: Request) -> bool:
    return request.method == "PATCH"


def lasting(proxy: Proxy, answer: Answer | Fault, *, times: int = 3) -> None:
    for _ in range(times):
        proxy.break_once(is_value_read, answer)


def test_a_sealed_server_is_unavailable_for_reads_and_writes() -> None:
    with OpenBao() as server:
        server.put("secret", "app", {FIELD: "tgp_v1_old"})
        backend = with_root(server)
        version = backend.read(at("secret")).version
        server.root.sys.seal()
        with pytest.raises(BackendUnavailable, match="HTTP 503"):
            backend.read(at("secret"))
        with pytest.raises(BackendUnavailable, match="HTTP 503"):
            backend.write(at("secret"), NEW, some_metadata(), version)
        backend.close()


def test_a_server_that_is_not_there_is_unavailable_also_for_a_write() -> None:
    backend = VaultBackend(url="http://127.0.0.1:9", auth=TokenAuth(token=SecretValue("t")), timeout=1)
    with pytest.raises(BackendUnavailable):
        backend.read(at("secret"))
    with pytest.raises(BackendUnavailable):
        backend._session.change(lambda adapter: adapter.post("/v1/secret/data/app", json={}), "update")
    backend.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (307, OutcomeUnknown),
        (400, WrongDestination),
        (401, BackendDenied),
        (403, BackendDenied),
        (404, WrongDestination),
        (412, BackendUnavailable),
        (429, BackendUnavailable),
        (472, BackendUnavailable),
        (473, BackendUnavailable),
        (500, OutcomeUnknown),
        (502, OutcomeUnknown),
        (503, BackendUnavailable),
        (504, OutcomeUnknown),
    ],
)
def test_each_status_of_a_write_is_one_error_and_its_body_is_in_none(
    through_proxy: VaultBackend, proxy: Proxy, kv_mount: str, status: int, error: type[Exception]
) -> None:
    body = json.dumps({"errors": ["tgp_v1_in_an_answer"]}).encode()
    proxy.break_once(is_value_write, Answer(status, body, (*JSON, ("Location", "http://127.0.0.1:9/"))))
    with pytest.raises(error) as failure:
        through_proxy.write(at(kv_mount), NEW, some_metadata(), "0")
    assert "tgp_v1_" not in f"{failure.value!r} {failure.value.__cause__!r} {failure.value.__context__!r}"


def test_a_check_and_set_that_fails_at_the_server_is_a_conflict(
    openbao: OpenBao, kv_mount: str, proxy: Proxy, through_proxy: VaultBackend
) -> None:
    body = b'{"errors":["check-and-set parameter did not match the current version"]}'
    proxy.break_once(is_value_write, Answer(400, body, JSON))
    with pytest.raises(VersionConflict):
        through_proxy.write(at(kv_mount), NEW, some_metadata(), "0")


@pytest.mark.parametrize(("fault", "arrived"), [(Fault.LOST_REQUEST, False), (Fault.LOST_ANSWER, True)])
def test_a_lost_answer_to_a_write_is_an_unknown_outcome_and_the_write_is_sent_once(
    through_proxy: VaultBackend, proxy: Proxy, kv_mount: str, fault: Fault, *, arrived: bool
) -> None:
    proxy.break_once(is_value_write, fault)
    with pytest.raises(OutcomeUnknown):
        through_proxy.write(at(kv_mount), NEW, some_metadata(), "0")
    assert len([request for request in proxy.requests if is_value_write(request)]) == 1
    assert (through_proxy.read(at(kv_mount)).value is not None) is arrived


def test_metadata_that_fails_after_the_value_says_so_and_a_repeat_completes_it(
    through_proxy: VaultBackend, proxy: Proxy, kv_mount: str
) -> None:
    metadata = some_metadata()
    proxy.break_once(is_hint, Answer(403, b"{}", JSON))
    with pytest.raises(OutcomeUnknown, match="the value is written, its metadata is not"):
        through_proxy.write(at(kv_mount), NEW, metadata, "0")
    through_proxy.write(at(kv_mount), NEW, metadata, "0")
    held = through_proxy.read(at(kv_mount))
    assert (held.version, dict(held.metadata)) == ("1", metadata.as_pairs())


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Answer(503), Answer(500), Answer(429)])
def test_a_read_is_repeated_and_a_passing_fault_is_not_noticed(
    through_proxy: VaultBackend, proxy: Proxy, kv_mount: str, fault: Fault | Answer
) -> None:
    lasting(proxy, fault, times=2)
    assert through_proxy.read(at(kv_mount)).version == "0"


def test_a_read_gives_up_after_three_tries(through_proxy: VaultBackend, proxy: Proxy, kv_mount: str) -> None:
    lasting(proxy, Answer(503))
    with pytest.raises(BackendUnavailable):
        through_proxy.read(at(kv_mount))
    assert len([request for request in proxy.requests if is_value_read(request)]) == 3


@pytest.mark.parametrize("answer", [Answer(200, b"<html>"), Answer(200, b"[]", JSON), Answer(200, b'{"data":1}', JSON)])
def test_an_answer_that_is_not_vaults_is_not_believed(
    through_proxy: VaultBackend, proxy: Proxy, kv_mount: str, answer: Answer
) -> None:
    proxy.break_once(is_value_read, answer)
    with pytest.raises(BackendError):
        through_proxy.read(at(kv_mount))


def test_a_redirect_is_not_followed_so_no_token_reaches_another_server(
    openbao: OpenBao, through_proxy: VaultBackend, proxy: Proxy, kv_mount: str
) -> None:
    """No secret leaves memory except to its destinations (Promise 3)."""
    with Proxy(openbao.url) as elsewhere:
        lasting(proxy, Answer(307, b"", (("Location", f"{elsewhere.url}/v1/{kv_mount}/data/app"),)))
        with pytest.raises(BackendUnavailable, match="HTTP 307"):
            through_proxy.read(at(kv_mount))
        assert elsewhere.requests == []


def test_a_token_from_the_environment_is_never_used(
    openbao: OpenBao, kv_mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", openbao.token.reveal())
    backend = VaultBackend(url=openbao.url, auth=TokenAuth(token=SecretValue("no-such-token")))
    with pytest.raises(BackendDenied):
        backend.read(at(kv_mount))
    backend.close()
