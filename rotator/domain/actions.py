"""What a plan can ask for. ``service.apply`` knows how each is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.domain.model import Destination, Identity, KeyFacts
from rotator.domain.secret import Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """The root of all actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A key that a destination holds: the fingerprint of its value, who the provider says it is, and its list row.

    :param ours: its name says that this instance made it for this policy.
    """

    fingerprint: Fingerprint
    identity: Identity
    facts: KeyFacts | None
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt(Action):
    """Record the key that all destinations hold as the current one. Journal only."""

    key: Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue(Action):
    """Create a key, verify it, publish it to every destination, start the grace of all others.

    :param expected: destination name to the version seen now.
    :param replaces: destination name to the fingerprint held now, of values that the provider knows.
    :param found: keys that the destinations hold and the record does not have.
    :param can_wait: for the others of its group and for what its policy depends on, unless it is urgent.
    :param urgent: consumers are without a key, or soon will be: it waits for no canary.
    :param hooks: what is run after it.
    """

    reason: str
    expires_at: datetime
    grace: timedelta
    expected: Mapping[str, str]
    replaces: Mapping[str, Fingerprint]
    found: tuple[Sighting, ...] = ()
    urgent: bool = False
    hooks: tuple[str, ...] = ()
    can_wait: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild(Action):
    """Record a rotation that the journal had lost, from what the destinations and the list show. Journal only."""

    key: Sighting
    published: tuple[str, ...]
    expected: Mapping[str, str]
    replaces: Mapping[str, Fingerprint]
    found: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Action):
    """Finish a rotation whose key is in at least one destination: read it back there, publish the rest.

    :param hooks: what is run after it.
    """

    rotation_id: str
    held: tuple[Destination, ...]
    missing: tuple[Destination, ...]
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon(Action):
    """End a rotation that can't be finished.

    :param published: its key lies in a destination: it becomes retiring. Otherwise it becomes an orphan.
    :param displaced_in: names of the destinations in which it has certainly lain. What another one held before a person
        may have taken out by themselves, and a key of theirs is left to them.
    :param perhaps_read: it lies nowhere, but may have: an orphan that is left its grace.
    :param creation_unknown: its name is looked for until the settle time is over.
    :param lands_on: what its maker would replace, if it is only slow.
    """

    rotation_id: str
    why: str
    published: bool = False
    displaced_in: tuple[str, ...] = ()
    perhaps_read: bool = False
    creation_unknown: bool = False
    lands_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack(Action):
    """Put a replaced key back into every destination, and retire the one that had replaced it.

    :param missing: the destinations that do not hold it yet, each with the version seen now.
    :param replaces: the fingerprint of the key that is taken out.
    :param hooks: what is run after it.
    """

    key_id: str
    missing: tuple[tuple[Destination, str], ...]
    replaces: Fingerprint | None
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHook(Action):
    """Let the consumers of the current key learn of it."""

    key_id: str
    hook: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRollback(Action):
    """A rollback that was asked for can't be carried out."""

    why: str
    lands_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Action):
    """Put the current key back into destinations that somebody else has changed.

    :param changed: each with the version and the fingerprint seen now, and what is told of the change.
    """

    key_id: str
    changed: tuple[tuple[Destination, str, Fingerprint | None, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOrphan(Action):
    """The key of an open intent showed up in the list: it is revoked when nobody can have its secret any more."""

    facts: KeyFacts
    revoke_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStray(Action):
    """A key with a name of ours is in the list and not in the journal: retire it, with a full grace from now."""

    facts: KeyFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle(Action):
    """Stop looking for the key of an open intent."""

    key_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardExpiry(Action):
    """Let the old key end by itself soon after its grace; ``expires_at`` is ``None`` where it does already."""

    key_id: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveExpirationBack(Action):
    """Somebody has put a replaced key back, and that is left alone: it ends when it would have by itself."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BelieveExpiration(Action):
    """The provider's list shows an earlier end of a key than the journal has. Journal only."""

    key_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendGrace(Action):
    """The old key is still in use."""

    key_id: str
    until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke(Action):
    """Revoke a key for ever, then see it refused."""

    key_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRefusal(Action):
    """See a revoked key refused."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Action):
    """Forget a key that is gone, with the evidence. Journal only."""

    key_id: str
    evidence: str
