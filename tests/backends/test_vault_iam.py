"""The AWS login: the signed request is checked as Vault's server and STS would, with botocore's own signer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rotator.adapters.backends.vault_iam import AwsIamAuth
from rotator.errors import BackendDenied
from tests.backends.proxy import Answer, Proxy, Request, Upstream
from tests.backends.vault_help import FIELD, JSON, READING, at, is_login, kinds, policy, through
from tests.parts.openbao import OpenBao

SECRET_KEY = "made-up/secret+key"
_BODY = "Action=GetCallerIdentity&Version=2011-06-15"


class Verifier:
    """Vault's side of the method: answers a login that is signed well with a token, and passes all else on.

    Source of the rules: Vault documentation, "AWS auth method" (IAM): the body is GetCallerIdentity, the server's id is
    among the signed headers and the right one; everything else is for STS to judge, which checks the signature.
    """

    def __init__(self, server: OpenBao, rights: str, *, host: str, region: str, server_id: str | None = None) -> None:
        self._server = server
        self._rights = rights
        self._host, self._region, self._server_id = host, region, server_id
        self.fields: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    def __call__(self, request: Request, upstream: Upstream) -> Answer:
        if not is_login(request):
            return upstream(request.body)
        self.fields = json.loads(request.body)
        fault = self._fault()
        if fault:
            return Answer(400, json.dumps({"errors": [fault]}).encode(), JSON)
        made = self._server.root.auth.token.create(policies=[self._rights], ttl="1h")
        return Answer(200, json.dumps(made).encode(), JSON)

    def _fault(self) -> str:
        if self.fields["iam_http_request_method"] != "POST":
            return "method"
        url, body = self._text("iam_request_url"), self._text("iam_request_body")
        if body != _BODY or urlsplit(url).netloc != self._host or urlsplit(url).path != "/":
            return "not GetCallerIdentity, or another endpoint"
        self.headers = {name: values[0] for name, values in json.loads(self._text("iam_request_headers")).items()}
        given = dict(part.split("=", 1) for part in self.headers["Authorization"].partition(" ")[2].split(", "))
        signed = given["SignedHeaders"].split(";")
        if self._server_id and (
            "x-vault-aws-iam-server-id" not in signed or self.headers["X-Vault-AWS-IAM-Server-ID"] != self._server_id
        ):
            return "server id"
        if not given["Credential"].endswith(f"/{self._region}/sts/aws4_request") or "host" not in signed:
            return "scope"
        again = AWSRequest("POST", url, data=body, headers={name: self._header(name) for name in signed})
        again.context["timestamp"] = self._header("x-amz-date")
        signer = SigV4Auth(Credentials("AKID", SECRET_KEY), "sts", self._region)
        expected = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
        return "" if expected == given["Signature"] else "signature"

    def _text(self, name: str) -> str:
        return base64.b64decode(self.fields[name], validate=True).decode()

    def _header(self, name: str) -> str:
        return next(text for given, text in self.headers.items() if given.lower() == name)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "sts.amazonaws.com"),
        ("eu-central-1", "sts.eu-central-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
    ],
)
@pytest.mark.parametrize("server_id", [None, "vault.example.internal"])
@pytest.mark.parametrize("session_token", [None, "made-up-session-token"])
def test_the_signed_request_is_what_vault_and_sts_accept(
    openbao: OpenBao,
    kv_mount: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    region: str,
    host: str,
    server_id: str | None,
    session_token: str | None,
) -> None:
    if session_token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", session_token)
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    rights = policy(openbao, READING.format(mount=kv_mount))
    verifier = Verifier(openbao, rights, host=host, region=region, server_id=server_id)
    with Proxy(openbao.url, verifier) as proxy:
        backend = through(proxy, AwsIamAuth(role="rotator", region=region, server_id=server_id, mount="aws-here"))
        held = backend.read(at(kv_mount)).value
        backend.close()
        assert held is not None
        assert held.reveal() == "tgp_v1_old"
        assert kinds(proxy) == ["login", "data", "revoke-self"]
        assert proxy.requests[0].path == "/v1/auth/aws-here/login"
        assert SECRET_KEY.encode() not in b"".join(request.body for request in proxy.requests)
    assert verifier.fields["role"] == "rotator"
    assert verifier.headers.get("X-Amz-Security-Token") == session_token


@pytest.mark.usefixtures("credentials")
def test_a_server_that_asks_for_its_id_refuses_a_login_without(openbao: OpenBao, kv_mount: str) -> None:
    verifier = Verifier(openbao, "default", host="sts.amazonaws.com", region="us-east-1", server_id="vault")
    with Proxy(openbao.url, verifier) as proxy:
        backend = through(proxy, AwsIamAuth())
        with pytest.raises(BackendDenied, match="login at auth/aws: role, AWS identity, region, server id or mount"):
            backend.read(at(kv_mount))
        backend.close()
    assert "role" not in verifier.fields


@pytest.mark.usefixtures("credentials")
def test_no_credentials_of_aws_is_a_denial_before_anything_is_sent(
    openbao: OpenBao, kv_mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with Proxy(openbao.url) as proxy:
        for auth, name in ((AwsIamAuth(), "NoCredentialsError"), (AwsIamAuth(profile="nope"), "ProfileNotFound")):
            backend = through(proxy, auth)
            with pytest.raises(BackendDenied, match=f"no AWS credentials or region .{name}"):
                backend.read(at(kv_mount))
            backend.close()
        assert proxy.requests == []
