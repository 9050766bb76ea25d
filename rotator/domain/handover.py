"""The decision chain of a key that a person hands over. Read ``HANDOVER_CHAIN`` at the end first. Pure.

A check is named by the fault that it finds. It returns the reason of its refusal, fit for a person, or ``None`` to let
the next one look. What passes all of them is what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from rotator.domain.model import Identity, KeyKind, Policy
from rotator.domain.record import KeyState, PolicyRecord, RotationRecord
from rotator.domain.secret import SecretValue
from rotator.domain.text import text


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the person who hands over had before their eyes: two people at once must not both be right.

    :param rotation_id: of the request; empty where none was open.
    :param current: the id of the policy's key; empty where there was none.
    """

    rotation_id: str
    current: str


def seen(record: PolicyRecord) -> Seen:
    """As it stands now."""
    return Seen(
        rotation_id=record.awaiting.rotation_id if record.awaiting else "",
        current=record.current.key_id if record.current else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A key that was handed over, and what is known of it. Without its secret.

    :param identity: what the provider says that it is.
    :param expires_at: the expiration that it was given; ``None``: it never ends.
    :param is_told: whether the person said that date; else it is the earliest that they may have been asked for.
    :param ends_latest: see ``KeyRecord``.
    :param records: what the journal remembers of every policy.
    :param organization: of the current key; ``None`` where that is not known.
    :param held_ids: of the keys that the destinations hold.
    :param began: what the person saw; ``None`` where that is not known.
    """

    policy: Policy
    record: PolicyRecord
    identity: Identity
    expires_at: datetime | None
    records: Mapping[str, PolicyRecord]
    organization: str | None
    held_ids: Collection[str]
    began: Seen | None
    now: datetime
    is_told: bool = True
    ends_latest: datetime | None = None


def earliest_end(rotation: RotationRecord, now: datetime) -> datetime:
    """The expiration of a key of which is told that it was made as asked for.

    A request that was open for long has asked for several, one after the other, and nobody knows which one the person
    had read. A key whose end is recorded too early is replaced early; too late, it ends before its replacement comes.
    """
    before = rotation.request.asked_before if rotation.request else ()
    return min([rotation.expires_at, *(end for end in before if end > now)])


def latest_end(rotation: RotationRecord) -> datetime | None:
    """When such a key has ended for certain, where that is later than ``earliest_end``: it may live until then."""
    before = rotation.request.asked_before if rotation.request else ()
    return max([rotation.expires_at, *before]) if before else None


def tidied(secret: SecretValue) -> SecretValue:
    """Without the blanks and line ends that pasting leaves around it."""
    return SecretValue(secret.reveal().strip())


def malformed(secret: SecretValue) -> str:
    """Why a text can be no key; empty where it can. It is never sent then."""
    if secret.is_header_safe():
        return ""
    if not secret.reveal():
        return "nothing was handed over"
    return "it has blanks, line ends or strange characters in it: a key is one word"


def is_no_key(offer: Offer) -> str | None:
    """A person's session, or something else that is no API key."""
    if offer.identity.kind is not KeyKind.OTHER:
        return None
    return "it is no API key: perhaps the token of somebody's session"


def is_legacy_key(offer: Offer) -> str | None:
    """The legacy organisation key works in every project, and can't be revoked."""
    if offer.identity.kind is not KeyKind.LEGACY:
        return None
    return "it is the legacy organisation key, not a key of the project"


def of_another_project(offer: Offer) -> str | None:
    """It would not work where it is needed."""
    key, wanted = offer.identity, offer.policy.project
    if key.project == wanted:
        return None
    return f"{key.key_id} is a key of project {key.project}, not of {wanted}"


def of_another_organization(offer: Offer) -> str | None:
    """The current key belongs to another one."""
    key, wanted = offer.identity, offer.organization
    if wanted is None or key.organization in {None, wanted}:
        return None
    return f"{key.key_id} is a key of organisation {key.organization}, not of {wanted}"


def is_the_current_key(offer: Offer) -> str | None:
    """The very key that is to be replaced."""
    current, key_id = offer.record.current, offer.identity.key_id
    if key_id in offer.held_ids:
        return f"{key_id} is the key that is in place: a new one is asked for"
    if current is None or key_id != current.key_id:
        return None
    return f"{key_id} is the current key, which somebody took out: see 'rotator status {offer.policy.name}'"


def was_seen_before(offer: Offer) -> str | None:
    """A key that is known already may be anywhere. One that was handed over to this policy in vain may come again."""
    key_id = offer.identity.key_id
    known = offer.record.key(key_id)
    if known is not None and known.state is KeyState.ORPHAN and known.revocation is None:
        return None
    for record in offer.records.values():
        if record.key(key_id) or record.has_found(key_id) or key_id in record.closed:
            where = "" if record.policy == offer.policy.name else f" by {record.policy}"
            return f"{key_id} is known already{where}: a key that was never used before is asked for"
    return None


def ends_too_soon(offer: Offer) -> str | None:
    """By the expiration that it was given, it would be due for renewal already."""
    ends, soonest = offer.expires_at, offer.now + offer.policy.renew_before
    if ends is None or ends > soonest or not offer.is_told:
        return None
    return f"{offer.identity.key_id} would end at {text(ends)}, and be due for renewal already"


HANDOVER_CHAIN: tuple[Callable[[Offer], str | None], ...] = (
    is_no_key,
    is_legacy_key,
    of_another_project,
    of_another_organization,
    is_the_current_key,
    was_seen_before,
    ends_too_soon,
)
"""For a key that the provider accepts."""


def refusal(offer: Offer) -> str | None:
    """The first reason to refuse it."""
    return next((why for check in HANDOVER_CHAIN if (why := check(offer))), None)


def comes_too_late(offer: Offer) -> str | None:
    """Somebody else was faster, or the need is gone: this is a good key, and nobody needs it."""
    if offer.record.awaiting or (offer.began is not None and offer.began == seen(offer.record)):
        return None
    what = "no key is asked for" if offer.began is None else "a key was handed over already, or is not needed any more"
    return f"{what}: revoke {offer.identity.key_id} in the console, unless somebody uses it"
