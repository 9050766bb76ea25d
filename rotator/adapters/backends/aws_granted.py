"""What the credentials may do in all, beside what the least policy says. Reads only.

The identity is told by STS, and its policies by IAM, where it may read them: inline and attached ones of a role or
user, without those of a user's groups, permissions boundaries, and what an organisation forbids. It is what is granted,
not what comes of it. Source: IAM API Reference; policy grammar in the IAM User Guide.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from rotator.adapters.backends.aws_policy import Use, policy_for
from rotator.adapters.backends.aws_session import AwsSession
from rotator.domain.audit.surroundings import Grant, Granted
from rotator.domain.model import Destination
from rotator.errors import BackendDenied, WrongDestination

_ASKED = (
    "iam:getpolicy",
    "iam:getpolicyversion",
    "iam:getrolepolicy",
    "iam:getuserpolicy",
    "iam:listattachedrolepolicies",
    "iam:listattacheduserpolicies",
    "iam:listrolepolicies",
    "iam:listuserpolicies",
    "sts:getcalleridentity",
)
"""What this very look needs."""

Statement = dict[str, Any]


def rights_of(session: AwsSession, places: Sequence[tuple[Destination, bool]]) -> Granted:
    """``backend`` is left to the caller, who knows its name."""
    if session.has_own_endpoint and not (os.environ.get("AWS_ENDPOINT_URL_IAM") or os.environ.get("AWS_ENDPOINT_URL")):
        # Nobody is asked whom the configuration does not name.
        raise BackendDenied("what its identity may do is not asked beside an endpoint_url: set AWS_ENDPOINT_URL_IAM")
    try:
        documents = list(_documents(session))
    except (ClientError, BotoCoreError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise BackendDenied(
            f"what its identity may do is not known ({code}): let it read its policies in IAM"
        ) from None
    granted = [grant for document in documents for grant in _grants(document)]
    least = policy_for(_uses(places), region=session.region, account="")
    return Granted(
        backend="",
        kind="iam",
        granted=tuple(granted),
        needed=(Grant(pattern="*", actions=frozenset(_ASKED)), *_grants(least)),
        everything=any(grant.pattern == "*" and "*" in grant.actions for grant in granted),
    )


def _uses(places: Sequence[tuple[Destination, bool]]) -> list[Use]:
    uses = []
    for destination, writes in places:
        try:
            policy_for([Use(destination=destination, writes=writes)], region="us-east-1")
        except WrongDestination:
            continue  # told where it is read
        uses.append(Use(destination=destination, writes=writes))
    return uses


def _documents(session: AwsSession) -> Iterator[object]:
    """Every policy document of the identity."""
    arn = str(session.tokens().get_caller_identity()["Arn"])
    resource = arn.rsplit(":", 1)[-1]
    kind, _, rest = resource.partition("/")
    if kind not in {"assumed-role", "user"}:
        raise BackendDenied(f"what its identity may do is not known: it is {kind}, no role or user")
    # "assumed-role/NAME/SESSION" and "user/PATH/NAME"
    name = rest.split("/")[0] if kind == "assumed-role" else rest.rsplit("/", 1)[-1]
    who, noun = ({"RoleName": name}, "role") if kind == "assumed-role" else ({"UserName": name}, "user")
    iam = session.iam()
    try:
        for page in iam.get_paginator(f"list_{noun}_policies").paginate(**who):
            for inline in page["PolicyNames"]:
                yield getattr(iam, f"get_{noun}_policy")(**who, PolicyName=inline)["PolicyDocument"]
        for page in iam.get_paginator(f"list_attached_{noun}_policies").paginate(**who):
            for attached in page["AttachedPolicies"]:
                version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
                found = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)
                yield found["PolicyVersion"]["Document"]
    finally:
        iam.close()


def _grants(document: object) -> list[Grant]:
    """What it allows. ``NotAction`` and ``NotResource`` allow all but a few: they count as all."""
    if isinstance(document, str):
        document = json.loads(unquote(document))
    statements = document.get("Statement") if isinstance(document, dict) else None
    grants = []
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict) or statement.get("Effect") != "Allow":
            continue
        actions = frozenset(action.lower() for action in _texts(statement, "Action"))
        grants += [Grant(pattern=resource, actions=actions) for resource in _texts(statement, "Resource")]
    return grants


def _texts(statement: Statement, name: str) -> list[str]:
    given = statement.get(name, "*" if f"Not{name}" in statement else [])
    return [given] if isinstance(given, str) else [str(one) for one in given]
