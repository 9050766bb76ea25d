"""Secrets in AWS Secrets Manager.

Options of a destination: ``secret_id`` (name or ARN) and, where the secret is a JSON object, ``field``.

- **Version**: the ``VersionId`` under ``AWSCURRENT``; empty where the secret has no value yet or does not exist. A
  write keeps the object's other fields, puts a version under ``AWSPENDING``, reads that very version back, and moves
  ``AWSCURRENT`` from the expected version to it: AWS refuses the move when the label is elsewhere
  (UpdateSecretVersionStage, ``RemoveFromVersionId``), which is the compare-and-set.
- **Token**: the rotation id, so the version id names its rotation. AWS lets a token never carry another content
  (PutSecretValue, ``ClientRequestToken``). When a repeat has to (another field changed meanwhile), the token is
  derived from the rotation id and the fingerprint of the content: again the same for the same content.
- **Hints**: tags ``rotator:<field>:<name>`` (``rotator:<name>`` without a field), so that consumers of the JSON see
  nothing new. Limits (AWS General Reference, tagging): 50 tags, 128 and 256 characters, letters, digits, blanks and
  ``+-=._:/@``; other characters of a hint become ``_``. That is five managed fields in one secret.
- The label is moved first. When tags or the clean-up of ``AWSPENDING`` then fail, ``OutcomeUnknown`` says that the
  value is there: the caller looks, finds it, and goes on.
- A secret is never created here; one that AWS itself rotates is refused.
- **Least rights**: ``GetSecretValue``, ``DescribeSecret``; for writing ``PutSecretValue``,
  ``UpdateSecretVersionStage``, ``TagResource``; with a key of one's own ``kms:Decrypt`` and ``kms:GenerateDataKey``.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rotator.adapters.backends.aws_content import (
    MOST_TAGS,
    Place,
    Version,
    as_tags,
    hints_in,
    place_of,
    tags_of,
    value_in,
    with_value,
)
from rotator.adapters.backends.aws_errors import translated
from rotator.domain.model import Destination, Held, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, OutcomeUnknown, RotatorError, VersionConflict, WrongDestination

_ARN_PARTS = 5
_MISSING = frozenset({"ResourceNotFoundException"})


class AwsSecretsManagerBackend:
    """A ``rotator.ports.SecretBackend`` over Secrets Manager.

    :param endpoint_url: another endpoint (a VPC endpoint, a test server); AWS's own where ``None``.
    :param profile: of the shared AWS configuration; the usual chain of credentials where ``None``.
    :param timeout: seconds to connect, and again between two bytes of an answer.
    :param pool_size: connections that are kept; as many as threads use it at a time.
    """

    def __init__(
        self,
        *,
        region: str,
        endpoint_url: str | None = None,
        profile: str | None = None,
        timeout: float = 10.0,
        pool_size: int = 10,
    ) -> None:
        self._region = region
        self._endpoint_url = endpoint_url
        self._profile = profile
        self._timeout = timeout
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._clients: tuple[Any, Any] | None = None

    def read(self, destination: Destination) -> Held:
        """See the port. Two requests: the value, and the tags."""
        place = place_of(destination)
        current = self._version(place, VersionStage="AWSCURRENT")
        hints = hints_in(place, self._describe(place) or {})
        return Held(value=value_in(place, current), version=current.version_id, metadata=hints)

    def read_previous(self, destination: Destination) -> SecretValue | None:
        """The value under ``AWSPREVIOUS``; ``None`` when it is the current one (another field was changed)."""
        place = place_of(destination)
        previous = value_in(place, self._version(place, VersionStage="AWSPREVIOUS"))
        current = value_in(place, self._version(place, VersionStage="AWSCURRENT"))
        return None if previous is None or (current is not None and previous.same_as(current)) else previous

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:
        """See the port: ``account`` and ``region``, as the secret's ARN has them."""
        arn = str((self._describe(place_of(destination)) or {}).get("ARN", ""))
        parts = arn.split(":")
        return {"region": parts[3], "account": parts[4]} if len(parts) > _ARN_PARTS else {}

    def check_writable(self, destination: Destination) -> None:
        """See the port. Rights to write can't be known without writing."""
        place = place_of(destination)
        described = self._describe(place)
        if described is None:
            raise WrongDestination(f"{place.name}: the secret {place.secret_id} does not exist; create it first")
        if described.get("DeletedDate"):
            raise WrongDestination(f"{place.name}: the secret {place.secret_id} is scheduled for deletion")
        if described.get("RotationEnabled"):
            raise WrongDestination(f"{place.name}: AWS's own rotation is enabled on {place.secret_id}")
        names = {place.prefix + name for name in KeyMetadata.__slots__}
        if len(names | set(tags_of(described))) > MOST_TAGS:
            raise WrongDestination(f"{place.name}: the secret has no room left for tags ({MOST_TAGS})")
        value_in(place, self._version(place, VersionStage="AWSCURRENT"))

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """See the port. Put as pending, read back, make current, tag, take the pending label away."""
        place = place_of(destination)
        current = self._version(place, VersionStage="AWSCURRENT")
        held = value_in(place, current)
        if held is not None and held.same_as(value):
            self._finish(place, current.version_id, metadata)
            return
        if current.version_id != expected:
            raise VersionConflict(f"{place.name}: the current version is no longer the expected one")
        content = SecretValue(with_value(place, current.content, value))
        version_id = self._put(place, content, metadata.rotation_id)
        back = self._version(place, VersionId=version_id).content
        if back is None or not content.same_as(SecretValue(back)):
            raise OutcomeUnknown(f"{place.name}: the pending version does not read back as it was written")
        self._promote(place, version_id, expected)
        self._finish(place, version_id, metadata)

    def close(self) -> None:
        """Give back connections."""
        with self._lock:
            for client in self._clients or ():
                client.close()
            self._clients = None

    def _version(self, place: Place, **which: str) -> Version:
        try:
            with translated("GetSecretValue", place.secret_id, changes=False, keep=_MISSING):
                answer = self._asking().get_secret_value(SecretId=place.secret_id, **which)
        except ClientError:
            return Version(None, "")
        if "SecretString" not in answer:
            raise WrongDestination(f"{place.name}: the secret is binary")
        return Version(answer["SecretString"], answer["VersionId"])

    def _describe(self, place: Place) -> Mapping[str, Any] | None:
        try:
            with translated("DescribeSecret", place.secret_id, changes=False, keep=_MISSING):
                described: Mapping[str, Any] = self._asking().describe_secret(SecretId=place.secret_id)
                return described
        except ClientError:
            return None

    def _put(self, place: Place, content: SecretValue, rotation_id: str) -> str:
        taken = frozenset({"ResourceExistsException"})
        try:
            with translated("PutSecretValue", place.secret_id, changes=True, keep=taken):
                return self._put_once(place, content, rotation_id)
        except ClientError:
            token = str(uuid.uuid5(uuid.NAMESPACE_OID, f"rotator {rotation_id} {content.fingerprint()}"))
        with translated("PutSecretValue", place.secret_id, changes=True):
            return self._put_once(place, content, token)

    def _put_once(self, place: Place, content: SecretValue, token: str) -> str:
        answer = self._changing().put_secret_value(
            SecretId=place.secret_id,
            ClientRequestToken=token,
            SecretString=content.reveal(),
            VersionStages=["AWSPENDING"],
        )
        return str(answer["VersionId"])

    def _promote(self, place: Place, version_id: str, expected: str) -> None:
        moved = {"RemoveFromVersionId": expected} if expected else {}
        refused = frozenset({"InvalidParameterException"})
        try:
            with translated("UpdateSecretVersionStage", place.secret_id, changes=True, keep=refused):
                self._changing().update_secret_version_stage(
                    SecretId=place.secret_id, VersionStage="AWSCURRENT", MoveToVersionId=version_id, **moved
                )
        except ClientError:
            if self._version(place, VersionStage="AWSCURRENT").version_id == version_id:
                return  # a repeat of a move that was carried out
            self._drop_pending(place, version_id)
            raise VersionConflict(f"{place.name}: somebody else wrote in between") from None

    def _finish(self, place: Place, version_id: str, metadata: KeyMetadata) -> None:
        try:
            self._tag(place, metadata)
            self._drop_pending(place, version_id)
        except RotatorError as error:
            raise OutcomeUnknown(f"{place.name}: the value is current; its tags or label are not right") from error

    def _drop_pending(self, place: Place, version_id: str) -> None:
        """Harmless to repeat, so the asking client may. Another writer can have taken the label already."""
        gone = frozenset({"InvalidParameterException", "ResourceNotFoundException"})
        with (
            suppress(ClientError),
            translated("UpdateSecretVersionStage", place.secret_id, changes=False, keep=gone),
        ):
            self._asking().update_secret_version_stage(
                SecretId=place.secret_id, VersionStage="AWSPENDING", RemoveFromVersionId=version_id
            )

    def _tag(self, place: Place, metadata: KeyMetadata) -> None:
        with translated("TagResource", place.secret_id, changes=False):
            self._asking().tag_resource(SecretId=place.secret_id, Tags=as_tags(place, metadata))

    def _asking(self) -> Any:  # noqa: ANN401 -- boto3 makes its classes at run time
        """The client for what is harmless to repeat: up to three attempts."""
        return self._connected()[0]

    def _changing(self) -> Any:  # noqa: ANN401 -- boto3 makes its classes at run time
        """The client that sends once."""
        return self._connected()[1]

    def _connected(self) -> tuple[Any, Any]:
        with self._lock:
            if self._clients is None:
                try:
                    session = boto3.Session(profile_name=self._profile, region_name=self._region)
                    self._clients = (self._client(session, attempts=3), self._client(session, attempts=1))
                except (BotoCoreError, ValueError) as error:
                    reason = type(error).__name__
                    raise BackendDenied(f"AWS: profile, region or endpoint can't be used ({reason})") from None
            return self._clients

    def _client(self, session: boto3.Session, *, attempts: int) -> Any:  # noqa: ANN401 -- boto3's
        config = Config(
            connect_timeout=self._timeout,
            read_timeout=self._timeout,
            max_pool_connections=self._pool_size,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )
        return session.client("secretsmanager", endpoint_url=self._endpoint_url, config=config)
