"""Which moves of a rotation are legal, and the small changes of a record that ``lifecycle`` is made of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime

from rotator.domain.events import RotationAbandoned
from rotator.domain.record import Expiration, KeyRecord, KeyState, Origin, Phase, PolicyRecord, RotationRecord
from rotator.domain.request_events import HandoverInterrupted
from rotator.errors import IllegalMove

LEGAL_MOVES: Mapping[Phase, frozenset[Phase]] = {
    Phase.INTENDED: frozenset({Phase.ISSUED, Phase.ABANDONED}),
    Phase.AWAITING: frozenset({Phase.ISSUED, Phase.ABANDONED}),
    # Back to AWAITING: a key that was handed over got nowhere, and its secret is lost; it may be handed over again.
    Phase.ISSUED: frozenset({Phase.VERIFIED, Phase.ABANDONED, Phase.AWAITING}),
    # A publish whose record was lost in a crash is found again by reading: that is why PUBLISHING can follow both.
    Phase.VERIFIED: frozenset({Phase.PUBLISHING, Phase.ABANDONED, Phase.AWAITING}),
    Phase.PUBLISHING: frozenset({Phase.PUBLISHING, Phase.GRACE, Phase.ABANDONED}),
    Phase.GRACE: frozenset({Phase.REVOKING, Phase.COMPLETED, Phase.ROLLED_BACK}),
    Phase.REVOKING: frozenset({Phase.REVOKING, Phase.COMPLETED}),
    Phase.COMPLETED: frozenset(),
    Phase.ABANDONED: frozenset(),
    Phase.ROLLED_BACK: frozenset(),
}


_REMEMBERED = 10
"""So many keys that people took out."""


def found_and_retired(
    record: PolicyRecord, rotation: RotationRecord, until: datetime, limit: datetime, at: datetime | None = None
) -> tuple[KeyRecord, ...]:
    """The keys that the rotation found in the destinations, and that nobody had recorded."""
    return tuple(
        retired(key, until, limit, replaced_by=rotation.rotation_id, at=at)
        for key in rotation.found
        if not record.key(key.key_id)
    )


def replaced_all(
    record: PolicyRecord, rotation: RotationRecord, until: datetime, limit: datetime, hooks: tuple[str, ...]
) -> PolicyRecord:
    """The rotation's key is the current one, with its hooks to run, and every key that it replaced is in its grace."""
    leaked = {other.rotation_id for other in record.rotations if other.compromised and other is not rotation}
    at = until - rotation.grace

    def turn(key: KeyRecord) -> KeyRecord | None:
        if key.key_id == rotation.key_id:
            return replace(key, state=KeyState.CURRENT, hooks_due=hooks)
        was_held = is_replaced(rotation, key)
        if key.state is KeyState.CURRENT:
            # A person's key that lay nowhere any more was not replaced by us: somebody had taken it away before.
            is_theirs = key.origin is Origin.ADOPTED and not (was_held or key.replaced_by or rotation.compromised)
            if key.leaked:  # somebody had put it back
                return retired(key, at, at, replaced_by=rotation.rotation_id, at=at)
            return None if is_theirs else retired(key, until, limit, replaced_by=rotation.rotation_id, at=at)
        if key.leaked or key.replaced_by in leaked:
            return key  # nobody is given a grace for it, whoever has put it back
        # A retiring key that somebody had put back has consumers again: its grace starts anew.
        if key.state in {KeyState.RETIRING, KeyState.ORPHAN} and was_held:
            return retired(_with_value(rotation, key), until, limit, replaced_by=rotation.rotation_id, at=at)
        return _replaced_before(rotation, key, until, limit) if key.may_be_in_use else key

    found = found_and_retired(record, rotation, until, limit, at)
    turned = (turn(key) for key in record.keys)
    kept = (*(key for key in turned if key), *found)
    if rotation.compromised:
        kept = tuple(replace(key, leaked=key.leaked or key.may_be_in_use) for key in kept)
        return replace(record, keys=kept, taken_out={})
    return taken_out(replace(record, keys=kept), record, until)


