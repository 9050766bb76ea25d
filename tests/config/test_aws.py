"""AWS backends and places: what may be written, what becomes of it, and what is refused with its line."""

import json
from datetime import timedelta

import pytest

from rotator.config import EnvRef
from tests.config.conftest import GOOD, Configuration

ROLE = "arn:aws:iam::123456789012:role/rotator"


def with_backend(more: str, place: str = "secret_id: app, field: KEY") -> str:
    return GOOD.replace(
        "policies:", f"backends:\n  aws: {{type: aws-secrets-manager, region: eu-west-1{more}}}\npolicies:"
    ).replace("backend: dotenv, path: /srv/a.env, field: KEY", f"backend: aws, {place}")


def test_everything_that_can_be_said_of_a_backend(configuration: Configuration) -> None:
    (configuration.folder / "token").write_text("x")
    text = with_backend(
        f", use_fips: true, use_dualstack: true, sts_endpoint_url: 'https://sts.example',"
        f" assume_role: {{arn: '{ROLE}', external_id: {{env: MANAGEMENT_KEY}}, session_name: chat, duration: 2h}},"
        f" web_identity: {{role_arn: '{ROLE}-first', token_file: token}}"
    )
    made = configuration.load(text).backends["aws"]
    assert (made.use_fips, made.use_dualstack, made.sts_endpoint_url) == (True, True, "https://sts.example")
    role, web = made.assume_role, made.web_identity
    assert (role.arn, role.external_id, role.session_name) == (ROLE, EnvRef("MANAGEMENT_KEY"), "chat")
    assert role.duration == timedelta(hours=2)
    assert (web.role_arn, web.token_file) == (f"{ROLE}-first", configuration.folder / "token")
    assert made.account == "123456789012"


def test_an_external_id_can_be_plain_text(configuration: Configuration) -> None:
    made = configuration.load(with_backend(f", assume_role: {{arn: '{ROLE}', external_id: of-team-a}}"))
    assert made.backends["aws"].assume_role.external_id == "of-team-a"


def test_a_place_carries_how_it_is_created_and_that_aws_may_rotate_it(configuration: Configuration) -> None:
    place = (
        "secret_id: app, field: KEY, managed_rotation: allow,"
        " create: {kms_key_id: alias/apps, description: of the chat, tags: {owner: a}, replica_regions: [eu-west-2]}"
    )
    destination = configuration.load(with_backend("", place)).policies[0].destinations[0]
    assert destination.option("managed_rotation") == "allow"
    assert json.loads(destination.option("create") or "") == {
        "description": "of the chat",
        "kms_key_id": "alias/apps",
        "replica_regions": ["eu-west-2"],
        "tags": {"owner": "a"},
    }


def test_without_these_a_place_is_what_it_was(configuration: Configuration) -> None:
    """A new version of rotator must not find every policy changed."""
    destination = configuration.load(with_backend("")).policies[0].destinations[0]
    assert destination.options == (("field", "KEY"), ("secret_id", "app"))


def test_one_name_in_two_accounts_is_two_places_and_in_one_account_it_is_one(configuration: Configuration) -> None:
    def two(other: str) -> str:
        text = with_backend(f", assume_role: {{arn: '{ROLE}'}}")
        second = f"  other: {{type: aws-secrets-manager, region: eu-west-1, assume_role: {{arn: '{other}'}}}}\n"
        return (
            text.replace("policies:", second + "policies:") + "      - {backend: other, secret_id: app, field: KEY}\n"
        )

    assert len(configuration.load(two("arn:aws:iam::210987654321:role/rotator")).policies[0].destinations) == 2
    same = configuration.problems(two(f"{ROLE}-other"))
    assert same[0].startswith("rotator.yaml:14: policies[0].destinations[1] (a): found other:app#KEY, the same place")


@pytest.mark.parametrize(
    ("more", "place", "problem"),
    [
        (", assume_role: {arn: 'role/x'}", "", "assume_role.arn: found 'role/x'; allowed: a role's ARN"),
        (
            f", assume_role: {{arn: '{ROLE}', duration: 15m}}",
            "",
            "assume_role.duration: found '15m'; allowed: 30m to 12h",
        ),
        (f", assume_role: {{arn: '{ROLE}', session_name: 'a b'}}", "", "assume_role.session_name: found 'a b'"),
        (
            f", assume_role: {{arn: '{ROLE}', external_id: {{env: NOT_THERE}}}}",
            "",
            "assume_role.external_id: found environment variable NOT_THERE, which is not set or empty",
        ),
        (
            f", web_identity: {{role_arn: '{ROLE}', token_file: none}}",
            "",
            "web_identity.token_file: found 'none'; allowed: a file that exists",
        ),
        (", use_fips: true, endpoint_url: 'https://vpce'", "", "use_fips: found true, with an endpoint_url"),
        (", sts_endpoint_url: 'http://sts.example'", "", "sts_endpoint_url: found 'http://sts.example'"),
        ("", "secret_id: 'arn:aws:secretsmanager:x', create: {}", "create (a): found for 'arn:aws:secretsmanager:x'"),
        ("", "secret_id: app, managed_rotation: yes", "managed_rotation"),
    ],
)
def test_what_can_not_be_is_refused_where_it_stands(
    configuration: Configuration, more: str, place: str, problem: str
) -> None:
    problems = configuration.problems(with_backend(more, place or "secret_id: app, field: KEY"))
    assert problem in problems[0], problems
