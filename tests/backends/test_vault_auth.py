"""Every way to log in to Vault, against a real OpenBao; AWS's against a server that checks the signature itself."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import hvac
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from rotator.adapters.backends.vault import VaultBackend
from rotator.adapters.backends.vault_auth import (
    AppRoleAuth,
    Auth,
    JwtAuth,
    KubernetesAuth,
    TokenAuth,
    TokenFileAuth,
    UserpassAuth,
)
from rotator.config.secrets import FileRef, resolve
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendUnavailable
from tests.backends.proxy import Answer, Fault, Proxy, Request, Upstream
from tests.backends.vault_help import FIELD, JSON, READING, at, is_login, kinds, method, policy, through
from tests.parts.certificates import Authority
from tests.parts.openbao import OpenBao

pytestmark = pytest.mark.usefixtures("no_waiting")
PASSWORD = "made-up-password-of-a-test"


@pytest.fixture
def proxy(openbao: OpenBao, kv_mount: str) -> Iterator[Proxy]:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    with Proxy(openbao.url) as made:
        yield made


class Signer:
    """Signs JSON Web Tokens as Kubernetes or an identity provider would."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key()
        encoded = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.public = encoded.decode()

    def token(self, **claims: Any) -> str:
        body = {"sub": "rotator", "aud": "vault", "exp": int(time.time()) + 600, "iat": int(time.time()), **claims}
        text = f"{_part({'alg': 'ES256', 'typ': 'JWT'})}.{_part(body)}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_unpadded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(value: dict[str, Any]) -> str:
    return _unpadded(json.dumps(value).encode())


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_file(path: Path) -> Any:
    return lambda: resolve(FileRef(path), {})


def an_approle(server: OpenBao, mount: str, rights: str, **role: Any) -> AppRoleAuth:
    server.root.auth.approle.create_or_update_approle("rotator", token_policies=[rights], mount_point=mount, **role)
    role_id = server.root.auth.approle.read_role_id("rotator", mount_point=mount)["data"]["role_id"]
    secret_id = server.root.auth.approle.generate_secret_id("rotator", mount_point=mount)["data"]["secret_id"]
    return AppRoleAuth(role_id=SecretValue(role_id), secret_id=SecretValue(secret_id), mount=mount)


def wrapped_secret_id(server: OpenBao, mount: str, *, role: str = "rotator", ttl: str = "60s") -> SecretValue:
    answer = server.root.adapter.post(f"/v1/auth/{mount}/role/{role}/secret-id", json={}, wrap_ttl=ttl)
    return SecretValue(answer["wrap_info"]["token"])


def a_userpass(server: OpenBao, rights: str, username: str = "rotator") -> UserpassAuth:
    mount = method(server, "userpass")
    server.root.auth.userpass.create_or_update_user(username, PASSWORD, policies=[rights], mount_point=mount)
    return UserpassAuth(username=username, password=SecretValue(PASSWORD), mount=mount)


def a_jwt(server: OpenBao, rights: str, signer: Signer, token: Any, *, role: str | None = "rotator") -> JwtAuth:
    mount = method(server, "jwt")
    config = {"jwt_validation_pubkeys": [signer.public], "default_role": "rotator"}
    server.root.adapter.post(f"/v1/auth/{mount}/config", json=config)
    server.root.adapter.post(
        f"/v1/auth/{mount}/role/rotator",
        json={"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": [rights]},
    )
    return JwtAuth(token=token, role=role, mount=mount)


class Cluster:
    """Kubernetes, as far as the auth method asks it: which account a token belongs to (TokenReview)."""

    def __init__(self, token: str, folder: Path) -> None:
        self._token = token
        self.authority = Authority(folder).file.read_text()
        self._proxy = Proxy("http://127.0.0.1:9", self._review)
        self.url = self._proxy.url

    def __enter__(self) -> Self:
        self._proxy.__enter__()
        return self

    def __exit__(self, *left: object) -> None:
        self._proxy.__exit__(*left)

    def _review(self, request: Request, _upstream: Upstream) -> Answer:
        known = json.loads(request.body)["spec"]["token"] == self._token
        user = {"username": "system:serviceaccount:apps:rotator", "uid": "uid-1", "groups": []}
        status = {"authenticated": known, "audiences": ["vault"], **({"user": user} if known else {"error": "unknown"})}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
        return Answer(201, json.dumps(review).encode(), JSON)


