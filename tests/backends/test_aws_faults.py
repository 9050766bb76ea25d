"""The AWS backend against the answers that an endpoint rarely gives."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from rotator.adapters.backends.aws_secrets_manager import AwsSecretsManagerBackend
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    OutcomeUnknown,
    RotatorError,
    WrongDestination,
)
from tests.backends.conftest import a_destination, some_metadata
from tests.backends.proxy import Answer, Fault, Matches
from tests.parts.aws import Aws

FIELD = "TOGETHER_API_KEY"
NEW = SecretValue("tgp_v1_new")


def at(secret_id: str, field: str | None = FIELD) -> Destination:
    return a_destination("aws", secret_id=secret_id, **({"field": field} if field else {}))


def is_call(action: str) -> Matches:
    return lambda request: request.target == action


def refusal(code: str, status: int = 400) -> Answer:
    body = json.dumps({"__type": code, "message": "tgp_v1_in_an_answer"}).encode()
    return Answer(status, body, (("Content-Type", "application/x-amz-json-1.1"),))


@pytest.fixture
def backend(aws: Aws) -> Iterator[AwsSecretsManagerBackend]:
    made = AwsSecretsManagerBackend(region=aws.region, endpoint_url=aws.url, timeout=5)
    yield made
    made.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


ON_WRITE: list[tuple[Answer | Fault, type[RotatorError]]] = [
    (refusal("AccessDeniedException"), BackendDenied),
    (refusal("ExpiredTokenException"), BackendDenied),
    (refusal("UnrecognizedClientException"), BackendDenied),
    (refusal("EncryptionFailure"), BackendDenied),
    (refusal("LimitExceededException"), WrongDestination),
    (refusal("InvalidRequestException"), WrongDestination),
    (refusal("NeverHeardOfException"), WrongDestination),
    (refusal("InternalServiceError", 500), OutcomeUnknown),
    (refusal("ServiceUnavailable", 503), OutcomeUnknown),
    (Fault.LOST_REQUEST, OutcomeUnknown),
    (Fault.LOST_ANSWER, OutcomeUnknown),
]


@pytest.mark.parametrize("action", ["PutSecretValue", "UpdateSecretVersionStage"])
@pytest.mark.parametrize(("fault", "error"), ON_WRITE)
def test_each_failure_of_a_write_is_one_error_sent_once_with_nothing_quoted(
    aws: Aws, backend: AwsSecretsManagerBackend, action: str, fault: Answer | Fault, error: type[RotatorError]
) -> None:
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    seen, before = backend.read(at(secret_id)).version, aws.changing_requests().count(action)
    aws.proxy.break_once(is_call(action), fault)
    with pytest.raises(error, match=f"secretsmanager:{action} on {secret_id}") as failure:
        backend.write(at(secret_id), NEW, some_metadata(), seen)
    assert aws.changing_requests().count(action) == before + 1
    assert "tgp_v1_" not in f"{failure.value!r} {failure.value.__cause__!r}"


@pytest.mark.parametrize("action", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_a_throttled_change_is_sent_again_for_it_was_not_carried_out(
    aws: Aws, backend: AwsSecretsManagerBackend, action: str
) -> None:
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    for _ in range(2):
        aws.proxy.break_once(is_call(action), refusal("ThrottlingException"))
    backend.write(at(secret_id), NEW, some_metadata(), backend.read(at(secret_id)).version)
    assert json.loads(aws.get(secret_id))[FIELD] == NEW.reveal()
    for _ in range(3):
        aws.proxy.break_once(is_call(action), refusal("ThrottlingException"))
    with pytest.raises(BackendUnavailable, match=f"secretsmanager:{action} on {secret_id}: throttled"):
        backend.write(at(secret_id), SecretValue("tgp_v1_newer"), some_metadata(), backend.read(at(secret_id)).version)


@pytest.mark.parametrize("fault", [refusal("ThrottlingException"), refusal("InternalServiceError", 500)])
def test_a_read_is_repeated_and_a_passing_fault_is_not_noticed(
    aws: Aws, backend: AwsSecretsManagerBackend, fault: Answer
) -> None:
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    aws.proxy.break_once(is_call("GetSecretValue"), fault)
    assert backend.read(at(secret_id)).value is not None


@pytest.mark.parametrize(
    ("fault", "error"),
    [(refusal("AccessDeniedException"), BackendDenied), (refusal("DecryptionFailure"), BackendDenied)],
)
def test_a_denied_read_names_the_action_and_the_secret(
    aws: Aws, backend: AwsSecretsManagerBackend, fault: Answer, error: type[RotatorError]
) -> None:
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    aws.proxy.break_once(is_call("GetSecretValue"), fault)
    with pytest.raises(error, match=f"secretsmanager:GetSecretValue on {secret_id}"):
        backend.read(at(secret_id))


def test_an_endpoint_that_is_not_there_is_unavailable(aws: Aws) -> None:
    backend = AwsSecretsManagerBackend(region=aws.region, endpoint_url="http://127.0.0.1:9", timeout=1)
    with pytest.raises(BackendUnavailable, match="EndpointConnectionError"):
        backend.read(at("app"))
    backend.close()


def test_without_credentials_or_with_an_unknown_profile_it_is_denied(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = AwsSecretsManagerBackend(region=aws.region, endpoint_url=aws.url, profile="nobody")
    with pytest.raises(BackendDenied, match="ProfileNotFound"):
        unknown.read(at("app"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    without = AwsSecretsManagerBackend(region=aws.region, endpoint_url=aws.url)
    with pytest.raises(BackendDenied, match="NoCredentialsError"):
        without.read(at("app"))
    without.close()


def test_reading_sends_no_changing_request(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    """A dry run and an audit change no key, no secret and no journal (Promise 6)."""
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    before = aws.changing_requests()
    backend.read(at(secret_id))
    backend.read_previous(at(secret_id))
    backend.check_writable(at(secret_id))
    assert aws.changing_requests() == before


NONSENSE = [
    Answer(200, b"<html>a proxy says hello tgp_v1_</html>"),
    Answer(200, b"{}"),
    Answer(200, b"[]"),
    Answer(200, b'{"ARN": 5, "VersionId": 5, "SecretString": 5, "VersionIdsToStages": "x", "Tags": [{}]}'),
]


@pytest.mark.parametrize("answer", NONSENSE, ids=["html", "empty", "a list", "other types"])
@pytest.mark.parametrize("action", ["GetSecretValue", "DescribeSecret"])
def test_an_answer_without_sense_to_a_read_is_no_answer(
    aws: Aws, backend: AwsSecretsManagerBackend, action: str, answer: Answer
) -> None:
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    aws.proxy.break_once(is_call(action), answer)
    with pytest.raises(BackendUnavailable, match=f"secretsmanager:{action} on {secret_id}") as failure:
        backend.read(at(secret_id))
    assert "tgp_v1_" not in f"{failure.value!r} {failure.value.__cause__!r}"


@pytest.mark.parametrize("answer", NONSENSE, ids=["html", "empty", "a list", "other types"])
def test_an_answer_without_sense_to_a_put_is_unknown(
    aws: Aws, backend: AwsSecretsManagerBackend, answer: Answer
) -> None:
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    seen = backend.read(at(secret_id)).version
    aws.proxy.break_once(is_call("PutSecretValue"), answer)
    with pytest.raises(OutcomeUnknown, match=f"secretsmanager:PutSecretValue on {secret_id}"):
        backend.write(at(secret_id), NEW, some_metadata(), seen)
    assert json.loads(aws.get(secret_id)) == {FIELD: "tgp_v1_old"}


def test_an_endpoint_that_does_not_answer_in_time_is_unavailable(aws: Aws, silent: str) -> None:
    backend = AwsSecretsManagerBackend(region=aws.region, endpoint_url=silent, timeout=0.05)
    with pytest.raises(BackendUnavailable, match="ReadTimeoutError"):
        backend.read(at("app"))
    backend.close()