def _replaced_before(rotation: RotationRecord, key: KeyRecord, until: datetime, limit: datetime) -> KeyRecord:
    """A key in its grace, or an orphan that may have been read, when a further rotation has come to its own.

    Where a place had no working key, its consumers could not go over to anything until now: what they may still use
    has its whole grace from now too.
    """
    if key.state is KeyState.ORPHAN:
        ends_at = min(key.revoke_after or until, until)
        return replace(key, revoke_after=ends_at, grace_limit=until) if rotation.compromised else key
    if rotation.compromised:
        return replace(key, grace_until=until, grace_limit=limit)
    at = until - rotation.grace
    if key.lands_on:
        return landed_until_now(key, until, limit, at)
    had_none = rotation.expected.keys() - rotation.replaces.keys()
    return restarted(key, until, limit, at) if had_none and not key.condemned else key


def orphaned(key: KeyRecord, event: RotationAbandoned | HandoverInterrupted) -> KeyRecord:
    """The key that was published nowhere, as far as is known, when its rotation broke off."""
    return replace(
        key,
        state=KeyState.ORPHAN,
        revoke_after=event.revoke_after,
        grace_limit=event.grace_limit,
        lands_on=event.lands_on,
    )


def taken_out(record: PolicyRecord, before: PolicyRecord, until: datetime) -> PolicyRecord:
    """The record; of a current key that it has dropped it remembers until when its consumers may use it."""
    gone = before.current
    if gone is None or gone.leaked or record.key(gone.key_id):
        return record
    others = [(key_id, at) for key_id, at in record.taken_out.items() if key_id != gone.key_id]
    return replace(record, taken_out=dict([*others, (gone.key_id, until)][-_REMEMBERED:]))


def is_replaced(rotation: RotationRecord, key: KeyRecord) -> bool:
    """Whether a destination held the key when the rotation began."""
    if key.fingerprint is None:  # it was found by its name
        return any(found.key_id == key.key_id for found in rotation.found)
    return key.fingerprint in rotation.replaces.values()


def is_displaced(rotation: RotationRecord, key: KeyRecord, places: Collection[str]) -> bool:
    """Whether the rotation has replaced the key in one of these places at least, or that matters no more."""
    if rotation.compromised:  # what has leaked is nobody's, whoever took it out
        return is_replaced(rotation, key)
    if key.fingerprint is None:
        return bool(places) and is_replaced(rotation, key)
    return key.fingerprint in {rotation.replaces.get(name) for name in places}


def _with_value(rotation: RotationRecord, key: KeyRecord) -> KeyRecord:
    """The key with its fingerprint, which may be known only since it was found in a destination."""
    found = (one.fingerprint for one in rotation.found if one.key_id == key.key_id)
    return replace(key, fingerprint=key.fingerprint or next(found, None))


def retired(
    key: KeyRecord, until: datetime, limit: datetime, *, replaced_by: str, at: datetime | None = None
) -> KeyRecord:
    """The key, in its grace.

    :param at: since when, as far as the event tells.
    """
    return replace(
        key,
        state=KeyState.RETIRING,
        retired_at=at,
        grace_until=until,
        grace_limit=limit,
        replaced_by=replaced_by,
        hooks_due=(),
    )


def hook_ran(record: PolicyRecord, key_id: str, hook: str, grace_until: datetime) -> PolicyRecord:
    """One hook less to run; a grace that would be over too soon for those who have just learnt of the key is longer."""

    def turn(key: KeyRecord) -> KeyRecord:
        if key.key_id == key_id:
            return replace(key, hooks_due=tuple(due for due in key.hooks_due if due != hook))
        if key.state is not KeyState.RETIRING or key.leaked or key.grace_until is None or key.condemned:
            return key
        until = max(key.grace_until, grace_until)
        return replace(key, grace_until=until, grace_limit=max(key.grace_limit or until, until))

    return replace(record, keys=tuple(turn(key) for key in record.keys))


