"""Vault as operators run it: TLS with an authority of their own, client certificates, proxies, seal and restart."""

from __future__ import annotations

import contextlib
import http.server
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from rotator.adapters.backends.vault import VaultBackend
from rotator.adapters.backends.vault_auth import AppRoleAuth, Auth, CertAuth, TokenAuth
from rotator.adapters.backends.vault_wire import Transport
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendUnavailable
from tests.backends.conftest import some_metadata
from tests.backends.vault_help import FIELD, NEW, READING, Hands, at
from tests.parts.certificates import Authority
from tests.parts.openbao_stored import StoredOpenBao

pytestmark = pytest.mark.usefixtures("no_waiting")


@dataclass(frozen=True)
class Stage:
    """One server that wants client certificates, and the two authorities."""

    server: StoredOpenBao
    authority: Authority
    clients: Authority
    ca_file: str
    client: tuple[Path, Path]

    def backend(self, auth: Auth | None = None, *, url: str | None = None, **changes: Any) -> VaultBackend:
        transport = {"client_cert": str(self.client[0]), "client_key": str(self.client[1])}
        transport |= {name: changes.pop(name) for name in list(changes) if name in Transport.__slots__}
        return VaultBackend(
            url=url or self.server.url,
            auth=auth or TokenAuth(token=self.server.token),
            timeout=5,
            **{"ca_file": self.ca_file, **changes},
            transport=Transport(**transport),
        )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("vault-tls")
    authority, clients = Authority(folder, "servers"), Authority(folder, "clients")
    server = StoredOpenBao(
        folder,
        certificate=authority.sign("vault.internal", hosts=("127.0.0.1",)),
        authority=authority.file,
        client_authority=clients.file,
    )
    client = clients.sign("rotator.internal", client=True)
    server.show(*client)
    with server:
        server.initialise()
        server.unseal()
        server.new_mount()
        server.root.secrets.kv.v2.create_or_update_secret("app", {FIELD: "tgp_v1_old"}, mount_point="secret")
        yield Stage(server, authority, clients, str(authority.file), client)


def value(backend: VaultBackend) -> str:
    held = backend.read(at("secret")).value
    backend.close()
    assert held is not None
    return held.reveal()


def test_a_custom_authority_and_a_client_certificate_are_enough(stage: Stage) -> None:
    assert value(stage.backend()) == "tgp_v1_old"


