"""Which key a rollback puts back, and whether it can. Pure."""

from __future__ import annotations

from rotator.domain.actions import Action, DropRollback, RollBack
from rotator.domain.model import Refused
from rotator.domain.moves import may_land
from rotator.domain.record import KeyRecord, KeyState, Phase, PolicyRecord, RotationRecord
from rotator.domain.verdict import Context


def former_key(record: PolicyRecord) -> KeyRecord | str:
    """The key that the last rotation replaced, or why it can't be put back."""
    current = record.current
    rotation = next((r for r in record.rotations if current and r.rotation_id == current.rotation_id), None)
    if record.in_flight:
        return f"rotation {record.in_flight.rotation_id} is not finished"
    if rotation is None:
        return "there is no rotation to take back: nothing was replaced, or its grace is over"
    if record.compromised or rotation.compromised:
        return "the key before was told to have leaked"
    return _replaced_by(record, rotation)


def _replaced_by(record: PolicyRecord, rotation: RotationRecord) -> KeyRecord | str:
    former = [key for key in record.in_state(KeyState.RETIRING) if key.replaced_by == rotation.rotation_id]
    if len(former) > 1 or len(set(rotation.replaces.values())) > 1:
        return "the destinations held different keys before"
    if not former or rotation.phase is not Phase.GRACE:
        return "the key before is gone, or its revocation was decided"
    (key,) = former
    if key.condemned:  # in an earlier grace, before somebody put it back: it may have been sent, and come late
        return "its revocation was decided"
    return key if key.fingerprint else f"the value of {key.key_id} is not known"


def roll_back(context: Context) -> Action:
    """The next step of a rollback that was asked for."""
    former, current = former_key(context.record), context.record.current
    if isinstance(former, str):
        return DropRollback(why=former)
    assert current is not None, "a rotation that can be taken back has a key"
    if isinstance(context.world.identities.get(former.fingerprint) if former.fingerprint else None, Refused):
        return _dropped(context, f"the provider does not accept {former.key_id} any more")
    ours = {former.fingerprint, current.fingerprint, None}
    foreign = [view.destination.name for view in context.world.destinations if view.fingerprint not in ours]
    if foreign:
        return _dropped(context, f"somebody else has written {', '.join(foreign)} since")
    if current.expires_at and current.expires_at <= context.now + context.policy.renew_before / 2:
        return _dropped(context, f"it did not come to its end, and {current.key_id} is to be replaced now")
    missing = [view for view in context.world.destinations if view.fingerprint != former.fingerprint]
    return RollBack(
        key_id=former.key_id,
        missing=tuple((view.destination, view.version) for view in missing),
        replaces=current.fingerprint,
        hooks=context.policy.hooks,
    )


def _dropped(context: Context, why: str) -> DropRollback:
    """What was begun may still arrive where the newer key lies."""
    return DropRollback(why=why, lands_on=may_land(context.record))