def lengthened(key: KeyRecord, until: datetime) -> KeyRecord:
    """The key, not revoked before that moment; what keeps it longer already stays."""
    return replace(key, grace_until=max(key.grace_until or until, until))


def prolonged(key: KeyRecord, until: datetime) -> KeyRecord:
    """The key with a longer grace; the end that we had brought forward is to be brought along."""
    limit = max(key.grace_limit or until, until)
    return replace(lengthened(key, until), grace_limit=limit, expiry_forwarded=False)


def restarted(key: KeyRecord, until: datetime, limit: datetime, at: datetime | None = None) -> KeyRecord:
    """The key with a whole grace from now, or more where it has more already."""
    return replace(prolonged(key, until), grace_limit=max(key.grace_limit or limit, limit), retired_at=at)


def landed_until_now(key: KeyRecord, until: datetime, limit: datetime, at: datetime | None = None) -> KeyRecord:
    """A key that was about to be published or put back, which was given up: it may have lain in the places for a while.

    They are seen to hold another one now, so a retiring one can't land there any more.
    """
    if key.state is KeyState.ORPHAN:
        ends_at = max(key.revoke_after or until, until)
        return replace(key, revoke_after=ends_at, grace_limit=max(key.grace_limit or limit, limit))
    return key if key.condemned else replace(restarted(key, until, limit, at), lands_on={})


def forwarded(key: KeyRecord, expires_at: datetime | None) -> KeyRecord:
    """The key with an end that we have brought forward; the one that it had is remembered."""
    first = key.first_expiry
    if first is None and expires_at != key.expires_at:
        first = Expiration(key.expires_at)
    return replace(key, expires_at=expires_at, expiry_forwarded=True, first_expiry=first)


def put_back(
    record: PolicyRecord,
    former: KeyRecord,
    *,
    rotation_id: str,
    rest_until: datetime,
    hooks: tuple[str, ...],
    newer: Callable[[KeyRecord], KeyRecord],
) -> PolicyRecord:
    """The former key is the current one again; its rotation has ended, and what had replaced it becomes ``newer``."""

    def turn(key: KeyRecord) -> KeyRecord:
        if key.key_id == former.key_id:
            return replace(
                key,
                state=KeyState.CURRENT,
                retired_at=None,
                grace_until=None,
                grace_limit=None,
                replaced_by="",
                expiry_forwarded=False,
                rest_until=rest_until,
                rotation_id=rotation_id,
                hooks_due=hooks,
            )
        return newer(key) if key.state is KeyState.CURRENT else key

    record = replace(record, keys=tuple(turn(key) for key in record.keys), rollback=None)
    return forget(move(record, former.replaced_by, Phase.ROLLED_BACK), former.replaced_by)


def without_rollback(record: PolicyRecord, lands_on: Mapping[str, str]) -> PolicyRecord:
    """The rollback that was asked for is given up, perhaps in the middle.

    Whether its key's early end was taken back is not certain then: it is set again.
    """
    key_id = record.rollback.key_id if record.rollback else ""
    if record.key(key_id):
        record = change_key(record, key_id, lambda key: replace(key, lands_on=lands_on, expiry_forwarded=False))
    return replace(record, rollback=None)


def may_land(record: PolicyRecord) -> Mapping[str, str]:
    """Where a rollback that was begun may still put its key: wherever the newer one was published."""
    former = record.key(record.rollback.key_id) if record.rollback else None
    newer = record.current.fingerprint if record.current else None
    if former is None or newer is None:
        return {}
    published = (r.published for r in record.rotations if r.rotation_id == former.replaced_by)
    return {name: newer for names in published for name in names}


