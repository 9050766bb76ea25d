"""Each state of a Vault server is told by its name, and tried again in the way that fits it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from rotator.adapters.backends.vault import VaultBackend
from rotator.adapters.backends.vault_auth import AppRoleAuth, TokenAuth
from rotator.adapters.backends.vault_errors import Lasting
from rotator.adapters.backends.vault_wire import Transport
from rotator.errors import BackendError, BackendUnavailable, OutcomeUnknown
from rotator.service.guard import GuardedBackend, Limits
from tests.backends.conftest import some_metadata
from tests.backends.proxy import Answer, Fault, Proxy, Request, Upstream
from tests.backends.vault_help import FIELD, JSON, NEW, Hands, at, forget, is_login, kinds, through
from tests.parts.openbao import OpenBao

pytestmark = pytest.mark.usefixtures("no_waiting")
VAULTS_OWN = b'{"errors": ["tgp_v1_in_an_answer"]}'


def is_read(request: Request) -> bool:
    return request.method == "GET" and "/data/" in request.path


def is_write(request: Request) -> bool:
    return request.method in {"POST", "PATCH"} and "/data/" in request.path


def is_health(request: Request) -> bool:
    return request.path.startswith("/v1/sys/health")


@pytest.fixture
def proxy(openbao: OpenBao, kv_mount: str) -> Iterator[Proxy]:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    with Proxy(openbao.url) as made:
        yield made


@pytest.fixture
def backend(openbao: OpenBao, proxy: Proxy) -> Iterator[VaultBackend]:
    made = through(proxy, TokenAuth(token=openbao.token))
    yield made
    made.close()


def repeated(proxy: Proxy, answer: Answer | Fault, times: int = 3) -> None:
    for _ in range(times):
        proxy.break_once(is_read, answer)


def retry_after(seconds: str) -> tuple[tuple[str, str], ...]:
    return (*JSON, ("Retry-After", seconds))


NO_LEADER = b'{"errors": ["local node not active but active cluster node not found"]}'
STATES = [
    (Answer(301, b"", (("Location", "/ui/"),)), "redirected, which is not followed", 3),
    (Answer(307, b"", (("Location", "https://x/"),)), "a standby; the active node that it names is none of 'nodes'", 3),
    (Answer(412, VAULTS_OWN, JSON), "not replicated to this node yet", 3),
    (Answer(429, VAULTS_OWN, JSON), "rate-limited .HTTP 429", 3),
    (Answer(429, VAULTS_OWN, retry_after("0")), "rate-limited, asked to wait 0 s", 3),
    (Answer(429, VAULTS_OWN, retry_after("3")), "rate-limited, asked to wait 3 s", 1),
    (Answer(429, VAULTS_OWN, retry_after("tomorrow")), "rate-limited .HTTP 429", 3),
    (Answer(472, VAULTS_OWN, JSON), "a disaster recovery secondary", 1),
    (Answer(473, VAULTS_OWN, JSON), "a performance standby", 3),
    (Answer(500, NO_LEADER, JSON), "no node is active", 3),
    (Answer(500, VAULTS_OWN, JSON), "the server failed", 3),
    (Answer(501, VAULTS_OWN, JSON), "not initialised", 1),
    (Answer(503, b"<html>", ()), "a proxy or balancer in front", 3),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words", "tries"), STATES, ids=[f"{one[0].status} {one[1][:30]}" for one in STATES])
def test_a_state_is_named_and_a_read_is_tried_as_often_as_it_makes_sense(
    backend: VaultBackend, proxy: Proxy, kv_mount: str, *, answer: Answer, words: str, tries: int
) -> None:
    repeated(proxy, answer)
    with pytest.raises(BackendUnavailable, match=words) as failure:
        backend.read(at(kv_mount))
    assert f"HTTP {answer.status}" in str(failure.value)
    assert kinds(proxy) == ["data"] * tries
    assert "tgp_v1_" not in f"{failure.value!r} {failure.value.__cause__!r} {failure.value.__context__!r}"


PERHAPS_DONE = ("the server failed", "none of 'nodes'", "no node is active", "a proxy or balancer in front")


@pytest.mark.parametrize(
    "answer", [one[0] for one in STATES if not one[1].endswith(PERHAPS_DONE)], ids=lambda one: one.status
)
def test_in_each_other_state_a_write_was_certainly_not_carried_out(
    backend: VaultBackend, proxy: Proxy, kv_mount: str, answer: Answer
) -> None:
    proxy.break_once(is_write, answer)
    with pytest.raises(BackendUnavailable):
        backend.write(at(kv_mount), NEW, some_metadata(), "1")
    assert len([request for request in proxy.requests if is_write(request)]) == 1


@pytest.mark.parametrize("answer", [one[0] for one in STATES if one[1].endswith(PERHAPS_DONE)])
def test_an_answer_that_is_also_given_where_the_real_one_was_lost_leaves_a_write_unknown(
    openbao: OpenBao, kv_mount: str, answer: Answer
) -> None:
    """A standby answers so when it forwarded and the active node went away; a proxy when its server did."""
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})

    def lose(request: Request, upstream: Upstream) -> Answer | None:
        answered = upstream(request.body)
        return answer if is_write(request) else answered

    with Proxy(openbao.url, lose) as between:
        backend = through(between, TokenAuth(token=openbao.token))
        with pytest.raises(OutcomeUnknown, match=f"HTTP {answer.status}"):
            backend.write(at(kv_mount), NEW, some_metadata(), "1")
        backend.close()
    assert openbao.get(kv_mount, "app") == {FIELD: NEW.reveal()}


def test_a_server_that_just_failed_leaves_a_write_unknown(backend: VaultBackend, proxy: Proxy, kv_mount: str) -> None:
    proxy.break_once(is_write, Answer(500, VAULTS_OWN, JSON))
    with pytest.raises(OutcomeUnknown):
        backend.write(at(kv_mount), NEW, some_metadata(), "1")


@pytest.mark.parametrize(
    ("health", "words", "tries"),
    [
        (Answer(200, b"{}", JSON), "in maintenance or overloaded", 3),
        (Answer(429, b"{}", JSON), "the server is a standby", 3),
        (Answer(472, b"{}", JSON), "a disaster recovery secondary", 1),
        (Answer(473, b"{}", JSON), "a performance standby", 3),
        (Answer(501, b"{}", JSON), "not initialised", 1),
        (Answer(503, b"{}", JSON), "the server is sealed", 1),
        (Answer(599, b"{}", JSON), "in maintenance or overloaded", 3),
        (Fault.LOST_ANSWER, "going down or overloaded", 3),
    ],
)
def test_what_a_503_of_vaults_own_means_is_asked_once_of_its_health(
    backend: VaultBackend, proxy: Proxy, kv_mount: str, *, health: Answer | Fault, words: str, tries: int
) -> None:
    repeated(proxy, Answer(503, VAULTS_OWN, JSON))
    proxy.break_once(is_health, health)
    with pytest.raises(BackendUnavailable, match=words):
        backend.read(at(kv_mount))
    assert kinds(proxy) == ["data", "health", *["data"] * (tries - 1)]


def test_a_real_server_that_is_sealed_is_not_asked_again_in_the_same_call(openbao: OpenBao) -> None:
    with OpenBao() as server, Proxy(server.url) as proxy:
        server.put("secret", "app", {FIELD: "tgp_v1_old"})
        backend = through(proxy, TokenAuth(token=server.token))
        backend.read(at("secret"))
        server.seal()
        forget(proxy)
        with pytest.raises(Lasting, match=r"read on secret/data/app: the server is sealed .HTTP 503"):
            backend.read(at("secret"))
        assert kinds(proxy) == ["data", "health"]
        with pytest.raises(Lasting, match="read on sys/health: the server is sealed"):
            backend.whereabouts(at("secret"))
        server.unseal()
        assert backend.read(at("secret")).version == "1"
        backend.close()


@pytest.fixture
def quota(openbao: OpenBao, kv_mount: str) -> Iterator[None]:
    openbao.root.adapter.post("/v1/sys/quotas/config", json={"enable_rate_limit_response_headers": True})
    body = {"path": kv_mount, "rate": 1, "interval": "9s"}
    openbao.root.adapter.post(f"/v1/sys/quotas/rate-limit/{kv_mount}", json=body)
    yield
    openbao.root.adapter.delete(f"/v1/sys/quotas/rate-limit/{kv_mount}")


@pytest.mark.usefixtures("quota")
def test_a_real_rate_limit_says_how_long_to_wait_and_the_guard_leaves_the_server_alone(
    openbao: OpenBao, kv_mount: str, proxy: Proxy
) -> None:
    clock = Waiting()
    inner = through(proxy, TokenAuth(token=openbao.token))
    backend = GuardedBackend(inner, name="vault", clock=clock, limits=Limits(concurrency=2, rate=None))
    with pytest.raises(BackendUnavailable, match=r"rate-limited, asked to wait \d s .HTTP 429") as limited:
        _read_until_refused(backend, kv_mount)
    asked = limited.value.retry_after
    assert 1 <= asked <= 9
    forget(proxy)
    with pytest.raises(BackendUnavailable):
        backend.read(at(kv_mount))
    assert clock.waits == [asked]
    backend.close()


def _read_until_refused(backend: GuardedBackend, kv_mount: str) -> None:
    for _ in range(3):  # at the border of an interval one more may pass
        backend.read(at(kv_mount))


class Waiting(Hands):
    """A clock that waits by moving on."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def sleep(self, duration: timedelta) -> None:
        self.waits.append(duration.total_seconds())
        self.time += duration


