"""What a credential may do in all, told by a real server, beside the least policy for the configuration."""

from __future__ import annotations

import json

import boto3
import pytest

from rotator.adapters.backends.aws_secrets_manager import AwsSecretsManagerBackend
from rotator.adapters.backends.vault import VaultBackend
from rotator.adapters.backends.vault_auth import TokenAuth
from rotator.adapters.backends.vault_policy import Use, as_hcl, place_rules, token_rules
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao

PLACE = Destination(backend="b", name="b:kv/app#KEY", options=(("field", "KEY"), ("mount", "kv"), ("path", "app")))
SECRET = Destination(backend="a", name="a:app#KEY", options=(("field", "KEY"), ("secret_id", "app")))


def told(openbao: OpenBao, policy: str, **token: object):
    openbao.root.sys.create_or_update_policy("granted", policy)
    given = openbao.root.auth.token.create(policies=["granted"], **{"ttl": "1h", **token})["auth"]["client_token"]
    backend = VaultBackend(url=openbao.url, auth=TokenAuth(token=lambda: SecretValue(given)))
    try:
        return backend.rights([(PLACE, True)])
    finally:
        backend.close()


def test_the_least_vault_policy_has_no_excess(openbao: OpenBao) -> None:
    rules = place_rules([Use(destination=PLACE, who="policy chat", writes=True)], read_only=False)
    rights = told(openbao, as_hcl(["least"], rules, token_rules(read_only=False)))
    assert (rights.excess(), rights.everything, rights.endless) == ([], False, False)


def test_what_a_vault_token_may_do_besides_is_told(openbao: OpenBao) -> None:
    rights = told(
        openbao,
        'path "kv/data/*" { capabilities = ["read", "update"] }\n'
        'path "kv/data/app" { capabilities = ["read", "delete"] }\n'
        'path "kv/data/other" { capabilities = ["deny"] }',
    )
    excess = {grant.pattern: sorted(grant.actions) for grant in rights.excess()}
    assert excess == {"kv/data/*": ["read", "update"], "kv/data/app": ["delete"]}


def test_a_root_token_may_do_everything_and_never_ends(openbao: OpenBao) -> None:
    backend = VaultBackend(url=openbao.url, auth=TokenAuth(token=lambda: openbao.token))
    rights = backend.rights([(PLACE, True)])
    assert (rights.everything, rights.endless) == (True, True)
    backend.close()


def test_a_token_that_may_not_ask_says_what_to_grant(openbao: OpenBao) -> None:
    with pytest.raises(BackendDenied, match="grant read on sys/internal/ui/resultant-acl"):
        told(openbao, 'path "kv/data/app" { capabilities = ["read"] }', no_default_policy=True)


@pytest.fixture
def user(aws: Aws, monkeypatch: pytest.MonkeyPatch):
    """An IAM user whose policy a test sets; its keys are those of the environment."""
    iam = boto3.client("iam", region_name=aws.region, endpoint_url=aws.url)
    iam.create_user(UserName="rotator")
    keys = iam.create_access_key(UserName="rotator")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    for service in ("IAM", "STS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", aws.url)
    attached = []

    def allow(name: str, *statements: dict, managed: bool = False) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        if managed:
            arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
            iam.attach_user_policy(UserName="rotator", PolicyArn=arn)
            attached.append(arn)
        else:
            iam.put_user_policy(UserName="rotator", PolicyName=name, PolicyDocument=document)

    yield allow
    for name in iam.list_user_policies(UserName="rotator")["PolicyNames"]:
        iam.delete_user_policy(UserName="rotator", PolicyName=name)
    for arn in attached:
        iam.detach_user_policy(UserName="rotator", PolicyArn=arn)
        iam.delete_policy(PolicyArn=arn)
    iam.delete_access_key(UserName="rotator", AccessKeyId=keys["AccessKeyId"])
    iam.delete_user(UserName="rotator")
    iam.close()


def allowed(action: str | list[str], resource: str) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def test_what_an_iam_identity_may_do_besides_is_told_of_inline_and_attached_policies(aws: Aws, user) -> None:
    least = f"arn:aws:secretsmanager:{aws.region}:*:secret:app-??????"
    user("least", allowed(["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], least))
    user("wide", allowed("secretsmanager:GetSecretValue", "*"), managed=True)
    backend = AwsSecretsManagerBackend(region=aws.region, endpoint_url=aws.url)

    rights = backend.rights([(SECRET, True)])

    assert [(one.pattern, sorted(one.actions)) for one in rights.excess()] == [("*", ["secretsmanager:getsecretvalue"])]
    assert not rights.everything
    user("all", allowed("*", "*"))
    assert backend.rights([(SECRET, True)]).everything
    backend.close()


def test_beside_an_endpoint_of_its_own_nobody_else_is_asked(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    backend = AwsSecretsManagerBackend(region=aws.region, endpoint_url=aws.url)
    with pytest.raises(BackendDenied, match="AWS_ENDPOINT_URL_IAM"):
        backend.rights([(SECRET, True)])
