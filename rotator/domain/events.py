"""What can happen to a policy's keys: the entries of the journal. ``domain.lifecycle`` folds them into a record.

Each event is recorded before the next effect outside. None holds a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

from rotator.domain.record import KeyRecord, RotationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The root of all events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAdopted(Event):
    """A key that all destinations hold was identified, and is the current one from now on.

    A displaced current key becomes retiring if we had issued it, or had begun to replace it; one that a person had
    made is theirs again.

    :param by: the operator who said so; empty where a look found it.
    """

    key: KeyRecord
    grace_until: datetime
    grace_limit: datetime
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationIntended(Event):
    """A key of this name is about to be created."""

    rotation: RotationRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyIssued(Event):
    """The provider created the key; its secret is in memory only."""

    rotation_id: str
    key: KeyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVerified(Event):
    """The provider accepts the new secret, and says that it is that key in that project."""

    rotation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRebased(Event):
    """Somebody wrote beside our value: the same value now has another version to compare with."""

    rotation_id: str
    destination: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationPublished(Event):
    """The destination was read back with the new key."""

    rotation_id: str
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanLanded(Event):
    """A key that was given up was published late, and is being replaced there: its consumers get a grace."""

    rotation_id: str
    key_id: str
    grace_until: datetime
    grace_limit: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceStarted(Event):
    """Every destination holds the new key; all others of the policy are retiring until the deadline.

    :param hooks: by which the consumers are to learn of the new key: those of the policy at that moment.
    """

    rotation_id: str
    grace_until: datetime
    grace_limit: datetime
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationAbandoned(Event):
    """The rotation ends without having replaced the key.

    :param revoke_after: the candidate is an orphan, revoked from then on; ``None`` where there is no candidate.
    :param grace_until: the candidate was published somewhere: it is retiring, not an orphan.
    :param grace_limit: see ``KeyRecord``; without ``grace_until``, of an orphan that may have been published.
    :param displaced_in: see ``domain.actions.Abandon``.
    :param settled_at: whether the creation happened, or as which key, is unknown; its name is looked for until then.
    :param lands_on: see ``KeyRecord``.
    :param project: where the provider says that the candidate is, if it is not where it should be.
    """

    rotation_id: str
    why: str
    revoke_after: datetime | None = None
    grace_until: datetime | None = None
    grace_limit: datetime | None = None
    settled_at: datetime | None = None
    lands_on: Mapping[str, str] = field(default_factory=dict)
    project: str = ""
    displaced_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRebuilt(Event):
    """A rotation that the journal had lost: some destinations hold its key already, the others are to follow."""

    rotation: RotationRecord
    key: KeyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayFound(Event):
    """A key with a name of ours that the journal does not know. Somebody may hold it: it gets a full grace."""

    key: KeyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanFound(Event):
    """A key of ours is in the provider's list, and nobody can hold its secret."""

    key: KeyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentSettled(Event):
    """A creation of unknown outcome did not show up in time: it never happened, or its key is dealt with."""

    key_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryForwarded(Event):
    """The key ends by itself soon after its grace: ``expires_at`` is its expiration from now on, or may be."""

    key_id: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryUncertain(Event):
    """Whether the key's expiration was set is not known: it may end then, and it is tried again."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceExtended(Event):
    """The old key was still in use at its deadline."""

    key_id: str
    grace_until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceRestarted(Event):
    """Where the current key is about to be put back, replaced keys had consumers again, or consumers had no key at all.

    Told before the write, so that no crash can leave the keys with less time than those consumers need.
    """

    key_ids: tuple[str, ...]
    grace_until: datetime
    grace_limit: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationIntended(Event):
    """All gates were passed; the revocation is about to be sent."""

    key_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked(Event):
    """The provider confirmed the revocation; its refusal was not seen yet."""

    key_id: str
    revoked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyClosed(Event):
    """The end of a key, with the evidence (``401 invalid_api_key``). It leaves the record."""

    key_id: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Event):
    """An operator put the policy on hold; an empty text releases it. The last one given counts.

    :param until: it ends by itself then; ``None`` where only an operator releases it.
    :param by: who released it, and perhaps why; of a hold the reason tells it.
    """

    reason: str
    until: datetime | None = None
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceProlonged(Event):
    """An operator lets the replaced keys live longer: each until then at least, never shorter than before."""

    key_ids: tuple[str, ...]
    grace_until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRequested(Event):
    """An operator asked for a new key; ``compromised`` means: at once, and without grace."""

    reason: str
    compromised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackRequested(Event):
    """An operator asked to put the key back that the last rotation had replaced."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBegun(Event):
    """That key is accepted, and its value is there: it is about to be put back."""

    rollback_id: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpirationRestored(Event):
    """The key's expiration is no longer the one that we had brought forward, but this one."""

    key_id: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpirationSeen(Event):
    """The provider's list shows that the current key ends earlier than was known.

    Somebody has set that; or it is a person's key, whose end could not be known before there was a list. ``None``: the
    provider accepts a replaced key after the end that was told of it, so that nobody knows when it ends.
    """

    key_id: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack(Event):
    """Every destination holds the former key again; the one that had replaced it is retiring.

    :param rest_until: the former key is not replaced again before.
    :param hooks: see ``GraceStarted``.
    :param at: since when; ``None`` in older journals.
    """

    key_id: str
    grace_until: datetime
    grace_limit: datetime
    rest_until: datetime
    hooks: tuple[str, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRan(Event):
    """A hook of the current key succeeded.

    :param grace_until: its consumers have only just learnt of the key: what it replaced is not revoked before.
    """

    key_id: str
    hook: str
    grace_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackDropped(Event):
    """The rollback can't be carried out, or not to its end.

    :param lands_on: for a key that was about to be put back; see ``KeyRecord``.
    """

    why: str
    lands_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRestored(Event):
    """Somebody else had changed the destination; it holds the current key again.

    :param hooks: see ``GraceStarted``; none where the metadata alone had been changed.
    """

    key_id: str
    destination: str
    was: str
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyForgotten(Event):
    """An operator said: this key is no business of ours any more. It is not revoked."""

    key_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyForgotten(Event):
    """An operator said so of a policy that is not configured any more. No key of it is revoked."""

    key_ids: tuple[str, ...]
    reason: str


def told(event: Event) -> tuple[str, dict[str, str]]:
    """The event for a log: ``("key.issued", {"key_id": ..., ...})``, flat and short."""
    name = ".".join(re.findall("[A-Z][a-z]+", type(event).__name__)).lower()
    flat: dict[str, str] = {}
    for one in fields(event):
        match getattr(event, one.name):
            case None | "" | ():
                continue
            case tuple() as names:
                flat[one.name] = ", ".join(map(str, names))
            case Mapping():
                continue  # destination to fingerprint: of no use to a reader
            case KeyRecord() as key:
                flat |= {"key_id": key.key_id, "key_name": key.name}
            case RotationRecord() as rotation:
                flat |= {"rotation_id": rotation.rotation_id, "key_name": rotation.key_name, "why": rotation.reason}
            case datetime() as moment:
                flat[one.name] = moment.isoformat(timespec="seconds")
            case value:
                flat[one.name] = str(value)
    return name, flat