def test_a_long_wish_to_wait_is_a_refusal_at_once_until_it_is_over(
    openbao: OpenBao, kv_mount: str, proxy: Proxy
) -> None:
    clock = Waiting()
    inner = through(proxy, TokenAuth(token=openbao.token))
    backend = GuardedBackend(inner, name="vault", clock=clock, limits=Limits(concurrency=2, rate=None))
    proxy.break_once(is_read, Answer(429, VAULTS_OWN, retry_after("60")))
    for words in ("asked to wait 60 s", "backend vault is not called: it asked to be left alone for 60 s more"):
        with pytest.raises(BackendUnavailable, match=words):
            backend.read(at(kv_mount))
    assert kinds(proxy) == ["data"]
    clock.forward(seconds=61)
    assert backend.read(at(kv_mount)).version == "1"
    backend.close()


class Standby:
    """A standby that does not forward: it sends every request to the active node."""

    def __init__(self, location: str) -> None:
        self.location = location

    def __call__(self, request: Request, _upstream: object) -> Answer:
        return Answer(307, b"", (("Location", self.location.replace("PATH", request.path)),))


def test_a_standbys_redirect_to_a_listed_node_is_followed_for_reads_and_writes(openbao: OpenBao, kv_mount: str) -> None:
    with Proxy(openbao.url) as active, Proxy("http://127.0.0.1:9", Standby(f"{active.url}PATH")) as standby:
        backend = through(standby, TokenAuth(token=openbao.token), transport=Transport(nodes=(active.url,)))
        backend.check_writable(at(kv_mount))
        backend.write(at(kv_mount), NEW, some_metadata(), "0")
        assert backend.read(at(kv_mount)).version == "1"
        backend.close()
        assert kinds(standby) == kinds(active)
    assert openbao.get(kv_mount, "app") == {FIELD: NEW.reveal()}


