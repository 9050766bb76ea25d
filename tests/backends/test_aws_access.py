"""How the AWS backend logs in: roles, external ids, web identity, endpoints; and that no credential is shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rotator.adapters.backends.aws_secrets_manager import (
    AssumeRole,
    AwsAccess,
    AwsSecretsManagerBackend,
    WebIdentity,
)
from rotator.adapters.backends.aws_session import AwsSession
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendUnavailable
from tests.backends.conftest import a_destination, some_metadata
from tests.backends.proxy import Answer
from tests.parts.strict_aws import ACCOUNT, OTHER_ACCOUNT, StrictAws

FIELD = "TOGETHER_API_KEY"
PLACE = a_destination("aws", secret_id="apps/chat", field=FIELD)
Make = Callable[..., AwsSecretsManagerBackend]


@pytest.fixture
def make(strict_aws: StrictAws) -> Iterator[Make]:
    """A backend at the strict endpoint, with this access beside."""
    made: list[AwsSecretsManagerBackend] = []

    def backend(**access: Any) -> AwsSecretsManagerBackend:
        url = strict_aws.url
        given = {"region": strict_aws.region, "endpoint_url": url, "sts_endpoint_url": url, **access}
        made.append(AwsSecretsManagerBackend(AwsAccess(**given)))
        return made[-1]

    yield backend
    for one in made:
        one.close()


def put_in(strict_aws: StrictAws, account: str) -> None:
    asked = {"Name": "apps/chat", "SecretString": '{"TOGETHER_API_KEY": "tgp_v1_old"}'}
    strict_aws.service.call(account, strict_aws.region, "CreateSecret", asked)


def text(backend: AwsSecretsManagerBackend, place: Destination = PLACE) -> str | None:
    value = backend.read(place).value
    return value.reveal() if value else None


def sts_requests(strict_aws: StrictAws) -> int:
    return sum(1 for request in strict_aws.proxy.requests if not request.target)


def test_a_role_of_another_account_is_taken_on_with_its_external_id(strict_aws: StrictAws, make: Make) -> None:
    put_in(strict_aws, OTHER_ACCOUNT)
    role = strict_aws.new_role(OTHER_ACCOUNT, external_id="of-team-a")
    backend = make(assume_role=AssumeRole(arn=role.arn, external_id=SecretValue("of-team-a"), duration=1800))
    assert text(backend) == "tgp_v1_old"
    assert backend.whereabouts(PLACE)["account"] == OTHER_ACCOUNT
    assert make().whereabouts(PLACE)["account"] == ACCOUNT
    assert sts_requests(strict_aws) == 2  # the role was taken on once; the other asked who it is


def test_a_wrong_external_id_is_denied_and_not_shown(
    strict_aws: StrictAws, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    role = strict_aws.new_role(external_id="right")
    backend = make(assume_role=AssumeRole(arn=role.arn, external_id=SecretValue("tgp_v1_wrong")))
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(BackendDenied, match=r"not sent, sts:AssumeRole is denied \(AccessDenied\)") as denied,
    ):
        backend.read(PLACE)
    assert "tgp_v1_wrong" not in f"{denied.value!r} {denied.value.__context__!r} {backend!r} {caplog.text}"


def test_the_end_of_a_session_in_the_middle_of_a_run_is_not_noticed(strict_aws: StrictAws, make: Make) -> None:
    put_in(strict_aws, ACCOUNT)
    role = strict_aws.new_role(seconds=60)  # so near its end that botocore renews it before each call
    backend = make(assume_role=AssumeRole(arn=role.arn))
    seen = backend.read(PLACE).version
    strict_aws.end_sessions()
    backend.write(PLACE, SecretValue("tgp_v1_new"), some_metadata(), seen)
    strict_aws.end_sessions()
    assert text(backend) == "tgp_v1_new"


def test_sts_in_trouble_before_a_write_means_that_nothing_was_sent(strict_aws: StrictAws, make: Make) -> None:
    put_in(strict_aws, ACCOUNT)
    role = strict_aws.new_role(seconds=60)
    backend = make(assume_role=AssumeRole(arn=role.arn))
    backend.read(PLACE)
    body = b"<ErrorResponse><Error><Code>ServiceUnavailable</Code><Message>no</Message></Error></ErrorResponse>"
    for _ in range(3):
        strict_aws.proxy.break_once(lambda request: not request.target, Answer(503, body))
    with pytest.raises(BackendUnavailable, match="not sent, sts:AssumeRole gave no answer"):
        backend.write(PLACE, SecretValue("tgp_v1_new"), some_metadata(), "any")


def test_a_role_is_taken_on_with_a_token_from_a_file_that_others_renew(
    strict_aws: StrictAws, make: Make, tmp_path: Path
) -> None:
    put_in(strict_aws, ACCOUNT)
    role, file = strict_aws.new_role(token="first", seconds=60), tmp_path / "token"
    backend = make(web_identity=WebIdentity(role_arn=role.arn, token_file=file))
    with pytest.raises(BackendDenied, match="CredentialRetrievalError"):
        backend.read(PLACE)
    file.write_text("first\n")
    assert text(backend) == "tgp_v1_old"
    role.token = "second"
    file.write_text("second\n")
    assert text(backend) == "tgp_v1_old"


def test_the_environment_can_name_the_web_identity_and_a_second_role_is_taken_on_with_it(
    strict_aws: StrictAws, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Kubernetes: the service account's role, and with it the role of the other account."""
    put_in(strict_aws, OTHER_ACCOUNT)
    first, second, file = (
        strict_aws.new_role(token="of-the-pod"),
        strict_aws.new_role(OTHER_ACCOUNT),
        tmp_path / "token",
    )
    file.write_text("of-the-pod")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", first.arn)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", strict_aws.url)
    assert text(make(assume_role=AssumeRole(arn=second.arn))) == "tgp_v1_old"


def test_a_profile_of_the_shared_configuration_is_used(
    strict_aws: StrictAws, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(strict_aws, OTHER_ACCOUNT)
    user = strict_aws.new_user(account=OTHER_ACCOUNT)
    file = tmp_path / "credentials"
    file.write_text(f"[production]\naws_access_key_id = {user}\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert text(make(profile="production")) == "tgp_v1_old"


def test_a_session_that_is_over_is_denied(strict_aws: StrictAws, make: Make) -> None:
    put_in(strict_aws, ACCOUNT)
    role = strict_aws.new_role()
    backend = make(assume_role=AssumeRole(arn=role.arn))
    assert text(backend) == "tgp_v1_old"
    strict_aws.end_sessions()
    with pytest.raises(BackendDenied, match="ExpiredTokenException"):
        backend.read(PLACE)


@pytest.mark.parametrize(
    ("more", "host"),
    [
        ({}, "secretsmanager.us-east-1.amazonaws.com"),
        ({"use_fips": True}, "secretsmanager-fips.us-east-1.amazonaws.com"),
        ({"use_dualstack": True}, "secretsmanager.us-east-1.api.aws"),
        ({"use_fips": True, "use_dualstack": True}, "secretsmanager-fips.us-east-1.api.aws"),
    ],
)
def test_fips_and_dual_stack_choose_the_endpoint(strict_aws: StrictAws, more: dict[str, bool], host: str) -> None:
    session = AwsSession(AwsAccess(region="us-east-1", **more))
    assert session.asking().meta.endpoint_url == f"https://{host}"
    session.close()


def test_clients_keep_as_many_connections_as_threads_use(strict_aws: StrictAws) -> None:
    session = AwsSession(AwsAccess(region="us-east-1", pool_size=17))
    assert session.changing().meta.config.max_pool_connections == 17
    session.close()
