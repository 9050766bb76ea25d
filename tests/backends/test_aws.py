"""The AWS backend against a real endpoint."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from rotator.adapters.backends.aws_secrets_manager import AwsSecretsManagerBackend
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import (
    OutcomeUnknown,
    VersionConflict,
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


def stages(aws: Aws, secret_id: str) -> dict[str, list[str]]:
    found = aws.root.describe_secret(SecretId=secret_id)["VersionIdsToStages"]
    return {version: sorted(labels) for version, labels in found.items() if labels}


@pytest.fixture
def backend(aws: Aws) -> Iterator[AwsSecretsManagerBackend]:
    made = AwsSecretsManagerBackend(region=aws.region, endpoint_url=aws.url, timeout=5)
    yield made
    made.close()


def test_a_publish_names_the_version_after_the_rotation_and_leaves_no_pending_label(
    aws: Aws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id, metadata = aws.new_secret({FIELD: "tgp_v1_old"}), some_metadata()
    before = backend.read(at(secret_id)).version
    backend.write(at(secret_id), NEW, metadata, before)
    assert stages(aws, secret_id) == {metadata.rotation_id: ["AWSCURRENT", "rotator"], before: ["AWSPREVIOUS"]}


def test_a_secret_without_a_field_is_the_value_itself(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    secret_id = aws.new_secret("tgp_v1_old")
    backend.check_writable(at(secret_id, None))
    backend.write(at(secret_id, None), NEW, some_metadata(), backend.read(at(secret_id, None)).version)
    assert aws.get(secret_id) == "tgp_v1_new"


def test_the_other_fields_keep_their_order_and_types(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    secret_id = aws.new_secret({"port": 5432, FIELD: "tgp_v1_old", "tls": True, "name": "Zoë"})
    backend.write(at(secret_id), NEW, some_metadata(), backend.read(at(secret_id)).version)
    assert aws.get(secret_id) == '{"port": 5432, "TOGETHER_API_KEY": "tgp_v1_new", "tls": true, "name": "Zoë"}'


def test_a_missing_secret_is_empty_to_read_and_refused_to_write(backend: AwsSecretsManagerBackend) -> None:
    place = at("no/such/secret")
    assert backend.read(place).value is None
    with pytest.raises(WrongDestination, match="does not exist; create it first"):
        backend.check_writable(place)
    with pytest.raises(WrongDestination):
        backend.write(place, NEW, some_metadata(), "")


def test_a_secret_scheduled_for_deletion_is_refused(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    aws.root.delete_secret(SecretId=secret_id, RecoveryWindowInDays=7)
    with pytest.raises(WrongDestination, match="scheduled for deletion"):
        backend.read(at(secret_id))
    with pytest.raises(WrongDestination, match="scheduled for deletion"):
        backend.check_writable(at(secret_id))


def test_a_secret_that_aws_rotates_itself_is_refused(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    aws.root.rotate_secret(SecretId=secret_id, RotationRules={"AutomaticallyAfterDays": 30})
    with pytest.raises(WrongDestination, match="AWS's own rotation is enabled"):
        backend.check_writable(at(secret_id))


def test_a_binary_secret_is_refused(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    name = f"test/{uuid.uuid4().hex}"
    aws.root.create_secret(Name=name, SecretBinary=b"tgp_v1_old")
    with pytest.raises(WrongDestination, match="binary"):
        backend.read(at(name, None))


@pytest.mark.parametrize("content", ["tgp_v1_no_json", '["tgp_v1_list"]', '{"TOGETHER_API_KEY": {"a": "tgp_v1_"}}'])
def test_a_secret_that_holds_no_text_in_that_field_is_refused_without_quoting_it(
    aws: Aws, backend: AwsSecretsManagerBackend, content: str
) -> None:
    secret_id = aws.new_secret(content)
    with pytest.raises(WrongDestination) as refused:
        backend.check_writable(at(secret_id))
    assert "tgp_v1_" not in f"{refused.value!r} {refused.value.__context__!r}"


@pytest.mark.parametrize(("secret_id", "field"), [("", FIELD), ("app", "semi;colon"), ("app", "F" * 128)])
def test_options_that_name_no_secret_or_make_no_tag_are_refused(
    backend: AwsSecretsManagerBackend, secret_id: str, field: str
) -> None:
    with pytest.raises(WrongDestination):
        backend.read(at(secret_id, field))


def test_a_secret_over_the_size_limit_is_refused_before_it_is_sent(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    secret_id = aws.new_secret({"big": "x" * 65_500})
    version, before = backend.read(at(secret_id)).version, aws.changing_requests()
    with pytest.raises(WrongDestination, match="65536 bytes"):
        backend.write(at(secret_id), NEW, some_metadata(), version)
    assert aws.changing_requests() == before


def test_the_endpoint_is_as_strict_as_aws(aws: Aws) -> None:
    """The two rules of PutSecretValue that moto alone does not enforce."""
    secret_id, token = aws.new_secret("a"), str(uuid.uuid4())
    put = {"SecretId": secret_id, "ClientRequestToken": token, "VersionStages": ["AWSPENDING"]}
    aws.root.put_secret_value(**put, SecretString="b")
    aws.root.put_secret_value(**put, SecretString="b")
    with pytest.raises(aws.root.exceptions.ResourceExistsException):
        aws.root.put_secret_value(**put, SecretString="c")
    with pytest.raises(aws.root.exceptions.ClientError, match="ValidationException"):
        aws.root.put_secret_value(SecretId=secret_id, SecretString="x" * 65_537)


def test_a_repeat_after_another_field_changed_gets_a_derived_token(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    secret_id, metadata = aws.new_secret({FIELD: "tgp_v1_old", "other": "1"}), some_metadata()
    aws.proxy.break_once(is_call("UpdateSecretVersionStage"), refusal("LimitExceededException"))
    with pytest.raises(WrongDestination):
        backend.write(at(secret_id), NEW, metadata, backend.read(at(secret_id)).version)
    aws.root.put_secret_value(SecretId=secret_id, SecretString=json.dumps({FIELD: "tgp_v1_old", "other": "2"}))
    backend.write(at(secret_id), NEW, metadata, backend.read(at(secret_id)).version)
    held = backend.read(at(secret_id))
    assert json.loads(aws.get(secret_id)) == {FIELD: "tgp_v1_new", "other": "2"}
    assert held.version != metadata.rotation_id
    assert held.metadata["rotation_id"] == metadata.rotation_id


def test_a_repeat_with_the_same_content_goes_on_with_the_pending_version(
    aws: Aws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id, metadata = aws.new_secret({FIELD: "tgp_v1_old"}), some_metadata()
    seen = backend.read(at(secret_id)).version
    aws.proxy.break_once(is_call("UpdateSecretVersionStage"), Fault.LOST_REQUEST)
    with pytest.raises(OutcomeUnknown):
        backend.write(at(secret_id), NEW, metadata, seen)
    assert json.loads(aws.get(secret_id)) == {FIELD: "tgp_v1_old"}
    backend.write(at(secret_id), NEW, metadata, seen)
    assert stages(aws, secret_id) == {metadata.rotation_id: ["AWSCURRENT", "rotator"], seen: ["AWSPREVIOUS"]}


def test_a_move_whose_answer_was_lost_is_unknown_and_a_repeat_finds_it_done(
    aws: Aws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id, metadata = aws.new_secret({FIELD: "tgp_v1_old"}), some_metadata()
    seen = backend.read(at(secret_id)).version
    aws.proxy.break_once(is_call("UpdateSecretVersionStage"), Fault.LOST_ANSWER)
    with pytest.raises(OutcomeUnknown):
        backend.write(at(secret_id), NEW, metadata, seen)
    assert json.loads(aws.get(secret_id)) == {FIELD: "tgp_v1_new"}
    backend.write(at(secret_id), NEW, metadata, seen)
    held = backend.read(at(secret_id))
    assert (held.version, dict(held.metadata)) == (metadata.rotation_id, metadata.as_pairs())


def test_a_writer_between_our_look_and_our_move_wins_and_no_pending_label_stays(
    aws: Aws, backend: AwsSecretsManagerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else writes the destination in the middle: their value wins (Promise 5)."""
    secret_id = aws.new_secret({FIELD: "tgp_v1_old"})
    seen, promote = backend.read(at(secret_id)).version, backend._promote

    def after_theirs(*args: object) -> None:
        aws.root.put_secret_value(SecretId=secret_id, SecretString=json.dumps({FIELD: "tgp_v1_theirs"}))
        promote(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(backend, "_promote", after_theirs)
    with pytest.raises(VersionConflict):
        backend.write(at(secret_id), NEW, some_metadata(), seen)
    assert json.loads(aws.get(secret_id)) == {FIELD: "tgp_v1_theirs"}
    assert sorted(stages(aws, secret_id).values()) == [["AWSCURRENT"], ["AWSPREVIOUS"]]


def test_tags_that_fail_after_the_value_say_so_and_a_repeat_completes_them(
    aws: Aws, backend: AwsSecretsManagerBackend
) -> None:
    secret_id, metadata = aws.new_secret({FIELD: "tgp_v1_old"}), some_metadata()
    seen = backend.read(at(secret_id)).version
    aws.proxy.break_once(is_call("TagResource"), refusal("AccessDeniedException"))
    with pytest.raises(OutcomeUnknown, match="the value is current"):
        backend.write(at(secret_id), NEW, metadata, seen)
    backend.write(at(secret_id), NEW, metadata, seen)
    assert dict(backend.read(at(secret_id)).metadata) == metadata.as_pairs()
    assert stages(aws, secret_id) == {metadata.rotation_id: ["AWSCURRENT", "rotator"], seen: ["AWSPREVIOUS"]}


def test_tags_of_others_are_kept_and_a_full_list_is_found_before(aws: Aws, backend: AwsSecretsManagerBackend) -> None:
    secret_id = aws.new_secret({"other": "1"})
    aws.root.tag_resource(SecretId=secret_id, Tags=[{"Key": "owner", "Value": "team-a"}])
    metadata = some_metadata(policy="täg; <chat>")
    backend.write(at(secret_id), NEW, metadata, backend.read(at(secret_id)).version)
    tags = {tag["Key"]: tag["Value"] for tag in aws.root.describe_secret(SecretId=secret_id)["Tags"]}
    assert (tags["owner"], tags[f"rotator:{FIELD}:policy"]) == ("team-a", "täg_ _chat_")
    more = [{"Key": f"tag-{number}", "Value": "x"} for number in range(41)]
    aws.root.tag_resource(SecretId=secret_id, Tags=more)
    with pytest.raises(WrongDestination, match="no room left"):
        backend.check_writable(at(secret_id))