def test_a_login_at_a_standby_is_followed_too(openbao: OpenBao, kv_mount: str) -> None:
    role = openbao.approle(f'path "{kv_mount}/data/app" {{ capabilities = ["read"] }}')
    auth = AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id)
    with Proxy(openbao.url) as active, Proxy("http://127.0.0.1:9", Standby(f"{active.url}PATH")) as standby:
        backend = through(standby, auth, transport=Transport(nodes=(active.url,)))
        assert backend.read(at(kv_mount)).version == "0"
        backend.close()
        assert sum(map(is_login, active.requests)) == 1


@pytest.mark.parametrize(
    "location",
    [
        "OTHERPATH",  # a host that is not listed
        "https://127.0.0.1:1PATH",  # a listed host by another scheme
        "NODE/v1/other/data/app",  # another path
        "NODEPATH?version=1",  # another query
        "NODEPATH#x",
        "http://me@NODEHOSTPATH",
        "//",
        "http://[",
        "",
    ],
)
def test_any_other_redirect_is_refused_and_no_token_or_body_leaves(
    openbao: OpenBao, kv_mount: str, location: str
) -> None:
    """No secret leaves memory except to its destinations (Promise 3)."""
    with Proxy(openbao.url) as node, Proxy(openbao.url) as other:
        host = node.url.removeprefix("http://")
        target = location.replace("NODEHOST", host).replace("NODE", node.url).replace("OTHER", other.url)
        with Proxy("http://127.0.0.1:9", Standby(target)) as standby:
            nodes = (node.url, "https://127.0.0.1:1")
            backend = through(standby, TokenAuth(token=openbao.token), transport=Transport(nodes=nodes))
            with pytest.raises(BackendUnavailable, match="a standby"):
                backend.read(at(kv_mount))
            backend.close()
        assert (node.requests, other.requests) == ([], [])