def a_kubernetes(server: OpenBao, rights: str, cluster: Cluster, token: Any) -> KubernetesAuth:
    mount = method(server, "kubernetes")
    config = {"kubernetes_host": cluster.url, "disable_local_ca_jwt": True, "kubernetes_ca_cert": cluster.authority}
    server.root.adapter.post(f"/v1/auth/{mount}/config", json=config)
    server.root.adapter.post(
        f"/v1/auth/{mount}/role/rotator",
        json={
            "bound_service_account_names": ["rotator"],
            "bound_service_account_namespaces": ["apps"],
            "token_policies": [rights],
        },
    )
    return KubernetesAuth(token=token, role="rotator", mount=mount)


def service_account(signer: Signer) -> str:
    account = {"namespace": "apps", "serviceaccount": {"name": "rotator", "uid": "uid-1"}}
    return signer.token(sub="system:serviceaccount:apps:rotator", aud=["vault"], **{"kubernetes.io": account})


def value(backend: VaultBackend, mount: str) -> str | None:
    held = backend.read(at(mount)).value
    return held.reveal() if held else None


def logs_in_reads_and_gives_back(openbao: OpenBao, proxy: Proxy, auth: Auth, mount: str, logins: list[str]) -> None:
    backend = through(proxy, auth)
    assert value(backend, mount) == "tgp_v1_old"
    token = backend._session._tokens.adapter().token
    assert kinds(proxy) == [*logins, "data"]
    backend.close()
    with pytest.raises(hvac.exceptions.Forbidden):
        openbao.root.auth.token.lookup(token)
    assert kinds(proxy) == [*logins, "data", "revoke-self"]
    assert str(token) not in repr(auth)


def test_an_approle_at_a_mount_of_its_own(openbao: OpenBao, proxy: Proxy, kv_mount: str) -> None:
    auth = an_approle(openbao, method(openbao, "approle"), policy(openbao, READING.format(mount=kv_mount)))
    logs_in_reads_and_gives_back(openbao, proxy, auth, kv_mount, ["login"])


def test_a_user_name_and_a_password(openbao: OpenBao, proxy: Proxy, kv_mount: str) -> None:
    auth = a_userpass(openbao, policy(openbao, READING.format(mount=kv_mount)))
    logs_in_reads_and_gives_back(openbao, proxy, auth, kv_mount, ["login"])


@pytest.mark.parametrize("role", ["rotator", None])
def test_a_json_web_token_with_a_role_or_the_default_one(
    openbao: OpenBao, proxy: Proxy, kv_mount: str, role: str | None
) -> None:
    signer = Signer()
    rights = policy(openbao, READING.format(mount=kv_mount))
    auth = a_jwt(openbao, rights, signer, SecretValue(signer.token()), role=role)
    logs_in_reads_and_gives_back(openbao, proxy, auth, kv_mount, ["login"])


def test_the_service_account_of_a_pod(openbao: OpenBao, proxy: Proxy, kv_mount: str, tmp_path: Path) -> None:
    token = service_account(Signer())
    (tmp_path / "token").write_text(token)
    with Cluster(token, tmp_path) as cluster:
        rights = policy(openbao, READING.format(mount=kv_mount))
        auth = a_kubernetes(openbao, rights, cluster, from_file(tmp_path / "token"))
        logs_in_reads_and_gives_back(openbao, proxy, auth, kv_mount, ["login"])


def test_a_wrapped_secret_id_is_looked_at_unwrapped_and_used(openbao: OpenBao, proxy: Proxy, kv_mount: str) -> None:
    mount = method(openbao, "approle")
    plain = an_approle(openbao, mount, policy(openbao, READING.format(mount=kv_mount)))
    wrapping = wrapped_secret_id(openbao, mount)
    auth = AppRoleAuth(role_id=plain.role_id, secret_id=wrapping, mount=mount, wrapped_for_role="rotator")
    logs_in_reads_and_gives_back(openbao, proxy, auth, kv_mount, ["lookup", "unwrap", "login"])


