"""What the platform keeps: organisations, projects, users, keys; and how a rule says no."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Missing(Exception):
    """There is no such organisation, project, user or key (any more)."""


class Refusal(Exception):
    """The platform's rules forbid it, whoever asks."""


class KeyKind(StrEnum):
    """What a credential is; the first three are ``type`` of ``GET /v3/whoami`` in the official SDK."""

    PROJECT = "project_api_key"
    LEGACY = "org_api_key"
    USER = "user_jwt"
    MANAGEMENT = "management_key"


@dataclass(slots=True)
class Organization:
    """An organisation; ``billing_usage`` says whether it has the beta endpoint of that name."""

    id: str
    name: str
    billing_usage: bool = True
    default_project: str = ""
    legacy_key: str = ""


@dataclass(slots=True)
class Project:
    """A project; ``keys`` are those that were not revoked, by id, in their order of creation."""

    id: str
    name: str
    slug: str
    organization: str
    keys: dict[str, Key] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class User:
    """A person; once removed, their session is refused and their keys live on."""

    id: str
    name: str
    organization: str
    removed: bool = False


@dataclass(slots=True, kw_only=True)
class Key:
    """A credential of any kind. Times are aware UTC; ``accepted_from`` and ``refused_from`` model propagation."""

    id: str
    name: str
    kind: KeyKind
    organization: str
    project: str | None
    created_by: str | None
    created_at: datetime
    accepted_from: datetime
    sequence: int
    digest: bytes = field(repr=False)
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    refused_from: datetime | None = None
    last_used_at: datetime | None = None
    uses: int = 0
    read_only: bool = False

    def is_accepted(self, now: datetime) -> bool:
        """Whether the platform lets this key in at ``now``."""
        return (
            now >= self.accepted_from
            and not self.is_expired(now)
            and (self.refused_from is None or now < self.refused_from)
        )

    def is_expired(self, now: datetime) -> bool:
        """Whether its expiration date has come."""
        return self.expires_at is not None and now >= self.expires_at

    def state(self, now: datetime) -> str:
        """``live``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.is_expired(now) else "live"


@dataclass(slots=True)
class Settings:
    """How slowly news travel on the platform, and how wrong it is about the time; in seconds.

    :param accept_after: from a key's creation until its secret is accepted.
    :param refuse_after: from a key's revocation until its secret is refused.
    :param list_after: from a key's creation until the project's list shows it.
    :param date_skew: how far the ``Date`` header is ahead of the platform's clock; less than 0: behind it.
    """

    accept_after: float = 0.0
    refuse_after: float = 0.0
    list_after: float = 0.0
    date_skew: float = 0.0
