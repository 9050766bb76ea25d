"""The journal stops remembering a policy, or one key of it. Nothing outside is changed, nothing is revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rotator.domain import events as ev
from rotator.domain.forgetting import lost_with, lost_with_key, not_to_be_forgotten
from rotator.domain.record import KeyRecord, KeyState, PolicyRecord
from rotator.errors import RotatorError
from rotator.ports import Journal, Lease, Look
from rotator.service.lease import lease_of
from rotator.service.reconcile import Reconciler


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What is remembered no more.

    :param alive: keys that live on, as far as the journal knew; nobody here ends them.
    :param holders: key id to the destinations that held it when they were last looked at.
    :param lost: what was still to be done.
    """

    alive: tuple[KeyRecord, ...]
    holders: Mapping[str, tuple[str, ...]]
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotForgotten:
    """Nothing was recorded.

    :param reasons: a sentence each.
    :param for_ever: whether the operator can't insist.
    """

    reasons: tuple[str, ...]
    for_ever: bool = False


def forget(
    reconciler: Reconciler, policy: str, reason: str, *, key_id: str = "", is_configured: bool, even_so: bool
) -> Forgotten | NotForgotten:
    """Forget the policy, or that key of it.

    :param reason: with the operator's name.
    :param even_so: although something would be lost.
    :raises LeaseHeld: another process is at work on the policy, for longer than a command waits.
    """
    journal, clock = reconciler.journal, reconciler.clock
    lease = lease_of(policy, journal=journal, clock=clock, holder=reconciler.holder, ttl=reconciler.lease_ttl)
    try:
        record = journal.taken(lease)
        if refused := _refused(record, key_id, is_configured=is_configured):
            journal.release(lease)
            return refused
        keys = [key for key in record.keys if key_id in {"", key.key_id}]
        holders = _holders(journal, keys)
        lost = lost_with_key(keys[0], holders) if key_id else lost_with(record, holders)
        if lost and not even_so:
            journal.release(lease)
            return NotForgotten(tuple(lost))
        event = ev.KeyForgotten(key_id=key_id, reason=reason) if key_id else _all_of(keys, reason)
        _record(reconciler, lease, event)
    except RotatorError:
        journal.release(lease)
        raise
    alive = tuple(key for key in keys if key.state is not KeyState.REVOKED)
    return Forgotten(alive=alive, holders=holders, lost=tuple(lost))


def _refused(record: PolicyRecord, key_id: str, *, is_configured: bool) -> NotForgotten | None:
    if not key_id:
        why = "it is in the configuration; take it out there first, which revokes nothing" if is_configured else ""
    elif (key := record.key(key_id)) is None:
        known = ", ".join(one.key_id for one in record.keys) or "none"
        why = f"{key_id} is not one of its keys: {known}"
    else:
        found = not_to_be_forgotten(record, key, is_configured=is_configured)
        why = f"{key_id}: {found}" if found else ""
    return NotForgotten((why,), for_ever=True) if why else None


def _holders(journal: Journal, keys: Sequence[KeyRecord]) -> dict[str, tuple[str, ...]]:
    ids = {key.fingerprint: key.key_id for key in keys if key.fingerprint}
    found: dict[str, tuple[str, ...]] = {}
    for one in journal.seen_holding([key.key_id for key in keys], list(ids)):
        key_id = one.key_id or (ids[one.fingerprint] if one.fingerprint else "")
        found[key_id] = (*found.get(key_id, ()), one.destination)
    return found


def _all_of(keys: Sequence[KeyRecord], reason: str) -> ev.PolicyForgotten:
    return ev.PolicyForgotten(key_ids=tuple(key.key_id for key in keys), reason=reason)


def _record(reconciler: Reconciler, lease: Lease, event: ev.Event) -> None:
    """With the schedule: a policy of that name that comes again is a new one."""
    journal, now = reconciler.journal, reconciler.clock.now()
    record = journal.append(lease, [event], now)
    reconciler.observer.recorded(lease.policy, type(event).__name__)
    journal.note_look(lease, Look(next_at=now, digest=""), (), known=record, now=now)
