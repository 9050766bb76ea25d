"""Secrets Manager in memory, with the rules that moto does not keep. No HTTP, no rights: see ``strict_aws``.

Source: Secrets Manager API Reference, each action, and User Guide, "AWS Secrets Manager quotas" (2026-11):

- a ``ClientRequestToken`` (32 to 64 characters) never carries another content; a repeat of the same does nothing;
- the first version of a secret is ``AWSCURRENT``, whatever labels were asked for;
- a label is on one version; one that is elsewhere is moved only from the version that the caller names;
- ``AWSPREVIOUS`` follows ``AWSCURRENT``; a version without labels is deprecated, and not described;
- 65,536 bytes, 20 labels, 50 tags, 100 versions, of which those of the last 24 hours are never removed;
- RotateSecret refuses while ``AWSPENDING`` is on another version than ``AWSCURRENT``;
- what was just written may not be readable at once (``lag``: how many reads do not see it).
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_LARGEST, _LABELS, _TAGS, _VERSIONS, _DAY = 65_536, 20, 50, 100, 86_400
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_TAG = re.compile(r"[\w +\-=.:/@]{1,128}")
Asked = dict[str, Any]


class Refused(Exception):
    """An error of the service, by its code."""


@dataclass
class Version:
    content: str | None
    binary: str | None
    created: float
    labels: set[str] = field(default_factory=set)
    unseen: int = 0


@dataclass
class Secret:
    name: str
    arn: str
    kms_key_id: str = ""
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    replicas: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)  # what an operator or another service has set: RotationEnabled
    behind: tuple[str, int] = ("", 0)  # the version that is still shown as current, and how often

    def holder(self, label: str) -> str:
        return next((id_ for id_, version in self.versions.items() if label in version.labels), "")

    def label(self, version_id: str, label: str) -> None:
        former = self.holder(label)
        if former == version_id:
            return
        if former:
            self.versions[former].labels.discard(label)
        self.versions[version_id].labels.add(label)
        if label == "AWSCURRENT" and former:
            self.label(former, "AWSPREVIOUS")


class SecretsManager:
    """All accounts and regions. ``call`` is one request, by an account in a region."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str, str], Secret] = {}
        self.lag = 0
        self.now: Callable[[], float] = time.time

    def call(self, account: str, region: str, action: str, asked: Asked) -> Asked:
        if action == "CreateSecret":
            return self._create(account, region, asked)
        secret = self.find(account, region, asked["SecretId"])
        if secret is None:
            raise Refused("ResourceNotFoundException")
        if "DeletedDate" in secret.more and action not in {"DescribeSecret", "RestoreSecret"}:
            raise Refused("InvalidRequestException")
        handlers: dict[str, Callable[[Secret, Asked], Asked]] = {
            "GetSecretValue": self._get,
            "DescribeSecret": self._describe,
            "PutSecretValue": self._put,
            "UpdateSecretVersionStage": self._update_stage,
            "TagResource": self._tag,
            "DeleteSecret": self._delete,
            "RotateSecret": self._rotate,
        }
        if action not in handlers:
            raise Refused("UnknownOperationException")
        return {"ARN": secret.arn, "Name": secret.name, **handlers[action](secret, asked)}

    def find(self, account: str, region: str, secret_id: str) -> Secret | None:
        if secret_id.startswith("arn:"):
            ours = [one for key, one in self.secrets.items() if key[:2] == (account, region)]
            return next((one for one in ours if secret_id in {one.arn, one.arn[:-7]}), None)
        return self.secrets.get((account, region, secret_id))

    def _create(self, account: str, region: str, asked: Asked) -> Asked:
        name, content = asked["Name"], asked.get("SecretString")
        token = asked.get("ClientRequestToken") or str(uuid.uuid4())
        if not _NAME.fullmatch(name):
            raise Refused("ValidationException")
        there = self.secrets.get((account, region, name))
        if there is not None:
            if "DeletedDate" in there.more:
                raise Refused("InvalidRequestException")
            same = there.versions.get(token)
            if same is None or same.content != content:
                raise Refused("ResourceExistsException")
            return {"ARN": there.arn, "Name": name, "VersionId": token}
        arn = f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-{uuid.uuid4().hex[:6]}"
        secret = Secret(name, arn, asked.get("KmsKeyId", ""), asked.get("Description", ""))
        secret.replicas = [one["Region"] for one in asked.get("AddReplicaRegions") or ()]
        self._tag(secret, asked)
        if content is not None or "SecretBinary" in asked:
            self._add(secret, token, asked, [])
        self.secrets[account, region, name] = secret
        return {"ARN": arn, "Name": name, "VersionId": token if secret.versions else None}

    def _get(self, secret: Secret, asked: Asked) -> Asked:
        id_ = asked.get("VersionId") or self._shown(secret, asked.get("VersionStage", "AWSCURRENT"))
        version = secret.versions.get(id_)
        if version is None or (version.content is None and version.binary is None):
            raise Refused("ResourceNotFoundException")
        if version.unseen:
            version.unseen -= 1
            raise Refused("ResourceNotFoundException")
        content = {"SecretString": version.content} if version.content is not None else {"SecretBinary": version.binary}
        return {"VersionId": id_, "VersionStages": sorted(version.labels), "CreatedDate": version.created, **content}

    @staticmethod
    def _shown(secret: Secret, label: str) -> str:
        former, times = secret.behind
        if label == "AWSCURRENT" and times:
            secret.behind = (former, times - 1)
            return former
        return secret.holder(label)

    @staticmethod
    def _describe(secret: Secret, _asked: Asked) -> Asked:
        stages = {id_: sorted(version.labels) for id_, version in secret.versions.items() if version.labels}
        tags = [{"Key": key, "Value": text} for key, text in secret.tags.items()]
        return {"VersionIdsToStages": stages or None, "Tags": tags, "KmsKeyId": secret.kms_key_id, **secret.more}

    def _put(self, secret: Secret, asked: Asked) -> Asked:
        token = asked.get("ClientRequestToken") or str(uuid.uuid4())
        there = secret.versions.get(token)
        if there is not None and (there.content, there.binary) != (None, None):
            if (there.content, there.binary) != (asked.get("SecretString"), asked.get("SecretBinary")):
                raise Refused("ResourceExistsException")
            return {"VersionId": token, "VersionStages": sorted(there.labels)}
        self._add(secret, token, asked, asked.get("VersionStages") or ["AWSCURRENT"])
        return {"VersionId": token, "VersionStages": sorted(secret.versions[token].labels)}

    def _add(self, secret: Secret, token: str, asked: Asked, labels: list[str]) -> None:
        content, binary = asked.get("SecretString"), asked.get("SecretBinary")
        if not 32 <= len(token) <= 64 or len((content or binary or "").encode()) > _LARGEST:
            raise Refused("ValidationException")
        if len({label for one in secret.versions.values() for label in one.labels} | set(labels)) > _LABELS:
            raise Refused("LimitExceededException")
        old = [id_ for id_, one in secret.versions.items() if not one.labels and one.created < self.now() - _DAY]
        for id_ in sorted(old, key=lambda id_: secret.versions[id_].created)[: len(secret.versions) - _VERSIONS + 1]:
            del secret.versions[id_]
        if len(secret.versions) >= _VERSIONS:
            raise Refused("LimitExceededException")
        is_first = not any(one.content is not None or one.binary is not None for one in secret.versions.values())
        kept = secret.versions[token].labels if token in secret.versions else set()
        secret.versions[token] = Version(content, binary, self.now(), kept, self.lag)
        for label in {*labels, "AWSCURRENT"} if is_first else labels:
            secret.label(token, label)

    def _update_stage(self, secret: Secret, asked: Asked) -> Asked:
        label, source, target = asked["VersionStage"], asked.get("RemoveFromVersionId"), asked.get("MoveToVersionId")
        holder = secret.holder(label)
        if target and target not in secret.versions:
            raise Refused("ResourceNotFoundException")
        if (source and holder != source) or (target and holder not in {"", target, source}):
            raise Refused("InvalidParameterException")
        if label == "AWSCURRENT":
            if not target:
                raise Refused("InvalidParameterException")
            secret.behind = (holder, self.lag)
        if target:
            secret.label(target, label)
        elif source:
            secret.versions[source].labels.discard(label)
        return {}

    @staticmethod
    def _tag(secret: Secret, asked: Asked) -> Asked:
        given = {tag["Key"]: tag["Value"] for tag in asked.get("Tags") or ()}
        if any(not _TAG.fullmatch(key) or key.startswith("aws:") or len(text) > 256 for key, text in given.items()):
            raise Refused("InvalidParameterException")
        if len(secret.tags | given) > _TAGS:
            raise Refused("InvalidParameterException")
        secret.tags.update(given)
        return {}

    def _delete(self, secret: Secret, _asked: Asked) -> Asked:
        secret.more["DeletedDate"] = self.now()
        return {"DeletionDate": self.now()}

    def _rotate(self, secret: Secret, asked: Asked) -> Asked:
        """Begins a rotation, as the service does before it calls the function; the function is the test's."""
        if secret.holder("AWSPENDING") not in {"", secret.holder("AWSCURRENT")}:
            raise Refused("InvalidRequestException")
        token = asked.get("ClientRequestToken") or str(uuid.uuid4())
        secret.more["RotationEnabled"] = True
        secret.versions[token] = Version(None, None, self.now())
        secret.label(token, "AWSPENDING")
        return {"VersionId": token}
