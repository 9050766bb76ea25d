"""The least IAM policies for a configuration. Pure: nothing is asked.

- A secret's ARN ends with a hyphen and six characters that AWS draws, so a name is written ``NAME-??????`` (User Guide,
  "Permissions policy examples"). AWS draws such an ending for a secret that does not exist too, before it decides.
- Tags are held to those of the rotator (and of ``create``): nobody's access by tags can be changed with this policy.
- A KMS key is allowed by way of Secrets Manager only. One that ``create`` does not name (the key of a secret that is
  there already) is not known here; ``aws/secretsmanager`` needs no statement.

Source: Service Authorization Reference, "AWS Secrets Manager"; API Reference, "Required permissions" of each action.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rotator.adapters.backends.aws_content import Place, place_of
from rotator.domain.model import Destination

_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
Policy = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A place that the configuration names.

    :param writes: not only read, as a management key is.
    :param takes: an inbox: what a person has put there is read and destroyed.
    """

    destination: Destination
    writes: bool
    takes: bool = False


def policy_for(uses: Sequence[Use], *, region: str, account: str = "", read_only: bool = False) -> Policy:
    """What the credentials need that call Secrets Manager.

    :param region: of the backend.
    :param account: where it is known from a role; otherwise a destination's ``expect`` tells, or any is allowed.
    :param read_only: what a dry run and an audit need.
    """
    where = _Where(region, account)
    looked = [place_of(use.destination) for use in uses if not (use.takes and read_only)]
    taken = [] if read_only else [place_of(use.destination) for use in uses if use.takes]
    written = [] if read_only else [place_of(use.destination) for use in uses if use.writes]
    created = [place for place in written if place.create]
    replicated = [place for place in created if place.create and place.create.replica_regions]
    statements = [
        _statement("Look", ["DescribeSecret", "GetSecretValue"], where.arns(looked)),
        _statement("Write", ["PutSecretValue", "UpdateSecretVersionStage"], where.arns(written)),
        *_tagging(written, where),
        _statement("Create", ["CreateSecret"], where.arns(created)),
        _statement("Destroy", ["DeleteSecret"], where.arns(taken)),
        _statement("Replicate", ["ReplicateSecretToRegions"], where.arns(replicated)),
        *_encryption(looked, where, read_only=read_only),
    ]
    return _document(statement for statement in statements if statement["Resource"])


def policy_to_assume(role_arn: str) -> Policy:
    """What the credentials need that take on the role. The role's trust policy has to allow it as well."""
    return _document([{"Sid": "TakeOn", "Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [role_arn]}])


@dataclass(frozen=True, slots=True)
class _Where:
    region: str
    account: str

    @property
    def partition(self) -> str:
        return next((name for start, name in _PARTITIONS.items() if self.region.startswith(start)), "aws")

    def account_of(self, place: Place) -> str:
        return dict(place.expect).get("account") or self.account or "*"

    def arns(self, places: Iterable[Place]) -> list[str]:
        return sorted({self._arn(place) for place in places})

    def _arn(self, place: Place) -> str:
        if place.secret_id.startswith("arn:"):
            return place.secret_id
        account = self.account_of(place)
        return f"arn:{self.partition}:secretsmanager:{self.region}:{account}:secret:{place.secret_id}-??????"


def _tagging(places: Sequence[Place], where: _Where) -> list[Policy]:
    """One statement for each set of tags."""
    by_tags: dict[tuple[str, ...], list[Place]] = {}
    for place in places:
        more = sorted(place.create.tags) if place.create else []
        by_tags.setdefault((f"{place.prefix}*", *more), []).append(place)
    return [
        {
            **_statement(f"Tag{number or ''}", ["TagResource"], where.arns(tagged)),
            "Condition": {"ForAllValues:StringLike": {"aws:TagKeys": list(tags)}, "Null": {"aws:TagKeys": "false"}},
        }
        for number, (tags, tagged) in enumerate(sorted(by_tags.items()))
    ]


def _encryption(places: Sequence[Place], where: _Where, *, read_only: bool) -> list[Policy]:
    keys = sorted({(place.create.kms_key_id, where.account_of(place)) for place in places if place.create})
    actions = ["kms:Decrypt"] if read_only else ["kms:Decrypt", "kms:GenerateDataKey"]
    via = {"kms:ViaService": f"secretsmanager.{where.region}.amazonaws.com{'.cn' * (where.partition == 'aws-cn')}"}
    statements = []
    for number, (key, account) in enumerate(given for given in keys if given[0]):
        resource, conditions = f"arn:{where.partition}:kms:{where.region}:{account}:key/{key}", {"StringEquals": via}
        if key.startswith("arn:") and ":key/" in key:
            resource = key
        elif "alias/" in key:  # an alias can be moved: it is a condition, the key behind it is any
            alias = key[key.index("alias/") :]
            resource = f"arn:{where.partition}:kms:{where.region}:{account}:key/*"
            conditions = {**conditions, "ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
        statements.append(
            {
                "Sid": f"Encrypt{number or ''}",
                "Effect": "Allow",
                "Action": actions,
                "Resource": [resource],
                "Condition": conditions,
            }
        )
    return statements


def _statement(sid: str, actions: Sequence[str], resources: list[str]) -> Policy:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"secretsmanager:{action}" for action in actions],
        "Resource": resources,
    }


def _document(statements: Iterable[Policy]) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}
