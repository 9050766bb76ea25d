"""From the shape of an AWS backend to its settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rotator.config.check import Faults, shown
from rotator.config.secrets import Follow
from rotator.config.settings import AssumeRoleSettings, AwsSettings, LimitsSettings, WebIdentitySettings
from rotator.config.shapes.aws import AssumeRoleShape, AwsShape, WebIdentityShape
from rotator.config.source import FieldPath
from rotator.domain.text import duration

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+")
_SESSION = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
# The longest of STS (API Reference, AssumeRole, DurationSeconds); its shortest, 15 minutes, is no use: botocore renews
# a session a quarter of an hour before its end, so that each call would ask for a new one.
_SHORTEST, _LONGEST = timedelta(minutes=30), timedelta(hours=12)


def aws_settings(
    shape: AwsShape,
    path: FieldPath,
    faults: Faults,
    *,
    reference: Follow,
    file: Callable[[str | None, FieldPath], str | None],
) -> AwsSettings | None:
    """One backend of type ``aws-secrets-manager``; ``None`` after its faults were added.

    :param reference: follows a reference to a secret.
    :param file: finds a file that must exist.
    """
    before = len(faults.found)
    for name in ("use_fips", "use_dualstack"):
        if shape.endpoint_url and getattr(shape, name):
            faults.add((*path, name), "true, with an endpoint_url", "allowed: one of them")
    role = _assume_role(shape.assume_role, (*path, "assume_role"), faults, reference) if shape.assume_role else None
    web = _web_identity(shape.web_identity, (*path, "web_identity"), faults, file) if shape.web_identity else None
    if shape.web_identity and shape.profile:
        faults.add((*path, "web_identity"), "a web identity, with a profile", "allowed: one of them")
    if len(faults.found) > before:
        return None
    return AwsSettings(
        region=shape.region,
        endpoint_url=shape.endpoint_url,
        sts_endpoint_url=shape.sts_endpoint_url,
        profile=shape.profile,
        assume_role=role,
        web_identity=web,
        use_fips=shape.use_fips,
        use_dualstack=shape.use_dualstack,
        timeout=shape.timeout,
        limits=LimitsSettings(rate=shape.limits.rate, concurrency=shape.limits.concurrency),
    )


def _assume_role(shape: AssumeRoleShape, path: FieldPath, faults: Faults, reference: Follow) -> AssumeRoleSettings:
    _check_role(shape.arn, (*path, "arn"), faults)
    _check_session(shape.session_name, (*path, "session_name"), faults)
    if shape.duration is not None and not _SHORTEST <= shape.duration <= _LONGEST:
        faults.add((*path, "duration"), shown(duration(shape.duration)), "allowed: 30m to 12h")
    given: object = shape.external_id
    return AssumeRoleSettings(
        arn=shape.arn,
        external_id=given if given is None or isinstance(given, str) else reference(given, (*path, "external_id")),
        session_name=shape.session_name,
        duration=shape.duration,
    )


def _web_identity(
    shape: WebIdentityShape, path: FieldPath, faults: Faults, file: Callable[[str | None, FieldPath], str | None]
) -> WebIdentitySettings:
    _check_role(shape.role_arn, (*path, "role_arn"), faults)
    _check_session(shape.session_name, (*path, "session_name"), faults)
    found = file(shape.token_file, (*path, "token_file"))
    return WebIdentitySettings(
        role_arn=shape.role_arn, token_file=Path(found or shape.token_file), session_name=shape.session_name
    )


def _check_role(arn: str, path: FieldPath, faults: Faults) -> None:
    if not _ROLE.fullmatch(arn):
        faults.add(path, shown(arn), "allowed: a role's ARN: arn:aws:iam::123456789012:role/NAME")


def _check_session(name: str, path: FieldPath, faults: Faults) -> None:
    if not _SESSION.fullmatch(name):
        faults.add(path, shown(name), "allowed: 2 to 64 letters, digits and '+=,.@_-'")