def test_a_redirect_is_followed_once_and_two_standbys_do_not_play_ball(openbao: OpenBao, kv_mount: str) -> None:
    second = Standby("")
    nowhere = "http://127.0.0.1:9"
    with Proxy(nowhere, second) as there, Proxy(nowhere, Standby(f"{there.url}PATH")) as here:
        second.location = f"{here.url}PATH"
        backend = through(here, TokenAuth(token=openbao.token), transport=Transport(nodes=(there.url,)))
        with pytest.raises(OutcomeUnknown, match="a standby"):
            backend._session.change(lambda adapter: adapter.post(f"/v1/{kv_mount}/data/app", json={}), "update")
        backend.close()
        assert (len(here.requests), len(there.requests)) == (1, 1)


def test_the_facts_name_the_cluster_and_the_namespaces(openbao: OpenBao, backend: VaultBackend, proxy: Proxy) -> None:
    health = openbao.root.adapter.get("/v1/sys/health")
    assert backend.whereabouts(at("secret")) == {
        "namespace": "root",
        "token_namespace": "root",
        "cluster_name": health["cluster_name"],
        "cluster_id": health["cluster_id"],
    }
    assert kinds(proxy) == ["health", "lookup-self"]


def test_the_namespace_is_the_one_that_requests_name_whatever_the_tokens_own(openbao: OpenBao) -> None:
    openbao.root.adapter.post("/v1/sys/namespaces/team-facts", json={})
    backend = VaultBackend(url=openbao.url, auth=TokenAuth(token=openbao.token), namespace="/team-facts/")
    facts = backend.whereabouts(at("kv"))
    backend.close()
    assert (facts["namespace"], facts["token_namespace"]) == ("team-facts", "root")
    assert facts["cluster_name"]


def test_a_token_that_may_not_look_at_itself_has_facts_without_its_namespace(
    openbao: OpenBao, backend: VaultBackend, proxy: Proxy
) -> None:
    proxy.break_once(lambda request: request.path.endswith("/lookup-self"), Answer(403, b"{}", JSON))
    facts = backend.whereabouts(at("secret"))
    assert (facts["namespace"], facts["token_namespace"]) == ("root", "")


def test_facts_of_a_server_that_says_nothing_sensible_are_not_believed(backend: VaultBackend, proxy: Proxy) -> None:
    for _ in range(3):
        proxy.break_once(is_health, Answer(200, b"<html>"))
    with pytest.raises(BackendError, match="not what Vault sends"):
        backend.whereabouts(at("secret"))
