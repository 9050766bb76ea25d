"""The settings of one Vault or OpenBao: frozen, checked, without a secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rotator.config.secrets import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """A token that somebody made for us."""

    token: SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFileSettings:
    """A token in a file that somebody else renews."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRoleSettings:
    """Log in with an AppRole; ``wrapped_for_role``: its secret id is response-wrapped, for the role of that name."""

    role_id: SecretRef
    secret_id: SecretRef
    mount: str
    wrapped_for_role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """Log in with a service account's token."""

    token: SecretRef
    role: str
    mount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """Log in with a JSON Web Token."""

    token: SecretRef
    role: str | None
    mount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertSettings:
    """Log in with the client certificate."""

    role: str | None
    mount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsIamSettings:
    """Log in with the AWS identity of this process."""

    role: str | None
    region: str
    server_id: str | None
    profile: str | None
    mount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserpassSettings:
    """Log in with user name and password."""

    username: str
    password: SecretRef
    mount: str


AuthSettings = (
    TokenSettings
    | TokenFileSettings
    | AppRoleSettings
    | KubernetesSettings
    | JwtSettings
    | CertSettings
    | AwsIamSettings
    | UserpassSettings
)