def test_certificate_and_key_may_be_in_one_file(stage: Stage, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(stage.client[0].read_bytes() + stage.client[1].read_bytes())
    assert value(stage.backend(client_cert=str(both), client_key=None)) == "tgp_v1_old"


@pytest.mark.parametrize("changes", [{"ca_file": None}, {"ca_file": "clients"}, {"client_cert": None}], ids=str)
def test_without_the_right_authority_or_certificate_nothing_is_sent(stage: Stage, changes: dict[str, Any]) -> None:
    if changes.get("ca_file"):
        changes = {"ca_file": str(stage.clients.file)}
    backend = stage.backend(**changes)
    with pytest.raises(BackendUnavailable, match="no answer"):
        backend.read(at("secret"))
    backend.close()


def test_a_certificate_of_another_authority_is_refused(stage: Stage, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "strangers").sign("rotator.internal", client=True)
    backend = stage.backend(client_cert=str(certificate), client_key=str(key))
    with pytest.raises(BackendUnavailable, match="no answer"):
        backend.read(at("secret"))
    backend.close()


@pytest.mark.parametrize("gone", ["ca_file", "client_cert", "client_key"])
def test_a_file_that_is_gone_since_the_start_is_named_as_the_reason(stage: Stage, gone: str) -> None:
    backend = stage.backend(**{gone: "/nowhere/x.pem"})
    with pytest.raises(BackendUnavailable, match="the CA file, client certificate or key can't be read"):
        backend.read(at("secret"))
    backend.close()


def test_a_key_with_a_pass_phrase_is_an_error_and_no_question_at_the_terminal(stage: Stage, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "x").sign("rotator.internal", client=True, pass_phrase=b"made-up")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    for files in ((certificate, key), (both, None)):
        backend = stage.backend(client_cert=str(files[0]), client_key=files[1] and str(files[1]))
        with pytest.raises(BackendUnavailable):
            backend.read(at("secret"))
        backend.close()


def test_the_server_name_is_what_must_be_in_the_certificate(stage: Stage) -> None:
    url = f"https://localhost:{stage.server.port}"  # localhost is in no certificate
    assert value(stage.backend(url=url, server_name="vault.internal")) == "tgp_v1_old"
    for changes in ({"url": url}, {"url": url, "server_name": "other.internal"}, {"server_name": "other.internal"}):
        backend = stage.backend(**changes)
        with pytest.raises(BackendUnavailable, match="SSLError"):
            backend.read(at("secret"))
        backend.close()


def test_the_server_name_is_sent_as_sni(stage: Stage) -> None:
    with Listening() as listening:
        backend = stage.backend(url=f"https://127.0.0.1:{listening.port}", server_name="vault.internal")
        with pytest.raises(BackendUnavailable):
            backend.read(at("secret"))
        backend.close()
    assert b"vault.internal" in listening.heard


class Listening:
    """Takes the first bytes of connections, and ends them."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heard = b""
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed by the test
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    self.heard += connection.recv(4096)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *left: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


class Tunnel:
    """An HTTP proxy that knows CONNECT; ``opened`` are the places that were asked for."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        tunnel = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                tunnel.opened.append(self.path)
                host, _, port = self.path.rpartition(":")
                with socket.create_connection((host, int(port))) as there:
                    self.send_response(200)
                    self.end_headers()
                    _pass_on(self.connection, there)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- http.server's name
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            for ready in select.select([one, other], [], [], 10)[0]:
                data = ready.recv(65536)
                if not data:
                    return
                (other if ready is one else one).sendall(data)


def test_a_configured_proxy_is_used_and_sees_only_a_tunnel(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with Tunnel() as tunnel:
        assert value(stage.backend(proxy=tunnel.url)) == "tgp_v1_old"
        url = f"https://localhost:{stage.server.port}"
        assert value(stage.backend(proxy=tunnel.url, url=url, server_name="vault.internal")) == "tgp_v1_old"
        assert tunnel.opened == [f"127.0.0.1:{stage.server.port}", f"localhost:{stage.server.port}"]


@pytest.mark.parametrize(("no_proxy", "used"), [("", True), ("example.com", True), ("127.0.0.1", False), ("*", False)])
def test_the_proxy_of_the_environment_is_used_but_where_no_proxy_says_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, no_proxy: str, *, used: bool
) -> None:
    with Tunnel() as tunnel:
        for name in ("https_proxy", "no_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
        monkeypatch.setenv("NO_PROXY", no_proxy)
        assert value(stage.backend()) == "tgp_v1_old"
        assert bool(tunnel.opened) is used


def test_a_proxy_that_is_not_there_is_no_answer(stage: Stage) -> None:
    backend = stage.backend(proxy="http://127.0.0.1:9")
    with pytest.raises(BackendUnavailable, match=r"no answer .ProxyError"):
        backend.read(at("secret"))
    backend.close()


def test_a_server_that_says_nothing_is_given_up_after_the_timeout(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = VaultBackend(
            url=f"http://127.0.0.1:{silent.getsockname()[1]}", auth=TokenAuth(token=stage.server.token), timeout=0.05
        )
        with pytest.raises(BackendUnavailable, match=r"no answer .ReadTimeout"):
            backend.read(at("secret"))
        backend.close()


@pytest.fixture(scope="module")
def cert_mount(stage: Stage) -> str:
    root = stage.server.root
    root.sys.enable_auth_method("cert", path="machines")
    root.sys.create_or_update_policy("app", READING.format(mount="secret"))
    body = {
        "certificate": stage.clients.file.read_text(),
        "allowed_common_names": ["rotator.internal"],
        "token_policies": ["app"],
        "token_ttl": "1h",
        "token_max_ttl": "24h",
    }
    root.adapter.post("/v1/auth/machines/certs/rotator", json=body)
    return "machines"


@pytest.mark.parametrize("role", ["rotator", None])
def test_the_client_certificate_is_a_login(stage: Stage, cert_mount: str, role: str | None) -> None:
    assert value(stage.backend(CertAuth(role=role, mount=cert_mount))) == "tgp_v1_old"


def test_a_token_of_a_certificate_is_renewed_over_the_same_certificate(stage: Stage, cert_mount: str) -> None:
    clock = Hands()
    backend = stage.backend(CertAuth(mount=cert_mount), now=clock.now)
    backend.read(at("secret"))
    first = backend._session._tokens.adapter().token
    clock.forward(minutes=41)
    backend.read(at("secret"))
    assert backend._session._tokens.adapter().token == first
    assert stage.server.root.auth.token.lookup(first)["data"]["last_renewal"]
    backend.close()


def test_a_certificate_that_fits_no_role_is_denied(stage: Stage, cert_mount: str) -> None:
    certificate, key = stage.clients.sign("stranger.internal", client=True)
    backend = stage.backend(CertAuth(mount=cert_mount), client_cert=str(certificate), client_key=str(key))
    with pytest.raises(BackendDenied, match="login at auth/machines: role, client certificate or mount are refused"):
        backend.read(at("secret"))
    backend.close()


def an_approle(server: StoredOpenBao) -> AppRoleAuth:
    root = server.root
    if "approle/" not in root.sys.list_auth_methods()["data"]:
        root.sys.enable_auth_method("approle")
    root.sys.create_or_update_policy("app", READING.format(mount="secret"))
    root.auth.approle.create_or_update_approle("rotator", token_policies=["app"], token_ttl="1h")
    role_id = root.auth.approle.read_role_id("rotator")["data"]["role_id"]
    secret_id = root.auth.approle.generate_secret_id("rotator")["data"]["secret_id"]
    return AppRoleAuth(role_id=SecretValue(role_id), secret_id=SecretValue(secret_id))


def test_a_server_on_its_first_day_is_told_by_its_states(tmp_path: Path) -> None:
    """Not initialised, sealed, just unsealed: each is waited for, none is an error of the policy."""
    authority = Authority(tmp_path)
    certificate = authority.sign("vault.internal", hosts=("127.0.0.1",))
    with StoredOpenBao(tmp_path, certificate=certificate, authority=authority.file) as server:
        backend = VaultBackend(
            url=server.url, auth=TokenAuth(token=lambda: server.token), ca_file=str(authority.file), timeout=5
        )
        with pytest.raises(BackendUnavailable, match="the server is not initialised"):
            backend.read(at("secret"))
        server.initialise()
        with pytest.raises(BackendUnavailable, match="the server is sealed"):
            backend.read(at("secret"))
        server.unseal()
        server.new_mount()
        assert backend.read(at("secret")).version == "0"
        backend.close()


def test_a_seal_in_the_middle_of_a_publish_is_waited_for_and_the_write_goes_on(stage: Stage) -> None:
    backend = stage.backend(an_approle(stage.server))
    place, metadata = at("secret", "app"), some_metadata()
    backend.check_writable(place)
    version = backend.read(place).version
    stage.server.seal()
    for call in (lambda: backend.read(place), lambda: backend.write(place, NEW, metadata, version)):
        with pytest.raises(BackendUnavailable, match="the server is sealed"):
            call()
    stage.server.unseal()
    backend.write(place, NEW, metadata, version)
    held = backend.read(place)
    assert (held.value is not None, dict(held.metadata)) == (True, metadata.as_pairs())
    backend.close()
    assert stage.server.get("secret", "app") == {FIELD: NEW.reveal()}


def test_a_restart_in_the_middle_of_a_publish_is_waited_for_and_the_write_goes_on(stage: Stage) -> None:
    backend = stage.backend(an_approle(stage.server))
    place, metadata = at("secret", "app"), some_metadata()
    backend.check_writable(place)
    version = backend.read(place).version
    stage.server.stop()
    for call in (lambda: backend.read(place), lambda: backend.write(place, NEW, metadata, version)):
        with pytest.raises(BackendUnavailable, match="no answer"):
            call()
    stage.server.start()
    with pytest.raises(BackendUnavailable, match="the server is sealed"):
        backend.write(place, NEW, metadata, version)
    stage.server.unseal()
    backend.write(place, SecretValue("tgp_v1_after"), metadata, version)
    backend.close()
    assert stage.server.get("secret", "app") == {FIELD: "tgp_v1_after"}
