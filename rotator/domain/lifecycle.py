"""The life of a rotation and of its keys: which moves are legal, and what each event makes of a record.

``fold(event, record)`` is the only way in which a ``PolicyRecord`` changes. It is pure; the journal stores
the event and the folded record in one transaction.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import singledispatch

from rotator.domain import events as ev
from rotator.domain.moves import (
    change_key,
    complete_quiet_rotations,
    forget,
    forwarded,
    found_and_retired,
    hook_ran,
    is_displaced,
    is_replaced,
    key_forgotten,
    known_key,
    known_rotation,
    landed_until_now,
    lengthened,
    may_land,
    move,
    orphaned,
    overtaken_by,
    prolonged,
    put_back,
    put_rotation,
    remembered,
    replaced_all,
    restarted,
    retired,
    taken_out,
    with_new_key,
    without_rollback,
)
from rotator.domain.record import (
    KeyRecord,
    KeyState,
    OpenIntent,
    Origin,
    Phase,
    PolicyRecord,
    Rollback,
    RotationRecord,
)
from rotator.domain.request_moves import REQUEST_MOVES
from rotator.errors import IllegalMove, Overtaken

CLOSED_REMEMBERED = 16
"""How many ended keys are remembered by their id."""


@singledispatch
def fold(event: ev.Event, record: PolicyRecord) -> PolicyRecord:
    """What the record becomes by this event. Raises ``IllegalMove`` where the table does not allow it."""
    raise IllegalMove(f"{record.policy}: no rule for {type(event).__name__}")


def fold_all(record: PolicyRecord, happened: list[ev.Event]) -> PolicyRecord:
    """Fold several events, in order."""
    for event in happened:
        record = fold(event, record)
    return record


@fold.register
def _(event: ev.KeyAdopted, record: PolicyRecord) -> PolicyRecord:
    def displaced(key: KeyRecord) -> KeyRecord | None:
        if key.state is not KeyState.CURRENT:
            may_have_landed = key.lands_on and event.key.fingerprint not in key.lands_on.values()
            is_used = may_have_landed and not (key.leaked or key.condemned)
            return landed_until_now(key, event.grace_until, event.grace_limit) if is_used else key
        if key.origin is not Origin.ISSUED and not key.replaced_by:
            return None
        return retired(key, event.grace_until, event.grace_limit, replaced_by="")

    rest = [displaced(key) for key in record.keys if key.key_id != event.key.key_id]
    known = record.key(event.key.key_id)
    # A key of ours that the journal had lost is what was asked for meanwhile; a leak is answered once too often.
    is_answer = event.key.origin is Origin.ISSUED and (known is None or known.state is KeyState.ORPHAN)
    requested = "" if is_answer and not record.compromised else record.requested
    known_again = remembered(record, event.key.key_id)
    adopted = replace(known_again, keys=(*(key for key in rest if key), event.key), requested=requested)
    return taken_out(adopted, record, event.grace_until)


@fold.register
def _(event: ev.RotationIntended, record: PolicyRecord) -> PolicyRecord:
    if record.in_flight:
        raise IllegalMove(f"{record.policy}: {record.in_flight.rotation_id} is still in flight")
    rotation = event.rotation
    if why := overtaken_by(record, rotation.started_at):
        raise Overtaken(f"{record.policy}: no new key is made, because {why}")
    if record.compromised:  # perhaps told since it was decided; no key is made yet, so it is the answer all the same
        rotation = replace(rotation, compromised=True, grace=timedelta(0))
    return replace(record, rotations=(*record.rotations, rotation), rollback=None)


@fold.register
def _(event: ev.KeyIssued, record: PolicyRecord) -> PolicyRecord:
    record = move(
        record,
        event.rotation_id,
        Phase.ISSUED,
        lambda rotation: replace(rotation, key_id=event.key.key_id, fingerprint=event.key.fingerprint),
    )
    others = (key for key in record.keys if key.key_id != event.key.key_id)  # it was handed over before, to no end
    return replace(record, keys=(*others, event.key))


@fold.register
def _(event: ev.KeyVerified, record: PolicyRecord) -> PolicyRecord:
    return move(record, event.rotation_id, Phase.VERIFIED)


@fold.register
def _(event: ev.DestinationRebased, record: PolicyRecord) -> PolicyRecord:
    rotation = known_rotation(record, event.rotation_id)
    expected = {**rotation.expected, event.destination: event.version}
    return put_rotation(record, replace(rotation, expected=expected))


@fold.register
def _(event: ev.DestinationPublished, record: PolicyRecord) -> PolicyRecord:
    def add(rotation: RotationRecord) -> RotationRecord:
        return replace(rotation, published=tuple(dict.fromkeys((*rotation.published, event.destination))))

    return move(record, event.rotation_id, Phase.PUBLISHING, add)


@fold.register
def _(event: ev.OrphanLanded, record: PolicyRecord) -> PolicyRecord:
    return change_key(
        record,
        event.key_id,
        lambda key: retired(key, event.grace_until, event.grace_limit, replaced_by=event.rotation_id),
    )


@fold.register
def _(event: ev.GraceStarted, record: PolicyRecord) -> PolicyRecord:
    rotation = known_rotation(record, event.rotation_id)
    record = replaced_all(record, rotation, event.grace_until, event.grace_limit, event.hooks)
    if rotation.compromised or not record.compromised:  # what was begun before a leak was told is no answer to it
        record = replace(record, requested="", compromised=False)
    return complete_quiet_rotations(move(record, event.rotation_id, Phase.GRACE))


@fold.register
def _(event: ev.HookRan, record: PolicyRecord) -> PolicyRecord:
    return hook_ran(record, event.key_id, event.hook, event.grace_until)


@fold.register
def _(event: ev.RotationAbandoned, record: PolicyRecord) -> PolicyRecord:
    rotation = known_rotation(record, event.rotation_id)

    def fate(key: KeyRecord) -> KeyRecord | None:
        if key.state is KeyState.CURRENT and event.grace_until and is_displaced(rotation, key, event.displaced_in):
            return replace(key, replaced_by=rotation.rotation_id)  # somewhere, at least
        if key.state is KeyState.RETIRING and event.grace_until and event.grace_limit and is_replaced(rotation, key):
            return key if key.leaked or key.condemned else restarted(key, event.grace_until, event.grace_limit)
        if key.key_id != rotation.key_id or key.state is not KeyState.CANDIDATE:
            return key
        if event.grace_until and event.grace_limit:
            gone = retired(key, event.grace_until, event.grace_limit, replaced_by="")
            return replace(gone, lands_on=event.lands_on)
        if event.settled_at:
            return None  # the id is not believed: what has the name in the list is the key
        return replace(orphaned(key, event), project=event.project or key.project)

    fates = (fate(key) for key in record.keys)
    found: tuple[KeyRecord, ...] = ()
    if event.grace_until and event.grace_limit:
        # It was published somewhere, and has replaced there what lay there.
        all_found = found_and_retired(record, rotation, event.grace_until, event.grace_limit)
        found = tuple(key for key in all_found if is_displaced(rotation, key, event.displaced_in))
    record = replace(record, keys=(*(key for key in fates if key), *found))
    if event.settled_at:
        intent = OpenIntent(
            key_name=rotation.key_name,
            revoke_after=event.revoke_after or event.settled_at,
            settled_at=event.settled_at,
        )
        record = replace(record, open_intents=(*record.open_intents, intent))
    return forget(move(record, event.rotation_id, Phase.ABANDONED), event.rotation_id)


@fold.register
def _(event: ev.OrphanFound, record: PolicyRecord) -> PolicyRecord:
    return with_new_key(record, event.key)


@fold.register
def _(event: ev.StrayFound, record: PolicyRecord) -> PolicyRecord:
    return with_new_key(record, event.key)


@fold.register
def _(event: ev.RotationRebuilt, record: PolicyRecord) -> PolicyRecord:
    if record.in_flight:
        raise IllegalMove(f"{record.policy}: {record.in_flight.rotation_id} is still in flight")
    others = tuple(key for key in record.keys if key.key_id != event.key.key_id)
    record = remembered(record, event.key.key_id)
    return replace(record, keys=(*others, event.key), rotations=(*record.rotations, event.rotation))


@fold.register
def _(event: ev.IntentSettled, record: PolicyRecord) -> PolicyRecord:
    return replace(record, open_intents=tuple(i for i in record.open_intents if i.key_name != event.key_name))


@fold.register
def _(event: ev.ExpiryForwarded, record: PolicyRecord) -> PolicyRecord:
    return change_key(record, event.key_id, lambda key: forwarded(key, event.expires_at))


@fold.register
def _(event: ev.ExpiryUncertain, record: PolicyRecord) -> PolicyRecord:
    return change_key(record, event.key_id, lambda key: replace(key, expiry_forwarded=False))


@fold.register
def _(event: ev.GraceExtended, record: PolicyRecord) -> PolicyRecord:
    return change_key(record, event.key_id, lambda key: lengthened(key, event.grace_until))


@fold.register
def _(event: ev.GraceRestarted, record: PolicyRecord) -> PolicyRecord:
    for key_id in event.key_ids:
        record = change_key(record, key_id, lambda key: restarted(key, event.grace_until, event.grace_limit))
    return record


@fold.register
def _(event: ev.RevocationIntended, record: PolicyRecord) -> PolicyRecord:
    key = known_key(record, event.key_id)
    if key.state not in {KeyState.RETIRING, KeyState.ORPHAN}:
        raise IllegalMove(f"{record.policy}: {key.key_id} is {key.state}, it can't be revoked")
    record = change_key(record, key.key_id, lambda condemned: replace(condemned, condemned=True))
    if key.replaced_by and any(r.rotation_id == key.replaced_by for r in record.rotations):
        return move(record, key.replaced_by, Phase.REVOKING)
    return record


@fold.register
def _(event: ev.KeyRevoked, record: PolicyRecord) -> PolicyRecord:
    return change_key(
        record,
        event.key_id,
        lambda key: replace(key, state=KeyState.REVOKED, revoked_at=event.revoked_at),
    )


@fold.register
def _(event: ev.KeyClosed, record: PolicyRecord) -> PolicyRecord:
    key = known_key(record, event.key_id)
    if key.state is KeyState.CANDIDATE:
        raise IllegalMove(f"{record.policy}: {key.key_id} belongs to a rotation in flight")
    revoked = (event.key_id,) if key.state is KeyState.REVOKED else ()  # of others, a list may be right again
    closed = (*record.closed, *revoked)[-CLOSED_REMEMBERED:]
    record = replace(record, keys=tuple(k for k in record.keys if k.key_id != event.key_id), closed=closed)
    return complete_quiet_rotations(record)


@fold.register
def _(event: ev.Held, record: PolicyRecord) -> PolicyRecord:
    return replace(record, hold=event.reason, hold_until=event.until)


@fold.register
def _(event: ev.GraceProlonged, record: PolicyRecord) -> PolicyRecord:
    for key_id in event.key_ids:
        key = record.key(key_id)
        if key and key.state is KeyState.RETIRING:  # it may have ended since the operator looked
            record = change_key(record, key_id, lambda key: prolonged(key, event.grace_until))
    return record


@fold.register
def _(event: ev.RotationRequested, record: PolicyRecord) -> PolicyRecord:
    record = without_rollback(record, may_land(record))
    return replace(record, requested=event.reason, compromised=record.compromised or event.compromised)


@fold.register
def _(event: ev.RollbackRequested, record: PolicyRecord) -> PolicyRecord:
    if record.rollback:
        return record  # a repeat: what has begun goes on
    requested = record.requested if record.compromised else ""
    return replace(record, rollback=Rollback(reason=event.reason), requested=requested)


@fold.register
def _(event: ev.RollbackBegun, record: PolicyRecord) -> PolicyRecord:
    if record.rollback is None:
        return record  # an operator has asked for something else meanwhile
    known_key(record, event.key_id)
    return replace(record, rollback=replace(record.rollback, rollback_id=event.rollback_id, key_id=event.key_id))


@fold.register
def _(event: ev.ExpirationRestored, record: PolicyRecord) -> PolicyRecord:
    return change_key(record, event.key_id, lambda key: _ending_by_itself(key, event.expires_at))


@fold.register
def _(event: ev.ExpirationSeen, record: PolicyRecord) -> PolicyRecord:
    def seen(key: KeyRecord) -> KeyRecord:
        return replace(_ending_by_itself(key, event.expires_at), ends_latest=None, expires_told_by="")

    return change_key(record, event.key_id, seen)


@fold.register
def _(event: ev.RolledBack, record: PolicyRecord) -> PolicyRecord:
    if record.rollback is None or record.rollback.key_id != event.key_id:
        return record  # an operator has asked for something else meanwhile: the next look decides on what lies there
    return put_back(
        record,
        known_key(record, event.key_id),
        rotation_id=record.rollback.rollback_id,
        rest_until=event.rest_until,
        hooks=event.hooks,
        newer=lambda key: retired(key, event.grace_until, event.grace_limit, replaced_by="", at=event.at),
    )


@fold.register
def _(event: ev.RollbackDropped, record: PolicyRecord) -> PolicyRecord:
    return without_rollback(record, event.lands_on)


@fold.register
def _(event: ev.DestinationRestored, record: PolicyRecord) -> PolicyRecord:
    def told_anew(key: KeyRecord) -> KeyRecord:
        return replace(key, hooks_due=tuple(dict.fromkeys((*key.hooks_due, *event.hooks))))

    return change_key(record, event.key_id, told_anew)


@fold.register
def _(event: ev.KeyForgotten, record: PolicyRecord) -> PolicyRecord:
    return key_forgotten(record, event.key_id)


@fold.register
def _(_event: ev.PolicyForgotten, record: PolicyRecord) -> PolicyRecord:
    return PolicyRecord(policy=record.policy)


for _kind, _move in REQUEST_MOVES.items():
    fold.register(_kind, _move)


def _ending_by_itself(key: KeyRecord, at: datetime | None) -> KeyRecord:
    """The key with an expiration that is not one that we had brought forward."""
    return replace(key, expires_at=at, expiry_forwarded=False, first_expiry=None)
