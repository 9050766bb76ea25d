"""Every way to log in to Vault, against a real OpenBao; for AWS's see ``test_vault_iam``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import hvac
import pytest

from rotator.adapters.backends.vault import VaultBackend
from rotator.adapters.backends.vault_auth import (
    AppRoleAuth,
    Auth,
    KubernetesAuth,
    TokenAuth,
    TokenFileAuth,
    UserpassAuth,
)
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendUnavailable
from tests.backends.conftest import a_destination
from tests.backends.proxy import Answer, Fault, Proxy
from tests.backends.vault_help import FIELD, JSON, READING, at, is_login, kinds, method, policy, through
from tests.backends.vault_logins import (
    PASSWORD,
    Cluster,
    Signer,
    a_jwt,
    a_kubernetes,
    a_userpass,
    an_approle,
    from_file,
    service_account,
    wrapped_secret_id,
)
from tests.parts.openbao import OpenBao

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.fixture
def proxy(openbao: OpenBao, kv_mount: str) -> Iterator[Proxy]:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    with Proxy(openbao.url) as made:
        yield made


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


@pytest.mark.parametrize("version", [{"kv_version": "2"}, {}], ids=["version 2", "a version that is found out"])
@pytest.mark.parametrize("token", ["s.made-up", None], ids=["made up", "revoked"])
def test_a_given_token_that_is_none_is_told_from_a_missing_right(
    openbao: OpenBao, proxy: Proxy, tmp_path: Path, token: str | None, version: dict[str, str]
) -> None:
    if token is None:
        token = str(openbao.root.auth.token.create(ttl="1h")["auth"]["client_token"])
        openbao.root.auth.token.revoke(token)
    sink = tmp_path / "sink"
    sink.write_text(token)
    ways = {"where auth.token leads": TokenAuth(token=SecretValue(token)), f"into {sink}": TokenFileAuth(path=sink)}
    for place, auth in ways.items():
        backend = through(proxy, auth)
        with pytest.raises(BackendDenied) as denied:
            backend.read(a_destination("vault", mount="secret", path="app", field=FIELD, **version))
        backend.close()
        told = f"the token is not valid (any more), or not from this address: put a new one {place}"
        assert str(denied.value).startswith(told)
        assert token not in str(denied.value)


@pytest.mark.parametrize("asks", [{}, {"no_default_policy": True}], ids=["may look itself up", "may not"])
def test_a_given_token_that_lives_has_a_missing_right(
    openbao: OpenBao, proxy: Proxy, kv_mount: str, asks: dict[str, bool]
) -> None:
    rights = [policy(openbao, 'path "elsewhere" { capabilities = ["read"] }')]
    made = openbao.root.auth.token.create(policies=rights, **asks)
    backend = through(proxy, TokenAuth(token=SecretValue(made["auth"]["client_token"])))
    with pytest.raises(BackendDenied, match=f"read on {kv_mount}/data/app: denied"):
        backend.read(at(kv_mount))
    backend.close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n", "the token is not valid"),
        ("permission denied", "the token is not valid"),
        ("1 error occurred:\n\t* permission denied\n\n", "read on"),
    ],
    ids=["newer Vault", "older Vault", "a policy"],
)
def test_what_each_server_says_of_a_token_that_is_none_is_understood(
    openbao: OpenBao, kv_mount: str, words: str, expected: str
) -> None:
    with Proxy(openbao.url) as proxy:
        proxy.break_once(lambda _request: True, Answer(403, b"{}", JSON))
        proxy.break_once(
            lambda request: request.path.endswith("/lookup-self"),
            Answer(403, json.dumps({"errors": [words]}).encode(), JSON),
        )
        backend = through(proxy, TokenAuth(token=openbao.token))
        with pytest.raises(BackendDenied, match=f"^{expected}"):
            backend.read(at(kv_mount))
        backend.close()


def test_a_sink_that_is_wrapped_or_encrypted_is_refused_by_what_it_is(proxy: Proxy, tmp_path: Path) -> None:
    (tmp_path / "sink").write_text('{"token": "s.made-up", "ttl": 300}')
    backend = through(proxy, TokenFileAuth(path=tmp_path / "sink"))
    with pytest.raises(BackendDenied, match="a wrapped or encrypted sink") as denied:
        backend.read(at("secret"))
    backend.close()
    assert "made-up" not in str(denied.value)


def test_a_login_and_the_end_of_its_token_happen_in_the_configured_namespace(openbao: OpenBao) -> None:
    openbao.root.adapter.post("/v1/sys/namespaces/team-login", json={})
    inside = hvac.Client(url=openbao.url, token=openbao.token.reveal(), namespace="team-login")
    inside.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
    openbao._wait_for_kv2("team-login/kv")
    openbao.put("team-login/kv", "app", {FIELD: "tgp_v1_old"})
    inside.sys.enable_auth_method("userpass")
    inside.sys.create_or_update_policy("app", READING.format(mount="kv"))
    inside.auth.userpass.create_or_update_user("rotator", PASSWORD, policies=["app"])
    inside.adapter.close()
    auth = UserpassAuth(username="rotator", password=SecretValue(PASSWORD))
    with Proxy(openbao.url) as proxy:
        backend = through(proxy, auth, namespace="team-login")
        assert value(backend, "kv") == "tgp_v1_old"
        facts = backend.whereabouts(at("kv"))
        backend.close()
        assert kinds(proxy) == ["login", "data", "health", "lookup-self", "revoke-self"]
    assert (facts["namespace"], facts["token_namespace"]) == ("team-login", "team-login")