def test_a_wrapped_secret_id_is_unwrapped_once_for_all_logins_and_a_new_one_again(
    openbao: OpenBao, proxy: Proxy, kv_mount: str, tmp_path: Path
) -> None:
    mount, file = method(openbao, "approle"), tmp_path / "wrapped"
    plain = an_approle(openbao, mount, policy(openbao, READING.format(mount=kv_mount)), token_num_uses=1)
    file.write_text(wrapped_secret_id(openbao, mount).reveal())
    auth = AppRoleAuth(role_id=plain.role_id, secret_id=from_file(file), mount=mount, wrapped_for_role="rotator")
    backend = through(proxy, auth)
    for _ in range(2):
        assert value(backend, kv_mount) == "tgp_v1_old"
    assert (kinds(proxy).count("unwrap"), kinds(proxy).count("login")) == (1, 2)
    file.write_text(wrapped_secret_id(openbao, mount).reveal())
    assert value(backend, kv_mount) == "tgp_v1_old"
    assert (kinds(proxy).count("unwrap"), kinds(proxy).count("login")) == (2, 3)
    backend.close()


def wrapped(openbao: OpenBao, kv_mount: str, secret_id: SecretValue, mount: str) -> AppRoleAuth:
    plain = an_approle(openbao, mount, policy(openbao, READING.format(mount=kv_mount)))
    return AppRoleAuth(role_id=plain.role_id, secret_id=secret_id, mount=mount, wrapped_for_role="rotator")


def test_a_wrapping_token_that_is_used_up_may_have_been_intercepted(
    openbao: OpenBao, proxy: Proxy, kv_mount: str
) -> None:
    mount = method(openbao, "approle")
    an_approle(openbao, mount, "default")
    wrapping = wrapped_secret_id(openbao, mount)
    openbao.root.sys.unwrap(wrapping.reveal())
    backend = through(proxy, wrapped(openbao, kv_mount, wrapping, mount))
    with pytest.raises(BackendDenied, match=r"used up or expired.*may have been intercepted") as denied:
        backend.read(at(kv_mount))
    backend.close()
    assert kinds(proxy) == ["lookup"]
    assert wrapping.reveal() not in f"{denied.value!r} {denied.value.__cause__!r} {denied.value.__context__!r}"


def test_a_wrapping_token_from_elsewhere_is_not_unwrapped(openbao: OpenBao, proxy: Proxy, kv_mount: str) -> None:
    mount = method(openbao, "approle")
    an_approle(openbao, mount, "default")
    slipped_in = openbao.root.adapter.post("/v1/sys/wrapping/wrap", json={"secret_id": "x"}, wrap_ttl="60s")
    wrapping = SecretValue(slipped_in["wrap_info"]["token"])
    backend = through(proxy, wrapped(openbao, kv_mount, wrapping, mount))
    with pytest.raises(BackendDenied, match=f"not made by auth/{mount}/role/rotator/secret-id"):
        backend.read(at(kv_mount))
    backend.close()
    assert openbao.root.sys.unwrap(wrapping.reveal())["data"] == {"secret_id": "x"}


def test_an_unwrapping_whose_answer_is_lost_says_that_a_new_one_is_needed(
    openbao: OpenBao, proxy: Proxy, kv_mount: str
) -> None:
    mount = method(openbao, "approle")
    an_approle(openbao, mount, "default")
    backend = through(proxy, wrapped(openbao, kv_mount, wrapped_secret_id(openbao, mount), mount))
    proxy.break_once(lambda request: request.path.endswith("/unwrap"), Fault.LOST_ANSWER)
    with pytest.raises(BackendDenied, match="the answer was lost, and the secret id with it"):
        backend.read(at(kv_mount))
    backend.close()


def test_a_secret_id_file_is_read_again_at_each_login(
    openbao: OpenBao, proxy: Proxy, kv_mount: str, tmp_path: Path
) -> None:
    mount, file = method(openbao, "approle"), tmp_path / "secret-id"
    plain = an_approle(openbao, mount, policy(openbao, READING.format(mount=kv_mount)))
    auth = AppRoleAuth(role_id=plain.role_id, secret_id=from_file(file), mount=mount)
    backend = through(proxy, auth)
    with pytest.raises(BackendUnavailable, match=r"no credential: file .*secret-id, which can't be read"):
        backend.read(at(kv_mount))
    for _ in range(2):
        made = openbao.root.auth.approle.generate_secret_id("rotator", mount_point=mount)["data"]
        file.write_text(f"{made['secret_id']}\n")
        assert value(backend, kv_mount) == "tgp_v1_old"
        openbao.root.auth.approle.destroy_secret_id("rotator", made["secret_id"], mount_point=mount)
        openbao.root.auth.token.revoke(backend._session._tokens.adapter().token)
    backend.close()