def with_new_key(record: PolicyRecord, key: KeyRecord) -> PolicyRecord:
    """One key more; ``IllegalMove`` where it is known already."""
    if record.key(key.key_id):
        raise IllegalMove(f"{record.policy}: {key.key_id} is known already")
    return replace(record, keys=(*record.keys, key))


def known_key(record: PolicyRecord, key_id: str) -> KeyRecord:
    """The key of that id, or ``IllegalMove``."""
    key = record.key(key_id)
    if key is None:
        raise IllegalMove(f"{record.policy}: {key_id} is not ours")
    return key


def change_key(record: PolicyRecord, key_id: str, change: Callable[[KeyRecord], KeyRecord]) -> PolicyRecord:
    """The record with that key changed, or ``IllegalMove``."""
    changed = change(known_key(record, key_id))
    return replace(record, keys=tuple(changed if key.key_id == key_id else key for key in record.keys))


def known_rotation(record: PolicyRecord, rotation_id: str) -> RotationRecord:
    """The rotation of that id, or ``IllegalMove``."""
    for rotation in record.rotations:
        if rotation.rotation_id == rotation_id:
            return rotation
    raise IllegalMove(f"{record.policy}: no rotation {rotation_id}")


def put_rotation(record: PolicyRecord, rotation: RotationRecord) -> PolicyRecord:
    """The record with that rotation as it is now."""
    return replace(
        record,
        rotations=tuple(rotation if r.rotation_id == rotation.rotation_id else r for r in record.rotations),
    )


def _same(rotation: RotationRecord) -> RotationRecord:
    return rotation


def move(
    record: PolicyRecord,
    rotation_id: str,
    phase: Phase,
    change: Callable[[RotationRecord], RotationRecord] = _same,
) -> PolicyRecord:
    """Into another phase, and changed; ``IllegalMove`` where the table does not have it."""
    rotation = known_rotation(record, rotation_id)
    if phase not in LEGAL_MOVES[rotation.phase]:
        raise IllegalMove(f"{record.policy}: rotation {rotation_id} can't go from {rotation.phase} to {phase}")
    return put_rotation(record, change(replace(rotation, phase=phase)))


def forget(record: PolicyRecord, rotation_id: str) -> PolicyRecord:
    """A rotation that ended leaves the record; its events stay in the journal."""
    return replace(record, rotations=tuple(r for r in record.rotations if r.rotation_id != rotation_id))


def complete_quiet_rotations(record: PolicyRecord) -> PolicyRecord:
    """A rotation is completed when no key that it replaced is left."""
    open_ids = {key.replaced_by for key in record.keys}
    for rotation in record.rotations:
        if rotation.phase in {Phase.GRACE, Phase.REVOKING} and rotation.rotation_id not in open_ids:
            record = forget(move(record, rotation.rotation_id, Phase.COMPLETED), rotation.rotation_id)
    return record


def overtaken_by(record: PolicyRecord, at: datetime) -> str:
    """What an operator has asked for since a rotation was decided, so that none begins; empty where nothing."""
    if hold := record.held(at):
        return f"the policy is on hold: {hold}"
    return "a rollback was asked for meanwhile" if record.rollback and not record.compromised else ""


def key_forgotten(record: PolicyRecord, key_id: str) -> PolicyRecord:
    """The record without the key, which is not found anew in the provider's list."""
    key = known_key(record, key_id)
    if key.state is KeyState.CANDIDATE and record.in_flight:
        raise IllegalMove(f"{record.policy}: {key_id} belongs to a rotation in flight")
    keys = tuple(one for one in record.keys if one.key_id != key_id)
    lost = {one: until for one, until in record.taken_out.items() if one != key_id}
    record = replace(record, keys=keys, forgotten=(*record.forgotten, key_id), taken_out=lost)
    return complete_quiet_rotations(record)


def remembered(record: PolicyRecord, key_id: str) -> PolicyRecord:
    """A key that was forgotten, and lies in the destinations again."""
    return replace(record, forgotten=tuple(one for one in record.forgotten if one != key_id))
