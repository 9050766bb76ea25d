"""Wiring of AWS Secrets Manager; part of ``bootstrap``, imported when such a backend is needed."""

from __future__ import annotations

from collections.abc import Callable

from rotator.adapters.backends.aws_secrets_manager import (
    AssumeRole,
    AwsAccess,
    AwsSecretsManagerBackend,
    WebIdentity,
)
from rotator.config import AwsSettings, SecretRef
from rotator.domain.secret import SecretValue
from rotator.ports import Clock


def aws_backend(
    settings: AwsSettings, secret: Callable[[SecretRef], SecretValue], connections: int, clock: Clock
) -> AwsSecretsManagerBackend:
    """One backend of type ``aws-secrets-manager``."""
    role, web = settings.assume_role, settings.web_identity
    access = AwsAccess(
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        sts_endpoint_url=settings.sts_endpoint_url,
        profile=settings.profile,
        assume_role=AssumeRole(
            arn=role.arn,
            external_id=_text_or_secret(role.external_id, secret),
            session_name=role.session_name,
            duration=int(role.duration.total_seconds()) if role.duration else None,
        )
        if role
        else None,
        web_identity=WebIdentity(role_arn=web.role_arn, token_file=web.token_file, session_name=web.session_name)
        if web
        else None,
        use_fips=settings.use_fips,
        use_dualstack=settings.use_dualstack,
        timeout=settings.timeout.total_seconds(),
        pool_size=connections,
    )
    return AwsSecretsManagerBackend(access, pause=clock.sleep)


def _text_or_secret(given: str | SecretRef | None, secret: Callable[[SecretRef], SecretValue]) -> SecretValue | None:
    return SecretValue(given) if isinstance(given, str) else secret(given) if given else None
