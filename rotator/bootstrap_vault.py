"""The part of ``bootstrap`` that makes a Vault backend of its settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rotator.adapters.backends.vault import VaultBackend
from rotator.adapters.backends.vault_auth import (
    AppRoleAuth,
    Auth,
    CertAuth,
    JwtAuth,
    KubernetesAuth,
    TokenAuth,
    TokenFileAuth,
    UserpassAuth,
)
from rotator.adapters.backends.vault_iam import AwsIamAuth
from rotator.adapters.backends.vault_wire import Transport
from rotator.config import SecretRef, VaultSettings
from rotator.config.vault_settings import (
    AppRoleSettings,
    AuthSettings,
    AwsIamSettings,
    CertSettings,
    JwtSettings,
    KubernetesSettings,
    TokenFileSettings,
    TokenSettings,
    UserpassSettings,
)
from rotator.domain.secret import SecretValue
from rotator.ports import Clock

Resolve = Callable[[SecretRef], SecretValue]


def vault_backend(settings: VaultSettings, secret: Resolve, connections: int, clock: Clock) -> VaultBackend:
    """The backend. Its credentials are read when it logs in, and again at each later login."""
    return VaultBackend(
        url=settings.url,
        auth=_auth(settings.auth, secret),
        namespace=settings.namespace,
        ca_file=settings.ca_file,
        timeout=settings.timeout.total_seconds(),
        pool_size=connections,
        transport=Transport(
            client_cert=settings.client_cert,
            client_key=settings.client_key,
            server_name=settings.server_name,
            proxy=settings.proxy,
            nodes=settings.nodes,
        ),
        now=clock.now,
    )


def _auth(given: AuthSettings, secret: Resolve) -> Auth:
    match given:
        case TokenFileSettings():
            return TokenFileAuth(path=given.path)
        case CertSettings():
            return CertAuth(role=given.role, mount=given.mount)
        case AwsIamSettings():
            return AwsIamAuth(
                role=given.role,
                region=given.region,
                server_id=given.server_id,
                profile=given.profile,
                mount=given.mount,
            )
        case _:
            return _with_secret(given, secret)


def _with_secret(
    given: TokenSettings | AppRoleSettings | KubernetesSettings | JwtSettings | UserpassSettings, secret: Resolve
) -> Auth:
    match given:
        case TokenSettings():
            return TokenAuth(token=partial(secret, given.token))
        case AppRoleSettings():
            return AppRoleAuth(
                role_id=partial(secret, given.role_id),
                secret_id=partial(secret, given.secret_id),
                mount=given.mount,
                wrapped_for_role=given.wrapped_for_role,
            )
        case KubernetesSettings():
            return KubernetesAuth(token=partial(secret, given.token), role=given.role, mount=given.mount)
        case JwtSettings():
            return JwtAuth(token=partial(secret, given.token), role=given.role, mount=given.mount)
        case UserpassSettings():
            return UserpassAuth(username=given.username, password=partial(secret, given.password), mount=given.mount)
