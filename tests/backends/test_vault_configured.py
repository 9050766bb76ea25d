"""From the configuration file to the server: each login as a person writes it reads a secret on a real OpenBao."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rotator.bootstrap_vault import vault_backend
from rotator.config import load, resolve
from rotator.errors import RotatorError
from tests.backends.proxy import Proxy
from tests.backends.vault_help import FIELD, READING, Hands, at, kinds, policy
from tests.backends.vault_logins import (
    PASSWORD,
    Cluster,
    Signer,
    a_jwt,
    a_kubernetes,
    a_userpass,
    an_approle,
    from_file,
    method,
    service_account,
    wrapped_secret_id,
)
from tests.backends.vault_sts import SECRET_KEY, Verifier
from tests.parts.openbao import OpenBao

CONFIGURATION = """
version: 1
instance: prod
providers: {{together: {{type: together, management_key: {{env: KEY}}}}}}
backends: {{vault: {{type: vault, url: '{url}', auth: {auth}, limits: {{concurrency: 2}}}}}}
"""


class Login:
    """What a person writes, and the environment in which it is read."""

    def __init__(self, server: OpenBao, mount: str, folder: Path, closing: ExitStack) -> None:
        self.server, self.folder, self._closing = server, folder, closing
        self.rights = policy(server, READING.format(mount=mount))
        self.environ = {"KEY": "k"}
        self.verifier: Verifier | None = None

    def file(self, text: str) -> str:
        (self.folder / "credential").write_text(text)
        return "credential"  # relative to the configuration

    def token(self) -> dict[str, Any]:
        self.environ["TOKEN"] = self._token()
        return {"method": "token", "token": {"env": "TOKEN"}}

    def token_file(self) -> dict[str, Any]:
        return {"method": "token_file", "path": self.file(self._token())}

    def approle(self) -> dict[str, Any]:
        auth = an_approle(self.server, method(self.server, "approle"), self.rights)
        self.environ["ROLE_ID"] = auth.role_id.reveal()
        secret_id = {"file": self.file(auth.secret_id.reveal())}
        return {"method": "approle", "role_id": {"env": "ROLE_ID"}, "secret_id": secret_id, "mount": auth.mount}

    def wrapped(self) -> dict[str, Any]:
        written = self.approle()
        self.file(wrapped_secret_id(self.server, written["mount"]).reveal())
        return {**written, "wrapped_for_role": "rotator"}

    def kubernetes(self) -> dict[str, Any]:
        token = service_account(Signer())
        cluster = self._closing.enter_context(Cluster(token, self.folder))
        auth = a_kubernetes(self.server, self.rights, cluster, from_file(self.folder / "credential"))
        return {"method": "kubernetes", "role": "rotator", "token_file": self.file(token), "mount": auth.mount}

    def jwt(self) -> dict[str, Any]:
        signer = Signer()
        auth = a_jwt(self.server, self.rights, signer, None)
        return {"method": "jwt", "token": {"file": self.file(signer.token())}, "mount": f"/{auth.mount}/"}

    def userpass(self) -> dict[str, Any]:
        self.environ["PASSWORD"] = PASSWORD
        auth = a_userpass(self.server, self.rights)
        return {"method": "userpass", "username": "rotator", "password": {"env": "PASSWORD"}, "mount": auth.mount}

    def aws(self) -> dict[str, Any]:
        host = "sts.eu-central-1.amazonaws.com"
        self.verifier = Verifier(self.server, self.rights, host=host, region="eu-central-1", server_id="vault")
        return {"method": "aws", "role": "rotator", "region": "eu-central-1", "server_id": "vault"}

    def _token(self) -> str:
        made = self.server.root.auth.token.create(policies=[self.rights], ttl="1h")
        return str(made["auth"]["client_token"])


@pytest.fixture
def login(openbao: OpenBao, kv_mount: str, tmp_path: Path) -> Iterator[Login]:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    with ExitStack() as closing:
        yield Login(openbao, kv_mount, tmp_path, closing)


REQUESTS = {
    "token": ["data", "lookup-self"],
    "token_file": ["data"],
    "approle": ["login", "data", "revoke-self"],
    "wrapped": ["lookup", "unwrap", "login", "data", "revoke-self"],
    "kubernetes": ["login", "data", "revoke-self"],
    "jwt": ["login", "data", "revoke-self"],
    "userpass": ["login", "data", "revoke-self"],
    "aws": ["login", "data", "revoke-self"],
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_login_as_it_is_configured_costs_these_requests(
    login: Login, kv_mount: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    written = getattr(login, kind)()
    with ExitStack() as closing:
        intercept = (login.verifier,) if login.verifier else ()
        proxy = closing.enter_context(Proxy(login.server.url, *intercept))
        file = login.folder / "rotator.yaml"
        file.write_text(CONFIGURATION.format(url=proxy.url, auth=json.dumps(written)) + "policies: []\n")
        settings = load(file, login.environ).backends["vault"]
        backend = vault_backend(settings, partial(resolve, environ=login.environ), 2, Hands())
        held = backend.read(at(kv_mount)).value
        backend.close()
        assert held is not None
        assert held.reveal() == "tgp_v1_old"
        assert kinds(proxy) == REQUESTS[kind]
    shown = f"{settings!r} {backend._session._tokens!r} {vars(backend._session._tokens)!r}"
    credential = login.folder / "credential"
    secrets = [text for name, text in login.environ.items() if name != "KEY"]
    secrets += [credential.read_text()] if credential.exists() else []
    assert not [secret for secret in secrets if secret in shown]


def test_a_credential_that_is_gone_is_told_when_it_is_needed_and_not_at_the_start(login: Login, kv_mount: str) -> None:
    file = login.folder / "rotator.yaml"
    file.write_text(CONFIGURATION.format(url=login.server.url, auth=json.dumps(login.approle())) + "policies: []\n")
    settings = load(file, login.environ).backends["vault"]
    (login.folder / "credential").unlink()
    backend = vault_backend(settings, partial(resolve, environ=login.environ), 2, Hands())
    with pytest.raises(RotatorError, match=r"no credential: file .*credential, which can't be read"):
        backend.read(at(kv_mount))
    backend.close()
