"""An endpoint of AWS that is stricter than moto: Secrets Manager with its rules, IAM policies, KMS keys, and STS.

It is served by the tests' proxy, so that requests are counted and broken as with moto. Signatures are not checked; who
calls, and in which region, is read from the credential in the ``Authorization`` header.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import pytest

from tests.backends.proxy import Answer, Proxy, Request, Upstream
from tests.parts.aws import CREDENTIALS, OTHER_CREDENTIALS, ROOT, AwsEndpoint
from tests.parts.iam import Context, allows
from tests.parts.secrets_manager import Refused, Secret, SecretsManager

ACCOUNT, OTHER_ACCOUNT = "111111111111", "222222222222"
Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Principal:
    """Who calls. ``policy``: ``None`` allows everything."""

    account: str
    policy: Policy | None = None
    is_over: bool = False


@dataclass
class Role:
    """A role, what its trust policy asks for, and how long a session lasts."""

    arn: str
    policy: Policy | None = None
    external_id: str | None = None
    token: str | None = None
    seconds: int = 3600

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


class StrictAws(AwsEndpoint):
    """A context manager around one endpoint. Clients need ``CREDENTIALS`` in their environment, or ``new_user``'s."""

    def __init__(self) -> None:
        super().__init__()
        self.service = SecretsManager()
        self._lock = threading.Lock()
        self._principals = {ROOT: Principal(ACCOUNT)}
        self._roles: dict[str, Role] = {}
        self.sessions: list[str] = []  # access keys, in the order in which they were issued

    def __enter__(self) -> Self:
        self._proxy = Proxy("http://127.0.0.1:9", self._serve)
        self._proxy.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        self.proxy.__exit__(kind, error, trace)

    def new_user(self, policy: Policy | None = None, account: str = ACCOUNT) -> str:
        """An access key that may do what the policy says."""
        key = f"key{uuid.uuid4().hex[:12]}"
        self._principals[key] = Principal(account, policy)
        return key

    def new_role(self, account: str = ACCOUNT, **more: Any) -> Role:
        role = Role(f"arn:aws:iam::{account}:role/rotator-{uuid.uuid4().hex[:6]}", **more)
        self._roles[role.arn] = role
        return role

    def end_sessions(self) -> None:
        """What STS issued so far is no longer accepted."""
        for key in self.sessions:
            self._principals[key] = Principal(self._principals[key].account, is_over=True)

    def secret(self, name: str, account: str = ACCOUNT) -> Secret:
        found = self.service.find(account, self.region, name)
        assert found is not None, name
        return found

    def _serve(self, request: Request, _upstream: Upstream) -> Answer | None:
        found = re.search(r"Credential=([^/]+)/[0-9]+/([^/]+)/", request.headers.get("Authorization", ""))
        key, region = found.groups() if found else ("", "")
        with self._lock:
            if not request.target:
                return self._sts(key, {name: values[0] for name, values in parse_qs(request.body.decode()).items()})
            try:
                answer = self._secrets(key, region, request.target, json.loads(request.body))
            except Refused as error:
                return _json(400, {"__type": str(error), "message": "refused"})
            return _json(200, answer)

    def _secrets(self, key: str, region: str, action: str, asked: dict[str, Any]) -> dict[str, Any]:
        caller = self._principals.get(key)
        if caller is None or caller.is_over:
            raise Refused("ExpiredTokenException" if caller else "UnrecognizedClientException")
        if caller.policy is not None:
            for what, resource, context in self._rights(caller.account, region, action, asked):
                if not allows(caller.policy, what, resource, context):
                    raise Refused("AccessDeniedException")
        return self.service.call(caller.account, region, action, asked)

    def _rights(
        self, account: str, region: str, action: str, asked: dict[str, Any]
    ) -> Iterator[tuple[str, str, Context]]:
        """Every action, resource and context that a request needs to be allowed."""
        name = asked.get("SecretId") or asked["Name"]
        secret = self.service.find(account, region, name)
        # AWS draws an ending for a secret that does not exist too, before it decides.
        drawn = name if name.startswith("arn:") else f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-TAhdQc"
        arn = secret.arn if secret else drawn
        tags = [tag["Key"] for tag in asked.get("Tags") or ()]
        context: Context = {"aws:TagKeys": tags} if tags else {}
        yield f"secretsmanager:{action}", arn, context
        if action == "CreateSecret" and tags:
            yield "secretsmanager:TagResource", arn, context
        if asked.get("AddReplicaRegions"):
            yield "secretsmanager:ReplicateSecretToRegions", arn, {}
        kms = secret.kms_key_id if secret else asked.get("KmsKeyId", "")
        if kms and action in {"GetSecretValue", "PutSecretValue", "CreateSecret"}:
            via: Context = {"kms:ViaService": [f"secretsmanager.{region}.amazonaws.com"]}
            key, more = kms, via
            if kms.startswith("alias/"):
                key, more = "1234", {**via, "kms:ResourceAliases": [kms]}
            resource = key if key.startswith("arn:") else f"arn:aws:kms:{region}:{account}:key/{key}"
            yield "kms:Decrypt", resource, more
            if action != "GetSecretValue":
                yield "kms:GenerateDataKey", resource, more

    def _sts(self, key: str, asked: Mapping[str, str]) -> Answer:
        caller, action = self._principals.get(key), asked["Action"]
        if action == "GetCallerIdentity":
            if caller is None or caller.is_over:
                return _xml_refusal("ExpiredToken" if caller else "InvalidClientTokenId")
            return _xml(action, f"<Account>{caller.account}</Account>")
        role = self._roles.get(asked["RoleArn"])
        if action == "AssumeRoleWithWebIdentity":
            is_trusted = role is not None and role.token == asked["WebIdentityToken"]
        else:
            may = caller is not None and not caller.is_over
            may = may and (caller.policy is None or allows(caller.policy, f"sts:{action}", asked["RoleArn"]))
            is_trusted = may and role is not None and role.external_id == asked.get("ExternalId")
        if role is None or not is_trusted:
            return _xml_refusal("AccessDenied")
        issued = f"session{uuid.uuid4().hex[:12]}"
        self._principals[issued] = Principal(role.account, role.policy)
        self.sessions.append(issued)
        end = datetime.now(UTC) + timedelta(seconds=min(role.seconds, int(asked.get("DurationSeconds", 3600))))
        return _xml(
            action,
            f"<Credentials><AccessKeyId>{issued}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
            f"<SessionToken>token</SessionToken><Expiration>{end.isoformat()}</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>arn:aws:sts::{role.account}:assumed-role/x/{asked['RoleSessionName']}</Arn>"
            "<AssumedRoleId>x</AssumedRoleId></AssumedRoleUser>",
        )


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    kept = {name: value for name, value in body.items() if value is not None}
    return Answer(status, json.dumps(kept).encode(), (("Content-Type", "application/x-amz-json-1.1"),))


def _xml(action: str, result: str) -> Answer:
    body = f"<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
    return Answer(200, body.encode(), (("Content-Type", "text/xml"),))


def _xml_refusal(code: str) -> Answer:
    body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    return Answer(403, body.encode(), (("Content-Type", "text/xml"),))


@pytest.fixture
def strict_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictAws]:
    """An endpoint of its own, and the credentials of one who may do everything in the environment."""
    for name in OTHER_CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    for name, text in CREDENTIALS.items():
        monkeypatch.setenv(name, text)
    with StrictAws() as endpoint:
        yield endpoint
