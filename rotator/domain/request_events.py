"""What can happen where people make and revoke keys: more entries of the journal, beside those of ``domain.events``.

Each that a person is to hear of has all that they need: what to do, where, by when. None holds a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.domain.events import Event
from rotator.domain.record import HandoverLink, KeyRecord, Level, RotationRecord
from rotator.domain.secret import Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequested(Event):
    """A person is asked to make a key of this name and expiration in this project, and to hand it over.

    :param rotation: in phase ``awaiting key``, with its request.
    :param hand_over: the ways to do so: a command, the name of an inbox.
    :param by: who handed it over before it was asked for; empty where that did not happen.
    """

    rotation: RotationRecord
    key_name: str
    project: str
    expires_at: datetime
    deadline: datetime
    hand_over: tuple[str, ...]
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequestChanged(Event):
    """What is asked for is another: by an earlier moment, for another reason, or with a later expiration."""

    rotation_id: str
    key_name: str
    project: str
    reason: str
    expires_at: datetime
    deadline: datetime
    hand_over: tuple[str, ...]
    at: datetime
    urgent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequestWithdrawn(Event):
    """The key is not needed any more. Nothing was made for it, as far as anybody told."""

    rotation_id: str
    key_name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonReminded(Event):
    """A request is announced again: of a new key (``rotation_id``), or of a revocation (``key_id``)."""

    at: datetime
    level: Level
    deadline: datetime
    project: str
    key_name: str
    rotation_id: str = ""
    key_id: str = ""
    expires_at: datetime | None = None
    hand_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverLinkMade(Event):
    """A link to the page where the key is handed over; whichever was made before opens nothing any more.

    :param link: without its token.
    :param by: who made it.
    """

    rotation_id: str
    link: HandoverLink
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverAccepted(Event):
    """A key was handed over, and is what was asked for; ``KeyIssued`` and ``KeyVerified`` follow in the same step.

    :param expected, replaces, found: see ``RotationRecord``; as they are now.
    :param via: ``submit``, ``inbox`` or ``page``.
    """

    rotation_id: str
    expected: Mapping[str, str]
    replaces: Mapping[str, Fingerprint]
    grace: timedelta
    by: str
    via: str
    found: tuple[KeyRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverRefused(Event):
    """What was handed over is not what was asked for. Nothing of it is kept.

    :param rotation_id: of the request; empty where there was none.
    :param key_id: as the provider calls it; empty where it knows no such key.
    """

    why: str
    by: str
    via: str
    rotation_id: str = ""
    key_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverInterrupted(Event):
    """A key that was handed over is published nowhere, and its secret is lost: the request is open again.

    :param revoke_after: see ``KeyRecord``.
    :param grace_limit: see ``KeyRecord``: of a key that may have been published.
    :param lands_on: see ``KeyRecord``.
    """

    rotation_id: str
    why: str
    revoke_after: datetime
    grace_limit: datetime | None = None
    lands_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRequested(Event):
    """All gates were passed: a person is asked to revoke exactly this key.

    :param expires_at: when it ends by itself; ``None`` where that is not known.
    """

    key_id: str
    key_name: str
    project: str
    why: str
    at: datetime
    deadline: datetime
    expires_at: datetime | None
    urgent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationWithdrawn(Event):
    """The key is needed after all, or for longer: nobody shall revoke it now."""

    key_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationTold(Event):
    """A person says that the key is revoked. Their word; where it can be observed, that counts.

    :param at: ``None`` in older journals.
    """

    key_id: str
    by: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationContradicted(Event):
    """The provider accepts a key after that word, which does not count any more."""

    key_id: str
    by: str
