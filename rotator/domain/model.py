"""The words of the field as types. All are immutable; every time is an aware UTC ``datetime``.

What was seen outside, and with a ``PolicyRecord`` makes the ``Snapshot`` of a decision, is in ``domain.snapshot``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.domain.layout import PLAIN, Layout
from rotator.domain.secret import Fingerprint, SecretValue

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
    digest: str = ""

    @property
    def quiet(self) -> timedelta:
        """How long an old key must not have been used before it is revoked: a quarter of the grace."""
        return self.grace / 4


# --- what the provider says --------------------------------------------------------------------------------


class KeyKind(StrEnum):
    """What a secret is, in the provider's own terms (``type`` of Together's ``GET /v3/whoami``)."""

    PROJECT = "project_api_key"
    LEGACY = "org_api_key"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """One row of the provider's key list."""

    key_id: str
    name: str
    project: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    created_by: str | None = None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """The answer that creates a key: the only moment at which its secret is known."""

    facts: KeyFacts
    secret: SecretValue = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a secret is, says the provider (whoami)."""

    kind: KeyKind
    key_id: str
    project: str | None
    organization: str | None = None


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


# --- what the journal remembers ----------------------------------------------------------------------------


class KeyState(StrEnum):
    """Where a key of ours stands. A closed key (revoked and seen refused) leaves the record."""

    CURRENT = "current"
    CANDIDATE = "candidate"
    RETIRING = "retiring"
    ORPHAN = "orphan"
    REVOKED = "revoked"  # the provider said so; the refusal was not seen yet


class Origin(StrEnum):
    """How a key came to us."""

    ISSUED = "issued"
    ADOPTED = "adopted"
    LEGACY = "legacy"  # the legacy organisation key: can't be revoked, only regenerated by its owner


@dataclass(frozen=True, slots=True)
class Expiration:
    """When a key ends; ``at`` is ``None`` where it never does."""

    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One key that this policy has to do with.

    :param since: when it came to us: issued or adopted.
    :param jitter: drawn once, in [0, 1): spreads the renewals of keys that came together.
    :param grace_until: retiring: not revoked before.
    :param grace_limit: retiring: the grace is not extended beyond.
    :param revoke_after: orphan: a late effect of its maker is expected until then.
    :param lands_on: destination name to the fingerprint that it would replace (empty: no key). While that still lies
        there, a publication that another holder had begun can still arrive, however late.
    :param rotation_id: the rotation that made it, or the rollback that put it back; empty for an adopted key.
    :param replaced_by: the rotation that replaced it; of a current key, one that came to an end half-way.
    :param condemned: its revocation was decided, and perhaps sent.
    :param provider: the provider's name in the configuration; empty where it was not written down.
    :param expiry_forwarded: its own expiration ends it soon after its grace, whatever becomes of us.
    :param first_expiry: its expiration before we brought that forward; ``None`` where we never did.
    :param rest_until: it was put back by a rollback, and is not replaced again before.
    """

    key_id: str
    state: KeyState
    origin: Origin
    project: str
    since: datetime
    fingerprint: Fingerprint | None = None
    name: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    jitter: float = 0.0
    rotation_id: str = ""
    replaced_by: str = ""
    grace_until: datetime | None = None
    grace_limit: datetime | None = None
    revoke_after: datetime | None = None
    lands_on: Mapping[str, str] = field(default_factory=dict)
    revoked_at: datetime | None = None
    expiry_forwarded: bool = False
    condemned: bool = False
    provider: str = ""
    first_expiry: Expiration | None = None
    rest_until: datetime | None = None


class Phase(StrEnum):
    """Where a rotation stands; the table of legal moves is in ``domain.lifecycle``."""

    INTENDED = "intended"
    ISSUED = "issued"
    VERIFIED = "verified"
    PUBLISHING = "publishing"
    GRACE = "grace"
    REVOKING = "revoking"
    COMPLETED = "completed"
    ABANDONED = "abandoned"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRecord:
    """One attempt to replace a policy's key, from its intent to the evidence.

    :param expected: destination name to the version seen before the intent.
    :param replaces: destination name to the fingerprint held there before; only of values known as keys.
    :param compromised: it answers a leak.
    :param found: keys that destinations hold and that nobody had recorded: they become retiring with the others.
    :param grace: for the keys that it replaces.
    :param published: names of the destinations that were read back with the new key.
    """

    rotation_id: str
    reason: str
    phase: Phase
    key_name: str
    expires_at: datetime
    started_at: datetime
    expected: Mapping[str, str]
    replaces: Mapping[str, Fingerprint]
    grace: timedelta
    key_id: str = ""
    fingerprint: Fingerprint | None = None
    published: tuple[str, ...] = ()
    compromised: bool = False
    found: tuple[KeyRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIntent:
    """A creation that may or may not have happened: its name is looked for until ``settled_at``.

    :param revoke_after: a key of that name is revoked from then on; before, its maker may only be slow.
    """

    key_name: str
    revoke_after: datetime
    settled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """An operator asked to put the key back that the last rotation had replaced.

    :param rollback_id: once it has begun: the idempotency token of what it writes.
    :param key_id: once it has begun: the key that is put back.
    """

    reason: str
    rollback_id: str = ""
    key_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """All that the journal remembers of one policy.

    :param closed: ids of the keys that ended last: a list that is behind may still show them.
    """

    policy: str
    keys: tuple[KeyRecord, ...] = ()
    rotations: tuple[RotationRecord, ...] = ()
    open_intents: tuple[OpenIntent, ...] = ()
    closed: tuple[str, ...] = ()
    hold: str = ""
    requested: str = ""
    compromised: bool = False
    rollback: Rollback | None = None

    def key(self, key_id: str) -> KeyRecord | None:
        """The key of that id, or ``None``."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def by_fingerprint(self, fingerprint: Fingerprint) -> KeyRecord | None:
        """The key of that fingerprint, or ``None``."""
        return next((key for key in self.keys if key.fingerprint == fingerprint), None)

    def in_state(self, *states: KeyState) -> tuple[KeyRecord, ...]:
        """Every key in one of these states."""
        return tuple(key for key in self.keys if key.state in states)

    @property
    def current(self) -> KeyRecord | None:
        """The key that the destinations should hold, or ``None`` before the first adoption or issue."""
        return next(iter(self.in_state(KeyState.CURRENT)), None)

    @property
    def in_flight(self) -> RotationRecord | None:
        """The rotation that has not reached its grace yet; there is at most one."""
        early = (Phase.INTENDED, Phase.ISSUED, Phase.VERIFIED, Phase.PUBLISHING)
        return next((rotation for rotation in self.rotations if rotation.phase in early), None)