@pytest.mark.parametrize("kind", ["approle", "userpass", "jwt", "kubernetes"])
def test_a_refused_login_is_denied_by_its_mount_and_shows_no_credential(
    openbao: OpenBao, proxy: Proxy, kv_mount: str, kind: str
) -> None:
    wrong = SecretValue(Signer().token(note="made-up-credential"))
    auths: dict[str, Auth] = {
        "approle": AppRoleAuth(role_id=wrong, secret_id=wrong, mount=method(openbao, "approle")),
        "userpass": UserpassAuth(username="rotator", password=wrong, mount=a_userpass(openbao, "default").mount),
        "jwt": a_jwt(openbao, "default", Signer(), wrong),
        "kubernetes": KubernetesAuth(token=wrong, role="rotator", mount=method(openbao, "kubernetes")),
    }
    auth = auths[kind]
    backend = through(proxy, auth)
    with pytest.raises((BackendDenied, BackendUnavailable), match=f"login at auth/{kind}-") as denied:
        backend.read(at(kv_mount))
    backend.close()
    assert wrong.reveal() not in f"{denied.value!r} {denied.value.__cause__!r} {denied.value.__context__!r} {auth!r}"


def test_a_user_name_can_not_lead_to_another_path(openbao: OpenBao, proxy: Proxy, kv_mount: str) -> None:
    auth = UserpassAuth(username="../../x?y", password=SecretValue(PASSWORD), mount=method(openbao, "userpass"))
    backend = through(proxy, auth)
    with pytest.raises(BackendDenied):
        backend.read(at(kv_mount))
    backend.close()
    assert [request.path for request in proxy.requests] == [f"/v1/auth/{auth.mount}/login/..%2F..%2Fx%3Fy"]


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (b"<html>", BackendUnavailable, "not what Vault sends"),
        (b'{"auth": null}', BackendUnavailable, "not what Vault sends"),
        (b'{"auth": {"client_token": 7}}', BackendUnavailable, "not what Vault sends"),
        (b'{"auth": {"client_token": "two words"}}', BackendUnavailable, "not what Vault sends"),
        (b'{"auth": {"client_token": "", "mfa_requirement": {"id": "x"}}}', BackendDenied, "second factor"),
    ],
)
def test_an_answer_to_a_login_that_gives_no_token_is_not_believed(
    openbao: OpenBao, proxy: Proxy, kv_mount: str, *, body: bytes, error: type[Exception], words: str
) -> None:
    for _ in range(3):
        proxy.break_once(is_login, Answer(200, body, JSON))
    backend = through(proxy, a_userpass(openbao, "default"))
    with pytest.raises(error, match=words):
        backend.read(at(kv_mount))
    backend.close()


def test_a_token_file_is_used_and_neither_renewed_nor_revoked(
    openbao: OpenBao, proxy: Proxy, kv_mount: str, tmp_path: Path
) -> None:
    made = openbao.root.auth.token.create(policies=[policy(openbao, READING.format(mount=kv_mount))], ttl="1h")
    token = made["auth"]["client_token"]
    (tmp_path / "sink").write_text(f"{token}\n")
    backend = through(proxy, TokenFileAuth(path=tmp_path / "sink"))
    assert value(backend, kv_mount) == "tgp_v1_old"
    backend.close()
    assert kinds(proxy) == ["data"]
    assert openbao.root.auth.token.lookup(token)["data"]["ttl"] > 0


def test_a_given_token_is_not_revoked(openbao: OpenBao, proxy: Proxy, kv_mount: str) -> None:
    made = openbao.root.auth.token.create(policies=[policy(openbao, READING.format(mount=kv_mount))], ttl="1h")
    token = SecretValue(made["auth"]["client_token"])
    backend = through(proxy, TokenAuth(token=token))
    assert value(backend, kv_mount) == "tgp_v1_old"
    backend.close()
    assert kinds(proxy) == ["data", "lookup-self"]
    assert openbao.root.auth.token.lookup(token.reveal())["data"]["ttl"] > 0


def test_a_sink_that_is_wrapped_or_encrypted_is_refused_by_what_it_is(proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "sink").write_text('{"token": "s.made-up", "ttl": 300}')
    backend = through(proxy, TokenFileAuth(path=tmp_path / "sink"))
    with pytest.raises(BackendDenied, match="a wrapped or encrypted sink") as denied:
        backend.read(at("secret"))
    backend.close()
    assert "made-up" not in str(denied.value)
