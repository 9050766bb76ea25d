"""What the events of ``domain.request_events`` make of a record. ``domain.lifecycle`` registers them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from rotator.domain import request_events as ev
from rotator.domain.events import Event
from rotator.domain.moves import (
    change_key,
    forget,
    known_key,
    known_rotation,
    move,
    orphaned,
    overtaken_by,
    put_rotation,
)
from rotator.domain.record import KeyState, PersonRequest, Phase, PolicyRecord, RotationRecord
from rotator.errors import IllegalMove, Overtaken


def _requested(event: ev.KeyRequested, record: PolicyRecord) -> PolicyRecord:
    open_one = record.in_flight or record.awaiting
    if open_one:
        raise IllegalMove(f"{record.policy}: {open_one.rotation_id} is still open")
    if why := overtaken_by(record, event.rotation.started_at):
        raise Overtaken(f"{record.policy}: no key is asked for, because {why}")
    return replace(record, rotations=(*record.rotations, event.rotation), rollback=None)


def _request_changed(event: ev.KeyRequestChanged, record: PolicyRecord) -> PolicyRecord:
    rotation, request = _awaiting(record, event.rotation_id)
    before = [end for end in (*request.asked_before, rotation.expires_at) if event.at < end != event.expires_at]
    changed = replace(
        request, deadline=event.deadline, told_at=event.at, urgent=event.urgent, asked_before=tuple(before)
    )
    return put_rotation(record, replace(rotation, reason=event.reason, expires_at=event.expires_at, request=changed))


def _request_withdrawn(event: ev.KeyRequestWithdrawn, record: PolicyRecord) -> PolicyRecord:
    _awaiting(record, event.rotation_id)
    return forget(move(record, event.rotation_id, Phase.ABANDONED), event.rotation_id)


def _reminded(event: ev.PersonReminded, record: PolicyRecord) -> PolicyRecord:
    if event.key_id:
        return _with_revocation(record, event.key_id, lambda request: replace(request, told_at=event.at))
    rotation, request = _awaiting(record, event.rotation_id)
    return put_rotation(record, replace(rotation, request=replace(request, told_at=event.at)))


def _link_made(event: ev.HandoverLinkMade, record: PolicyRecord) -> PolicyRecord:
    rotation, request = _awaiting(record, event.rotation_id)
    return put_rotation(record, replace(rotation, request=replace(request, link=event.link)))


def _accepted(event: ev.HandoverAccepted, record: PolicyRecord) -> PolicyRecord:
    rotation, _ = _awaiting(record, event.rotation_id)
    leaked = record.compromised  # perhaps told since the handover was looked at
    return put_rotation(
        replace(record, rollback=None) if leaked else record,  # nothing that has leaked is put back
        replace(
            rotation,
            expected=event.expected,
            replaces=event.replaces,
            found=event.found,
            compromised=leaked,
            grace=timedelta(0) if leaked else event.grace,
        ),
    )


def _refused(_event: ev.HandoverRefused, record: PolicyRecord) -> PolicyRecord:
    return record


def _interrupted(event: ev.HandoverInterrupted, record: PolicyRecord) -> PolicyRecord:
    key_id = known_rotation(record, event.rotation_id).key_id

    def emptied(rotation: RotationRecord) -> RotationRecord:
        return replace(rotation, key_id="", fingerprint=None, expected={}, replaces={}, found=())

    if known_rotation(record, event.rotation_id).request is None:
        raise IllegalMove(f"{record.policy}: nobody was asked for {event.rotation_id}")
    return move(
        change_key(record, key_id, lambda key: orphaned(key, event)), event.rotation_id, Phase.AWAITING, emptied
    )


def _revocation_requested(event: ev.RevocationRequested, record: PolicyRecord) -> PolicyRecord:
    key = known_key(record, event.key_id)
    if key.state not in {KeyState.RETIRING, KeyState.ORPHAN}:
        raise IllegalMove(f"{record.policy}: {key.key_id} is {key.state}, nobody shall revoke it")
    request = PersonRequest(opened_at=event.at, deadline=event.deadline, told_at=event.at, urgent=event.urgent)
    record = change_key(record, key.key_id, lambda asked: replace(asked, condemned=True, revocation=request))
    if key.replaced_by and any(r.rotation_id == key.replaced_by for r in record.rotations):
        return move(record, key.replaced_by, Phase.REVOKING)
    return record


def _withdrawn(event: ev.RevocationWithdrawn, record: PolicyRecord) -> PolicyRecord:
    """It stays condemned: a person may have read the request, and act on it late."""
    return change_key(record, event.key_id, lambda key: replace(key, revocation=None))


def _told(event: ev.RevocationTold, record: PolicyRecord) -> PolicyRecord:
    def told(request: PersonRequest) -> PersonRequest:
        # Who says it again, because it is on the list yet, does not make it wait any longer.
        return replace(request, done_by=event.by, done_at=request.done_at if request.done_by else event.at)

    return _with_revocation(record, event.key_id, told)


def _contradicted(event: ev.RevocationContradicted, record: PolicyRecord) -> PolicyRecord:
    return _with_revocation(record, event.key_id, lambda request: replace(request, done_by="", done_at=None))


REQUEST_MOVES: Mapping[type[Event], Callable[[Any, PolicyRecord], PolicyRecord]] = {
    ev.KeyRequested: _requested,
    ev.KeyRequestChanged: _request_changed,
    ev.KeyRequestWithdrawn: _request_withdrawn,
    ev.PersonReminded: _reminded,
    ev.HandoverLinkMade: _link_made,
    ev.HandoverAccepted: _accepted,
    ev.HandoverRefused: _refused,
    ev.HandoverInterrupted: _interrupted,
    ev.RevocationRequested: _revocation_requested,
    ev.RevocationWithdrawn: _withdrawn,
    ev.RevocationTold: _told,
    ev.RevocationContradicted: _contradicted,
}


def _awaiting(record: PolicyRecord, rotation_id: str) -> tuple[RotationRecord, PersonRequest]:
    rotation = known_rotation(record, rotation_id)
    if rotation.phase is not Phase.AWAITING or rotation.request is None:
        raise IllegalMove(f"{record.policy}: nobody is asked for {rotation_id}")
    return rotation, rotation.request


def _with_revocation(
    record: PolicyRecord, key_id: str, change: Callable[[PersonRequest], PersonRequest]
) -> PolicyRecord:
    request = known_key(record, key_id).revocation
    if request is None:
        raise IllegalMove(f"{record.policy}: nobody is asked to revoke {key_id}")
    return change_key(record, key_id, lambda key: replace(key, revocation=change(request)))
