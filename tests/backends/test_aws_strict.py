"""The AWS backend against an endpoint that keeps the rules which moto does not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.adapters.backends.aws_secrets_manager import PATIENCE, AwsAccess, AwsSecretsManagerBackend
from rotator.domain.layout import Layout
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import OutcomeUnknown, VersionConflict, WrongDestination
from tests.backends.conftest import some_metadata
from tests.backends.proxy import Answer, Fault, Matches
from tests.parts.strict_aws import ACCOUNT, OTHER_ACCOUNT, StrictAws

FIELD = "TOGETHER_API_KEY"
NEW = SecretValue("tgp_v1_new")


def at(secret_id: str, field: str | None = FIELD, *, create: dict[str, Any] | None = None, **more: Any) -> Destination:
    options = {"secret_id": secret_id, **({"field": field} if field else {})}
    if create is not None:
        options["create"] = json.dumps(create)
    if more.pop("managed_rotation", False):
        options["managed_rotation"] = "allow"
    return Destination("aws", f"aws:{secret_id}", tuple(options.items()), **more)


def is_call(action: str) -> Matches:
    return lambda request: request.target == action


def refusal(code: str) -> Answer:
    return Answer(400, json.dumps({"__type": code, "message": "refused"}).encode())


class Pauses(list[timedelta]):
    """A clock that does not wait."""

    def __call__(self, pause: timedelta) -> None:
        self.append(pause)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def backend(strict_aws: StrictAws, pauses: Pauses) -> Iterator[AwsSecretsManagerBackend]:
    access = AwsAccess(region=strict_aws.region, endpoint_url=strict_aws.url, sts_endpoint_url=strict_aws.url)
    made = AwsSecretsManagerBackend(access, pause=pauses)
    yield made
    made.close()


def publish(backend: AwsSecretsManagerBackend, place: Destination, value: SecretValue = NEW, **facts: str) -> str:
    metadata = some_metadata(**facts)
    backend.check_writable(place)
    backend.write(place, value, metadata, backend.read(place).version)
    return metadata.rotation_id


def requests(aws: StrictAws, since: int = 0) -> list[str]:
    return [request.target or "STS" for request in aws.proxy.requests[since:]]


def labels(aws: StrictAws, secret_id: str) -> dict[str, list[str]]:
    versions = aws.secret(secret_id).versions.items()
    return {version_id: sorted(version.labels) for version_id, version in versions if version.labels}


# --- what is put, and how often is asked ------------------------------------------------------------------------------


def test_a_preflight_is_two_requests_and_a_write_six(strict_aws: StrictAws, backend: AwsSecretsManagerBackend) -> None:
    """With the looks before and after, of two each, a rotation is twelve. The module's docstring says why."""
    place = at(strict_aws.new_secret({FIELD: "tgp_v1_old"}))
    seen, since = backend.read(place).version, len(strict_aws.proxy.requests)
    backend.check_writable(place)
    assert requests(strict_aws, since) == ["DescribeSecret", "GetSecretValue"]
    since = len(strict_aws.proxy.requests)
    backend.write(place, NEW, some_metadata(), seen)
    assert requests(strict_aws, since) == [
        "GetSecretValue",
        "PutSecretValue",
        "GetSecretValue",
        "UpdateSecretVersionStage",
        "TagResource",
        "UpdateSecretVersionStage",
    ]


def test_where_a_secret_is_costs_one_request_once(strict_aws: StrictAws, backend: AwsSecretsManagerBackend) -> None:
    place = at(strict_aws.new_secret({FIELD: "tgp_v1_old"}))
    since = len(strict_aws.proxy.requests)
    assert backend.whereabouts(place) == {"account": ACCOUNT, "region": strict_aws.region}
    assert backend.whereabouts(place) == {"account": ACCOUNT, "region": strict_aws.region}
    assert requests(strict_aws, since) == ["DescribeSecret"]


