"""The AWS login: the signed request is checked as Vault's server and STS would, with botocore's own signer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotator.adapters.backends.vault_iam import AwsIamAuth
from rotator.errors import BackendDenied
from tests.backends.proxy import Proxy
from tests.backends.vault_help import FIELD, READING, at, kinds, policy, through
from tests.backends.vault_sts import SECRET_KEY, Verifier
from tests.parts.openbao import OpenBao


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
