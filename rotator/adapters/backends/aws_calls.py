"""The requests to Secrets Manager, one method each, with errors as the port promises."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC
from typing import Any

import stamina
from botocore.exceptions import ClientError

from rotator.adapters.backends.aws_content import Creation, Place, Version, as_tags, tags_of
from rotator.adapters.backends.aws_errors import Throttled, text_in, translated
from rotator.adapters.backends.aws_preflight import CURRENT, MARK, PENDING
from rotator.adapters.backends.aws_session import AwsSession
from rotator.domain.model import KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import VersionConflict, WrongDestination

_MISSING = frozenset({"ResourceNotFoundException"})
_EXISTS = frozenset({"ResourceExistsException"})


_patiently = stamina.retry(on=Throttled, attempts=3, timeout=15, wait_initial=0.2, wait_max=2.0)
"""For changes: sent again where AWS asked for fewer requests, and in no other case."""


class AwsCalls:
    """What is asked of and told to Secrets Manager."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    def version(self, place: Place, **which: str) -> Version:
        """GetSecretValue; an empty one where there is no such secret or version."""
        try:
            with translated("GetSecretValue", place.secret_id, changes=False, keep=_MISSING):
                answer = self._session.asking().get_secret_value(SecretId=place.secret_id, **which)
                created = answer.get("CreatedDate")
                version = Version(
                    content=None if "SecretBinary" in answer else text_in(answer, "SecretString"),
                    version_id=text_in(answer, "VersionId"),
                    arn=text_in(answer, "ARN"),
                    created_at=created.astimezone(UTC) if created else None,
                )
        except ClientError:
            return Version()
        if version.content is None:
            raise WrongDestination(f"{place.name}: the secret is binary, and can't hold a key as text")
        return version

    def describe(self, place: Place) -> Mapping[str, Any] | None:
        """DescribeSecret; ``None`` where there is no such secret."""
        try:
            with translated("DescribeSecret", place.secret_id, changes=False, keep=_MISSING):
                described: Mapping[str, Any] = self._session.asking().describe_secret(SecretId=place.secret_id)
                text_in(described, "ARN")
                tags_of(described)
                return described
        except ClientError:
            return None

    def names(self, prefix: str) -> list[str]:
        """ListSecrets, all pages: the names that begin so. Secrets that are to be deleted are not among them."""
        filters = [{"Key": "name", "Values": [prefix]}] if prefix else []
        with translated("ListSecrets", prefix or "*", changes=False):
            pages = self._session.asking().get_paginator("list_secrets").paginate(Filters=filters)
            return [text_in(row, "Name") for page in pages for row in page["SecretList"]]

    def account(self, place: Place) -> str:
        """GetCallerIdentity: the account whose secret a name would be. It needs no permission."""
        with translated("GetCallerIdentity", place.secret_id, changes=False, service="sts"):
            return text_in(self._session.tokens().get_caller_identity(), "Account")

    @_patiently
    def put(self, place: Place, content: SecretValue, rotation_id: str) -> str:
        """PutSecretValue as pending; returns the version's id. A token of another content is derived anew."""
        try:
            with translated("PutSecretValue", place.secret_id, changes=True, keep=_EXISTS):
                return self._put(place, content, rotation_id)
        except ClientError:
            token = str(uuid.uuid5(uuid.NAMESPACE_OID, f"rotator {rotation_id} {content.fingerprint()}"))
        with translated("PutSecretValue", place.secret_id, changes=True):
            return self._put(place, content, token)

    @_patiently
    def create(self, place: Place, creation: Creation, content: SecretValue, metadata: KeyMetadata) -> str:
        """CreateSecret with its first version, which is current at once; returns its ARN."""
        more: dict[str, Any] = {}
        if creation.kms_key_id:
            more["KmsKeyId"] = creation.kms_key_id
        if creation.description:
            more["Description"] = creation.description
        if creation.replica_regions:
            more["AddReplicaRegions"] = [{"Region": region} for region in creation.replica_regions]
        tags = [{"Key": key, "Value": text} for key, text in creation.tags.items()]
        try:
            with translated("CreateSecret", place.secret_id, changes=True, keep=_EXISTS):
                answer = self._session.changing().create_secret(
                    Name=place.secret_id,
                    ClientRequestToken=metadata.rotation_id,
                    SecretString=content.reveal(),
                    Tags=[*tags, *as_tags(place, metadata)],
                    **more,
                )
                return text_in(answer, "ARN")
        except ClientError:
            raise VersionConflict(f"{place.name}: somebody else created the secret in between") from None

    @_patiently
    def move_current(self, place: Place, version_id: str, expected: str) -> bool:
        """UpdateSecretVersionStage; whether the label was where it was expected, and is moved."""
        moved = {"RemoveFromVersionId": expected} if expected else {}
        refused = frozenset({"InvalidParameterException"})
        try:
            with translated("UpdateSecretVersionStage", place.secret_id, changes=True, keep=refused):
                self._session.changing().update_secret_version_stage(
                    SecretId=place.secret_id, VersionStage=CURRENT, MoveToVersionId=version_id, **moved
                )
        except ClientError:
            return False
        return True

    def take_label(self, place: Place, label: str, version_id: str) -> None:
        """UpdateSecretVersionStage. Harmless to repeat; another writer can have taken the label already."""
        gone = frozenset({"InvalidParameterException", "ResourceNotFoundException"})
        with (
            suppress(ClientError),
            translated("UpdateSecretVersionStage", place.secret_id, changes=False, keep=gone),
        ):
            self._session.asking().update_secret_version_stage(
                SecretId=place.secret_id, VersionStage=label, RemoveFromVersionId=version_id
            )

    def tag(self, place: Place, metadata: KeyMetadata) -> None:
        """TagResource: the hints of this field."""
        with translated("TagResource", place.secret_id, changes=False):
            self._session.asking().tag_resource(SecretId=place.secret_id, Tags=as_tags(place, metadata))

    @_patiently
    def delete(self, place: Place) -> None:
        """DeleteSecret without a time for recovery. AWS carries it out a little later."""
        with translated("DeleteSecret", place.secret_id, changes=False):
            self._session.asking().delete_secret(SecretId=place.secret_id, ForceDeleteWithoutRecovery=True)

    def _put(self, place: Place, content: SecretValue, token: str) -> str:
        answer = self._session.changing().put_secret_value(
            SecretId=place.secret_id,
            ClientRequestToken=token,
            SecretString=content.reveal(),
            VersionStages=[PENDING, MARK],
        )
        return text_in(answer, "VersionId")