def test_a_template_and_fields_beside_it_are_one_version_and_the_key_is_found_in_it(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    layout = Layout(template='{"api_key": "Bearer {key}", "id": "{key_id}"}', beside=(("EXPIRES", "expires"),))
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old", "other": "kept"})
    place = at(secret_id, layout=layout)
    publish(backend, place, key_id="key_9")
    content = json.loads(strict_aws.get(secret_id))
    assert json.loads(content[FIELD]) == {"api_key": "Bearer tgp_v1_new", "id": "key_9"}
    assert (content["EXPIRES"], content["other"]) == (some_metadata().expires, "kept")
    held, previous = backend.read(place).value, backend.read_previous(place)
    assert (held.reveal() if held else None, previous.reveal() if previous else None) == ("tgp_v1_new", "tgp_v1_old")
    assert len(strict_aws.secret(secret_id).versions) == 2


def test_a_value_of_another_form_is_refused_by_the_name_of_its_destination(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id = strict_aws.new_secret({"no": "tgp_v1_form"})
    with pytest.raises(WrongDestination, match=f"aws:{secret_id}: what it holds does not have the form") as refused:
        backend.read(at(secret_id, None, layout=Layout(template='{"api_key": "{key}"}')))
    assert "tgp_v1_" not in f"{refused.value!r} {refused.value.__context__!r}"


def test_when_it_was_changed_is_told(strict_aws: StrictAws, backend: AwsSecretsManagerBackend) -> None:
    moment = datetime(2026, 11, 1, 12, tzinfo=UTC)
    strict_aws.service.now = moment.timestamp
    assert backend.read(at(strict_aws.new_secret({FIELD: "tgp_v1_old"}))).changed_at == moment


def test_the_first_version_of_an_empty_secret_is_current_at_once_and_that_is_no_conflict(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id = strict_aws.new_secret()
    rotation_id = publish(backend, at(secret_id))
    assert labels(strict_aws, secret_id) == {rotation_id: ["AWSCURRENT", "rotator"]}


# --- creation -------------------------------------------------------------------------------------------------------


def test_a_missing_secret_is_created_once_as_the_policy_says(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    create = {
        "kms_key_id": "alias/apps",
        "description": "of the chat",
        "tags": {"owner": "team-a"},
        "replica_regions": ["eu-west-1"],
    }
    place, metadata = at("apps/chat", create=create), some_metadata()
    backend.check_writable(place)
    assert "CreateSecret" not in requests(strict_aws)
    backend.write(place, NEW, metadata, backend.read(place).version)
    made = strict_aws.secret("apps/chat")
    assert (made.kms_key_id, made.description, made.replicas) == ("alias/apps", "of the chat", ["eu-west-1"])
    assert made.tags["owner"] == "team-a"
    assert labels(strict_aws, "apps/chat") == {metadata.rotation_id: ["AWSCURRENT"]}
    held = backend.read(place)
    assert (held.version, dict(held.metadata)) == (metadata.rotation_id, metadata.as_pairs())
    assert json.loads(strict_aws.get("apps/chat")) == {FIELD: "tgp_v1_new"}


def test_a_creation_whose_answer_was_lost_is_found_by_a_repeat(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    place, metadata = at("apps/chat", create={}), some_metadata()
    strict_aws.proxy.break_once(is_call("CreateSecret"), Fault.LOST_ANSWER)
    with pytest.raises(OutcomeUnknown, match="secretsmanager:CreateSecret on apps/chat"):
        backend.write(place, NEW, metadata, "")
    backend.write(place, NEW, metadata, "")
    assert list(strict_aws.secret("apps/chat").versions) == [metadata.rotation_id]


def test_a_secret_that_somebody_else_creates_in_between_is_a_conflict(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    place = at("apps/chat", create={})
    strict_aws.proxy.break_once(is_call("DescribeSecret"), refusal("ResourceNotFoundException"))
    strict_aws.proxy.break_once(is_call("GetSecretValue"), refusal("ResourceNotFoundException"))
    strict_aws.root.create_secret(Name="apps/chat", SecretString=json.dumps({FIELD: "tgp_v1_theirs"}))
    with pytest.raises(VersionConflict, match="somebody else created the secret"):
        backend.write(place, NEW, some_metadata(), "")
    assert json.loads(strict_aws.get("apps/chat")) == {FIELD: "tgp_v1_theirs"}


def test_a_missing_secret_is_known_by_the_account_that_would_get_it_and_refused_before_it_is_created(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    """The new key in the wrong environment, and the old one revoked: that must not happen."""
    assert backend.whereabouts(at("apps/chat")) == {"account": ACCOUNT, "region": strict_aws.region}
    place = at("apps/chat", create={}, expect=(("account", OTHER_ACCOUNT),))
    with pytest.raises(WrongDestination, match=f"account should be {OTHER_ACCOUNT}, and AWS says {ACCOUNT}"):
        backend.check_writable(place)


def test_a_secret_in_another_account_is_refused_by_every_call(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    place = at(strict_aws.new_secret({FIELD: "tgp_v1_old"}), expect=(("account", OTHER_ACCOUNT),))
    before = strict_aws.changing_requests()
    for call in (
        lambda: backend.read(place),
        lambda: backend.check_writable(place),
        lambda: backend.write(place, NEW, some_metadata(), "any"),
    ):
        with pytest.raises(WrongDestination, match=f"account should be {OTHER_ACCOUNT}"):
            call()
    assert strict_aws.changing_requests() == before


# --- what others are doing --------------------------------------------------------------------------------------------


def test_a_pending_version_of_ours_is_taken_over(strict_aws: StrictAws, backend: AwsSecretsManagerBackend) -> None:
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old"})
    first, before = some_metadata(), backend.read(at(secret_id)).version
    strict_aws.proxy.break_once(is_call("UpdateSecretVersionStage"), refusal("LimitExceededException"))
    with pytest.raises(WrongDestination):
        backend.write(at(secret_id), SecretValue("tgp_v1_given_up"), first, before)
    assert labels(strict_aws, secret_id)[first.rotation_id] == ["AWSPENDING", "rotator"]
    rotation_id = publish(backend, at(secret_id))
    assert labels(strict_aws, secret_id) == {rotation_id: ["AWSCURRENT", "rotator"], before: ["AWSPREVIOUS"]}


def test_a_pending_version_of_a_rotation_function_is_refused_before_anything_is_changed(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    """As RotateSecret itself refuses, however old the pending version is."""
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old"})
    publish(backend, at(secret_id))
    strict_aws.root.rotate_secret(SecretId=secret_id)
    before = strict_aws.changing_requests()
    with pytest.raises(WrongDestination, match=r"somebody else's rotation .* is in progress: .*remove-from-version-id"):
        backend.check_writable(at(secret_id, managed_rotation=True))
    assert strict_aws.changing_requests() == before


def test_a_pending_label_on_the_current_version_is_a_finished_rotation(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old"})
    secret = strict_aws.secret(secret_id)
    secret.label(secret.holder("AWSCURRENT"), "AWSPENDING")
    rotation_id = publish(backend, at(secret_id))
    assert labels(strict_aws, secret_id)[rotation_id] == ["AWSCURRENT", "rotator"]


def test_a_secret_that_aws_rotates_is_written_where_the_policy_allows_it(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old"})
    strict_aws.secret(secret_id).more["RotationEnabled"] = True
    with pytest.raises(WrongDestination, match="managed_rotation: allow"):
        backend.check_writable(at(secret_id))
    publish(backend, at(secret_id, managed_rotation=True))


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"OwningService": "rds"}, "belongs to the AWS service rds"),
        ({"PrimaryRegion": "us-east-1"}, "is a replica; write it in us-east-1"),
        ({"DeletedDate": 1.0}, "scheduled for deletion"),
    ],
)
def test_what_can_not_be_written_is_known_before(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend, more: dict[str, Any], problem: str
) -> None:
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old"})
    strict_aws.secret(secret_id).more.update(more)
    with pytest.raises(WrongDestination, match=problem):
        backend.check_writable(at(secret_id))


def test_a_secret_without_room_for_labels_is_refused_before(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old"})
    secret = strict_aws.secret(secret_id)
    for number in range(17):
        secret.label(secret.holder("AWSCURRENT"), f"release-{number}")
    with pytest.raises(WrongDestination, match="no room left for staging labels"):
        backend.check_writable(at(secret_id))


def test_a_secret_with_a_hundred_versions_of_today_says_which_quota_is_used_up(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old"})
    for number in range(99):
        strict_aws.root.put_secret_value(SecretId=secret_id, SecretString=json.dumps({FIELD: f"tgp_v1_{number}"}))
    with pytest.raises(WrongDestination, match=r"a quota of the secret is used up \(LimitExceededException\)"):
        publish(backend, at(secret_id))
    strict_aws.service.now = lambda: datetime.now(UTC).timestamp() + 90_000
    publish(backend, at(secret_id))


# --- eventual consistency ---------------------------------------------------------------------------------------------


def test_a_version_that_is_not_readable_at_once_is_waited_for(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend, pauses: Pauses
) -> None:
    place = at(strict_aws.new_secret({FIELD: "tgp_v1_old"}))
    seen = backend.read(place).version
    strict_aws.service.lag = 2
    backend.write(place, NEW, some_metadata(), seen)
    held = backend.read(place).value
    assert held is not None
    assert held.same_as(NEW)
    assert pauses == [*PATIENCE[:2], *PATIENCE[:2]]  # the pending version; then the one that is current


def test_a_version_that_stays_unreadable_is_unknown_and_never_made_current(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend, pauses: Pauses
) -> None:
    secret_id = strict_aws.new_secret({FIELD: "tgp_v1_old"})
    seen = backend.read(at(secret_id)).version
    strict_aws.service.lag = 99
    with pytest.raises(OutcomeUnknown, match="does not read back"):
        backend.write(at(secret_id), NEW, some_metadata(), seen)
    assert pauses == list(PATIENCE)
    assert json.loads(strict_aws.get(secret_id)) == {FIELD: "tgp_v1_old"}


def test_a_version_that_somebody_has_put_back_is_believed_after_a_while(
    strict_aws: StrictAws, backend: AwsSecretsManagerBackend, pauses: Pauses
) -> None:
    place = at(strict_aws.new_secret({FIELD: "tgp_v1_old"}))
    before = backend.read(place).version
    rotation_id = publish(backend, place)
    strict_aws.root.update_secret_version_stage(
        SecretId=place.option("secret_id"),
        VersionStage="AWSCURRENT",
        MoveToVersionId=before,
        RemoveFromVersionId=rotation_id,
    )
    assert backend.read(place).version == before
    assert pauses == list(PATIENCE)
    assert backend.read(place).version == before
    assert pauses == list(PATIENCE)


# --- the endpoint itself ----------------------------------------------------------------------------------------------


def test_the_endpoint_keeps_the_rules_of_tokens_labels_and_sizes(strict_aws: StrictAws) -> None:
    root, secret_id = strict_aws.root, strict_aws.new_secret("a")
    put = {"SecretId": secret_id, "ClientRequestToken": str(uuid.uuid4()), "VersionStages": ["AWSPENDING"]}
    root.put_secret_value(**put, SecretString="b")
    root.put_secret_value(**put, SecretString="b")
    current = strict_aws.secret(secret_id).holder("AWSCURRENT")
    move = {"SecretId": secret_id, "VersionStage": "AWSCURRENT", "MoveToVersionId": put["ClientRequestToken"]}
    for refused, code in (
        (lambda: root.put_secret_value(**put, SecretString="c"), "ResourceExistsException"),
        (lambda: root.put_secret_value(SecretId=secret_id, SecretString="x" * 65_537), "ValidationException"),
        (lambda: root.update_secret_version_stage(**move), "InvalidParameterException"),
        (lambda: root.rotate_secret(SecretId=secret_id), "InvalidRequestException"),
    ):
        with pytest.raises(root.exceptions.ClientError, match=code):
            refused()
    root.update_secret_version_stage(**move, RemoveFromVersionId=current)
    assert labels(strict_aws, secret_id) == {
        put["ClientRequestToken"]: ["AWSCURRENT", "AWSPENDING"],
        current: ["AWSPREVIOUS"],
    }
