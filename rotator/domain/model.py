"""The words of the field as types. All are immutable; every time is an aware UTC ``datetime``.

What the journal remembers is in ``domain.record``, what was seen outside in ``domain.snapshot``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from rotator.domain.layout import PLAIN, Layout
from rotator.domain.secret import SecretValue

# --- configuration, as the core sees it ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Destination:
    """One place in one backend that holds a policy's secret.

    :param backend: the backend's name in the configuration.
    :param name: unique and stable, for people and the journal: ``vault:secret/apps/chat#TOGETHER_API_KEY``.
    :param options: what the adapter needs to find the place (``path``, ``field``, ``mount``, ...).
    :param layout: how the key lies there.
    :param expect: what the backend must say of where this is (``account``, ``cluster_name``, ...).
    """

    backend: str
    name: str
    options: tuple[tuple[str, str], ...] = ()
    layout: Layout = field(default=PLAIN, repr=False)
    expect: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def option(self, key: str, default: str | None = None) -> str | None:
        """The value of one option, or ``default``."""
        return dict(self.options).get(key, default)

    def __str__(self) -> str:
        return self.name


class Drift(StrEnum):
    """What a policy says of a destination that somebody else has changed."""

    ALERT = "alert"  # leave it, and tell
    ADOPT = "adopt"  # look at theirs like at any other key
    RESTORE = "restore"  # put the current key back


class Windows(Protocol):
    """Maintenance windows. The configuration knows their cron expressions; the core asks for moments only."""

    def opens(self, now: datetime) -> datetime | None:
        """``now`` itself while one is open, or when the next one opens; ``None`` where none ever does. In UTC."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Assistance:
    """How people make and revoke the keys of a policy, where the provider lets nobody else do it.

    :param console_url: where the project's keys are in the provider's console.
    :param owners: who is asked; as the configuration writes them.
    :param remind_first: how long after its opening a request is announced again; each next pause is twice as long.
    :param escalate_before: how long before its deadline a request is escalated, and told every day from then on.
    :param revoke_within: how long a person has to revoke an old key.
    :param inbox: a place where people may put a new key, and only the rotator may read; ``None``: there is none.
    :param inbox_every: how often that is looked at while a key is asked for.
    :param page: whether the service has a page where a key can be handed over.
    """

    console_url: str
    owners: tuple[str, ...] = ()
    remind_first: timedelta = timedelta(days=1)
    escalate_before: timedelta = timedelta(hours=48)
    revoke_within: timedelta = timedelta(days=7)
    inbox: Destination | None = None
    inbox_every: timedelta = timedelta(minutes=1)
    page: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which project, which lifetime, grace and checks, which destinations.

    :param instance: the name of this installation; part of every key name.
    :param lifetime: how long a new key lives.
    :param renew_before: how long before its end a key is replaced; also the time left to repair what fails.
    :param grace: how long a replaced key stays valid.
    :param grace_limit: the longest that a grace can be extended to while the old key is still in use.
    :param check_every: how often destinations are looked at although nothing is due.
    :param settle: how long after an attempt its late effects are still expected.
    :param canary: it rotates first: others of the same provider begin nothing while it is in trouble.
    :param drift: what is done about a destination that somebody else has changed.
    :param hooks: names of what is run when every destination holds a new key, in their order.
    :param windows: when a rotation may begin that can wait; ``None``: at any time.
    :param jitter: how much earlier than necessary a key may be renewed; ``None``: a tenth of ``renew_before`` at most.
    :param group: policies that keep ``distance`` between the beginnings of their rotations; empty: none.
    :param depends_on: policies that rotate first; this one waits while they are due, at work or in trouble.
    :param notify: names of the channels that hear of it; ``None``: every one whose patterns fit its name.
    :param escalate: names of channels that hear besides of what is critical.
    :param assistance: where people make and revoke its keys; ``None``: the provider does it when it is asked.
    :param digest: changes whenever the policy's configuration does.
    """

    name: str
    instance: str
    provider: str
    project: str
    destinations: tuple[Destination, ...]
    lifetime: timedelta
    renew_before: timedelta
    grace: timedelta
    grace_limit: timedelta
    check_every: timedelta
    settle: timedelta
    canary: bool = False
    drift: Drift = Drift.ADOPT
    hooks: tuple[str, ...] = ()
    windows: Windows | None = None
    jitter: timedelta | None = None
    group: str = ""
    distance: timedelta = timedelta(0)
    depends_on: tuple[str, ...] = ()
    notify: tuple[str, ...] | None = None
    escalate: tuple[str, ...] = ()
    assistance: Assistance | None = None
    digest: str = ""

    @property
    def quiet(self) -> timedelta:
        """How long an old key must not have been used before it is revoked: a quarter of the grace."""
        return self.grace / 4

    @property
    def assisted(self) -> bool:
        """Whether people make and revoke its keys. Then no endpoint that manages keys is ever called."""
        return self.assistance is not None


# --- what the provider says --------------------------------------------------------------------------------


class KeyKind(StrEnum):
    """What a secret is, in the provider's own terms (``type`` of Together's ``GET /v3/whoami``)."""

    PROJECT = "project_api_key"
    LEGACY = "org_api_key"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """One row of the provider's key list.

    :param creator_left: whether who made it has left the organisation; ``None`` where the list does not tell.
    """

    key_id: str
    name: str
    project: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    created_by: str | None = None
    creator_left: bool | None = None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """The answer that creates a key: the only moment at which its secret is known."""

    facts: KeyFacts
    secret: SecretValue = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a secret is, says the provider (whoami). ``project_name``: for people; empty where it tells none."""

    kind: KeyKind
    key_id: str
    project: str | None
    organization: str | None = None
    project_name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider does not accept a secret; ``evidence`` tells how it said so (``401 invalid_api_key``)."""

    evidence: str


# --- what a destination holds ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMetadata:
    """What each destination carries beside the secret: a hint for people, and for rebuilding a lost journal."""

    instance: str
    policy: str
    project: str
    rotation_id: str
    key_id: str
    fingerprint: str
    created: str
    expires: str
    previous_key_id: str = ""

    def as_pairs(self) -> dict[str, str]:
        """Flat text pairs, in a fixed order, without the empty ones."""
        pairs = {name: str(getattr(self, name)) for name in self.__slots__}
        return {name: value for name, value in pairs.items() if value}


@dataclass(frozen=True, slots=True)
class Held:
    """One read of one destination.

    :param value: the secret, or ``None`` where there is none yet (no secret, no such field, empty).
    :param version: opaque; hand it to ``write`` to say "only if nobody wrote since".
    :param metadata: the hints found beside the secret, as text pairs.
    :param changed_at: when the place was written last, as far as the backend tells.
    :param changed_by: who wrote it, as far as the backend tells.
    """

    value: SecretValue | None = field(compare=False)
    version: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    changed_at: datetime | None = None
    changed_by: str = ""
