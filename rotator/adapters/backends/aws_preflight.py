"""What keeps a secret from being written, found in a DescribeSecret answer. One fault, one check; no I/O.

Source: Secrets Manager API Reference, DescribeSecret, RotateSecret, PutSecretValue; User Guide, quotas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rotator.adapters.backends.aws_content import MOST_TAGS, Place, in_arn, tags_of
from rotator.domain.model import KeyMetadata

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
MARK = "rotator"
"""The label that we put beside ``AWSPENDING``: it tells a pending version of ours from a rotation function's."""

_MOST_LABELS = 20  # staging labels attached across all versions of a secret

Described = Mapping[str, Any]


def holder_of(described: Described, label: str) -> str:
    """The id of the version that has a label; empty where none has."""
    stages: Mapping[str, list[str]] = described.get("VersionIdsToStages") or {}
    return next((version for version, labels in stages.items() if label in labels), "")


def problem_of(place: Place, described: Described) -> str:
    """Why the secret can't be written, fit for people; empty where nothing is known to be in the way."""
    return next((problem for check in CHECKS if (problem := check(place, described))), "")


def _is_deleted(place: Place, described: Described) -> str:
    deleted = described.get("DeletedDate")
    return f"the secret {place.secret_id} is scheduled for deletion; restore it first" if deleted else ""


def _is_another_services(place: Place, described: Described) -> str:
    owner = described.get("OwningService")
    return f"the secret {place.secret_id} belongs to the AWS service {owner}" if owner else ""


def _is_rotated_by_aws(place: Place, described: Described) -> str:
    if not described.get("RotationEnabled") or place.managed_rotation:
        return ""
    return f"AWS's own rotation is enabled on {place.secret_id}; disable it, or say 'managed_rotation: allow'"


def _is_replica(place: Place, described: Described) -> str:
    primary, here = described.get("PrimaryRegion"), in_arn(str(described.get("ARN", ""))).get("region")
    return f"{place.secret_id} is a replica; write it in {primary}" if primary and here and primary != here else ""


def _is_in_rotation(place: Place, described: Described) -> str:
    """As RotateSecret itself: a pending version that is not current is a rotation in progress, however old.

    AWS knows no age either: the API Reference says that "any later invocation of RotateSecret assumes that a previous
    rotation request is still in progress and returns an error". What is pending may be live in another system already,
    so only a person can tell that it is not needed. Our own is taken over: the next put moves both labels.
    """
    pending = holder_of(described, PENDING)
    if not pending or pending in {holder_of(described, CURRENT), holder_of(described, MARK)}:
        return ""
    return (
        f"somebody else's rotation of {place.secret_id} is in progress: version {pending} is {PENDING}; where it is a "
        f"left-over: aws secretsmanager update-secret-version-stage --secret-id {place.secret_id} "
        f"--version-stage {PENDING} --remove-from-version-id {pending}"
    )


def _is_full_of_labels(place: Place, described: Described) -> str:
    labels = {label for labels in (described.get("VersionIdsToStages") or {}).values() for label in labels}
    full = len(labels | {CURRENT, PENDING, PREVIOUS, MARK}) > _MOST_LABELS
    return f"{place.secret_id} has no room left for staging labels ({_MOST_LABELS})" if full else ""


def _is_full_of_tags(place: Place, described: Described) -> str:
    names = {place.prefix + name for name in KeyMetadata.__slots__}
    full = len(names | set(tags_of(described))) > MOST_TAGS
    return f"the secret has no room left for tags ({MOST_TAGS})" if full else ""


CHECKS: tuple[Callable[[Place, Described], str], ...] = (
    _is_deleted,
    _is_another_services,
    _is_rotated_by_aws,
    _is_replica,
    _is_in_rotation,
    _is_full_of_labels,
    _is_full_of_tags,
)
"""In this order; the first that finds something is what a person is told."""
