"""Every way to log in, set up on a real OpenBao: roles, keys that sign, and a Kubernetes that reviews tokens."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from rotator.adapters.backends.vault_auth import AppRoleAuth, JwtAuth, KubernetesAuth, UserpassAuth
from rotator.config.secrets import FileRef, resolve
from rotator.domain.secret import SecretValue
from tests.backends.proxy import Answer, Proxy, Request, Upstream
from tests.backends.vault_help import JSON, method
from tests.parts.certificates import Authority
from tests.parts.openbao import OpenBao

PASSWORD = "made-up-password-of-a-test"


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
