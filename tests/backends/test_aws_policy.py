"""``rotator policy aws``: with exactly these rights a rotation comes through, and each of them is needed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from rotator.adapters.backends.aws_policy import Use, policy_for, policy_to_assume
from rotator.adapters.backends.aws_secrets_manager import AssumeRole, AwsAccess, AwsSecretsManagerBackend
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, OutcomeUnknown, RotatorError
from tests.backends.conftest import some_metadata
from tests.parts.iam import allows
from tests.parts.strict_aws import ACCOUNT, OTHER_ACCOUNT, StrictAws

FIELD = "TOGETHER_API_KEY"
REGION = "eu-central-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234"
CREATE = {"kms_key_id": KEY, "tags": {"owner": "team-a"}, "replica_regions": ["eu-west-1"]}
Policy = dict[str, Any]


def at(secret_id: str, create: dict[str, Any] | None = None, field: str = FIELD, **more: Any) -> Destination:
    options = {"field": field, "secret_id": secret_id, **({"create": json.dumps(create)} if create else {})}
    return Destination("aws", f"aws:{secret_id}", tuple(options.items()), **more)


def policy_of(*places: Destination, read_only: bool = False, account: str = ACCOUNT) -> Policy:
    uses = [Use(destination=place, writes=True) for place in places]
    return policy_for(uses, region=REGION, account=account, read_only=read_only)


def one_less(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """The policy without one action, for each of them."""
    for number, statement in enumerate(policy["Statement"]):
        for action in statement["Action"]:
            less = copy.deepcopy(policy)
            less["Statement"][number]["Action"].remove(action)
            yield action, less


def rotate(aws: StrictAws, policy: Policy, place: Destination) -> None:
    """What a rotation does with one destination: look, preflight, write, look, and the look back of a rollback."""
    role = aws.new_role(policy=policy)
    backend = AwsSecretsManagerBackend(
        AwsAccess(region=REGION, endpoint_url=aws.url, sts_endpoint_url=aws.url, assume_role=AssumeRole(arn=role.arn))
    )
    try:
        backend.whereabouts(place)
        seen = backend.read(place).version
        backend.check_writable(place)
        backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), seen)
        backend.read(place)
        backend.read_previous(place)
    finally:
        backend.close()


def seeded(aws: StrictAws, *, is_there: bool) -> Destination:
    if not is_there:
        return at("apps/chat", CREATE)
    if aws.service.find(ACCOUNT, REGION, "apps/chat") is None:
        aws.root.create_secret(Name="apps/chat", KmsKeyId=KEY, SecretString=json.dumps({FIELD: "tgp_v1_old"}))
    else:
        aws.root.put_secret_value(SecretId="apps/chat", SecretString=json.dumps({FIELD: "tgp_v1_old"}))
    return at("apps/chat", {"kms_key_id": KEY})


@pytest.mark.parametrize("is_there", [True, False], ids=["a secret that is there", "a secret that is created"])
def test_a_rotation_comes_through_with_exactly_this_policy(strict_aws: StrictAws, *, is_there: bool) -> None:
    place = seeded(strict_aws, is_there=is_there)
    rotate(strict_aws, policy_of(place), place)
    assert json.loads(strict_aws.get("apps/chat")) == {FIELD: "tgp_v1_new"}


@pytest.mark.parametrize("is_there", [True, False], ids=["a secret that is there", "a secret that is created"])
def test_without_any_one_action_it_breaks_and_the_action_is_named(strict_aws: StrictAws, *, is_there: bool) -> None:
    broken = {}
    unused = (
        {"secretsmanager:CreateSecret"}
        if is_there
        else {
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        }
    )
    for action, less in one_less(policy_of(seeded(strict_aws, is_there=is_there))):
        place = seeded(strict_aws, is_there=is_there)
        if action in unused:
            continue  # of the other case
        with pytest.raises((BackendDenied, OutcomeUnknown)) as denied:
            rotate(strict_aws, less, place)
        broken[action] = str(denied.value.__cause__ or denied.value)
    assert len(broken) == 7
    for action, said in broken.items():
        assert action.startswith("kms:") or "CreateSecret" in said or action in said, (action, said)


def test_read_only_allows_a_look_and_no_change(strict_aws: StrictAws) -> None:
    place = seeded(strict_aws, is_there=True)
    policy = policy_of(place, read_only=True)
    actions = [action for statement in policy["Statement"] for action in statement["Action"]]
    assert actions == ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "kms:Decrypt"]
    before = strict_aws.get("apps/chat")
    with pytest.raises(BackendDenied, match="secretsmanager:PutSecretValue on apps/chat"):
        rotate(strict_aws, policy, place)
    assert strict_aws.get("apps/chat") == before


def test_no_other_secret_is_within_reach(strict_aws: StrictAws) -> None:
    policy = policy_of(seeded(strict_aws, is_there=True))
    for neighbour in ("apps/chat2", "apps/chat-ab1234", "apps/cha", "apps"):
        strict_aws.root.create_secret(Name=neighbour, SecretString="{}")
        with pytest.raises(RotatorError):
            rotate(strict_aws, policy, at(neighbour))


def test_tags_of_others_can_not_be_changed_with_it() -> None:
    policy, arn = policy_of(at("apps/chat")), f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:apps/chat-AbCdEf"

    def may_tag(*keys: str) -> bool:
        return allows(policy, "secretsmanager:TagResource", arn, {"aws:TagKeys": list(keys)})

    assert may_tag(f"rotator:{FIELD}:policy", f"rotator:{FIELD}:key_id")
    assert not may_tag(f"rotator:{FIELD}:policy", "team")
    assert not may_tag("rotator:OTHER_KEY:policy")
    assert not allows(policy, "secretsmanager:TagResource", arn)


def test_the_whole_policy_as_it_is_printed() -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
    management = Use(destination=at("together/management"), writes=False)
    made = policy_for([Use(destination=at("apps/chat"), writes=True), management], region=REGION, account=ACCOUNT)
    assert made == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Look",
                "Effect": "Allow",
                "Action": ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
                "Resource": [f"{arn}apps/chat-??????", f"{arn}together/management-??????"],
            },
            {
                "Sid": "Write",
                "Effect": "Allow",
                "Action": ["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"],
                "Resource": [f"{arn}apps/chat-??????"],
            },
            {
                "Sid": "Tag",
                "Effect": "Allow",
                "Action": ["secretsmanager:TagResource"],
                "Resource": [f"{arn}apps/chat-??????"],
                "Condition": {
                    "ForAllValues:StringLike": {"aws:TagKeys": [f"rotator:{FIELD}:*"]},
                    "Null": {"aws:TagKeys": "false"},
                },
            },
        ],
    }


def test_the_account_is_the_expected_one_or_the_roles_or_any() -> None:
    def resource(place: Destination, account: str) -> str:
        return str(policy_of(place, account=account)["Statement"][0]["Resource"][0])

    expected = at("app", expect=(("account", OTHER_ACCOUNT),))
    assert f":{OTHER_ACCOUNT}:" in resource(expected, ACCOUNT)
    assert f":{ACCOUNT}:" in resource(at("app"), ACCOUNT)
    assert ":*:" in resource(at("app"), "")
    full = f"arn:aws:secretsmanager:{REGION}:{OTHER_ACCOUNT}:secret:app-AbCdEf"
    assert resource(at(full), ACCOUNT) == full


@pytest.mark.parametrize(
    ("key", "resource", "conditions"),
    [
        (KEY, KEY, {}),
        ("1234", KEY, {}),
        (
            "alias/apps",
            f"arn:aws:kms:{REGION}:{ACCOUNT}:key/*",
            {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/apps"}},
        ),
    ],
)
def test_a_kms_key_is_used_by_way_of_secrets_manager_only(key: str, resource: str, conditions: dict[str, Any]) -> None:
    statement = policy_of(at("app", {"kms_key_id": key}))["Statement"][-1]
    assert statement["Resource"] == [resource]
    via = {"StringEquals": {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}}
    assert statement["Condition"] == {**via, **conditions}


@pytest.mark.parametrize(("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")])
def test_other_partitions_have_their_own_arns(region: str, partition: str) -> None:
    made = policy_for([Use(destination=at("app"), writes=True)], region=region)
    assert made["Statement"][0]["Resource"][0].startswith(f"arn:{partition}:secretsmanager:{region}:*:")


def test_the_caller_of_a_role_may_take_it_on_and_nothing_else(
    strict_aws: StrictAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = seeded(strict_aws, is_there=True)
    role = strict_aws.new_role(policy=policy_of(place))

    def look(caller: str, **access: Any) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", caller)
        given = {"region": REGION, "endpoint_url": strict_aws.url, "sts_endpoint_url": strict_aws.url, **access}
        backend = AwsSecretsManagerBackend(AwsAccess(**given))
        try:
            backend.read(place)
        finally:
            backend.close()

    caller = strict_aws.new_user(policy_to_assume(role.arn))
    look(caller, assume_role=AssumeRole(arn=role.arn))
    for user, access in (
        (caller, {}),
        (caller, {"assume_role": AssumeRole(arn=strict_aws.new_role().arn)}),
        (strict_aws.new_user({"Statement": []}), {"assume_role": AssumeRole(arn=role.arn)}),
    ):
        with pytest.raises(BackendDenied):
            look(user, **access)
