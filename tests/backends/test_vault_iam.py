"""The AWS login: the signed request is checked as Vault's server and STS would, with botocore's own signer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotator.adapters.backends.vault_iam import AwsIamAuth
from rotator.errors import BackendDenied
from tests.backends.proxy import Answer, Fault, Proxy
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


def web_identity(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    token = folder / "token"
    token.write_text("made-up-web-identity")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/rotator")


@pytest.mark.usefixtures("credentials")
def test_an_sts_that_hangs_is_waited_for_no_longer_than_the_server(
    openbao: OpenBao, kv_mount: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Promise 9: meanwhile every other thread waits for this login."""
    web_identity(monkeypatch, tmp_path)
    with Proxy(openbao.url) as proxy, Proxy(openbao.url) as sts:
        sts.break_once(lambda _: True, Fault.HUNG_REQUEST)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        backend = through(proxy, AwsIamAuth(region="eu-central-1"))
        begun = time.monotonic()
        with pytest.raises(BackendDenied, match="ReadTimeoutError"):
            backend.read(at(kv_mount))
        assert time.monotonic() - begun < 2 * 2  # its timeout is 2 s
        backend.close()
        assert len(sts.requests) == 1


@pytest.mark.usefixtures("credentials")
def test_a_role_that_sts_does_not_give_is_a_denial_before_anything_is_sent(
    openbao: OpenBao, kv_mount: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As for a pod with a web identity (EKS) whose role does not trust it."""
    web_identity(monkeypatch, tmp_path)
    refused = Answer(403, b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")
    with Proxy(openbao.url) as proxy, Proxy(openbao.url, lambda _request, _upstream: refused) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        backend = through(proxy, AwsIamAuth(region="eu-central-1"))
        with pytest.raises(BackendDenied, match=r"no AWS credentials or region .ClientError") as failure:
            backend.read(at(kv_mount))
        backend.close()
        assert (len(sts.requests), proxy.requests) == (1, [])
    assert "made-up-web-identity" not in f"{failure.value!r} {failure.value.__cause__!r}"
