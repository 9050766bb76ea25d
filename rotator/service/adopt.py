"""Adoption by an operator's word: the key that all destinations hold becomes the current one.

It has the policy's lease, so that no look moves the policy meanwhile. It reads, and asks the provider which key that
is; it changes nothing but the journal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from rotator.domain import events as ev
from rotator.domain.actions import Sighting
from rotator.domain.adoption import refusal
from rotator.domain.model import KeyFacts, Policy
from rotator.domain.record import KeyRecord
from rotator.domain.sightings import sighting_of
from rotator.domain.snapshot import World
from rotator.domain.text import text
from rotator.domain.verdict import Context
from rotator.errors import BackendError, ProviderDenied, ProviderError, ProviderRejected, RotatorError
from rotator.ports import Lease, Look
from rotator.service.gather import Gatherer
from rotator.service.issue import adopted_key
from rotator.service.lease import lease_of
from rotator.service.reconcile import Reconciler
from rotator.service.session import Session


@dataclass(frozen=True, slots=True)
class Told:
    """What a person tells of a key's expiration; ``at`` is ``None`` where it never ends.

    :param by: who.
    """

    at: datetime | None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """The current key from now on.

    :param is_new: whether anything was recorded; otherwise it was all known.
    :param others: other policies that remember the same key.
    """

    key: KeyRecord
    is_new: bool
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotAdopted:
    """Nothing was recorded. ``check``: what found the reason."""

    check: str
    reason: str


def adopt(reconciler: Reconciler, policy: Policy, told: Told | None, by: str) -> Adopted | NotAdopted:
    """Make the key that all destinations hold the current one.

    :param told: of its expiration, where the provider does not tell; ``None``: nothing is told.
    :param by: the operator.
    :raises LeaseHeld: another process is at work on the policy, for longer than a command waits.
    :raises JournalUnavailable: nothing was recorded, or it may have been.
    """
    journal, clock = reconciler.journal, reconciler.clock
    lease = lease_of(policy.name, journal=journal, clock=clock, holder=reconciler.holder, ttl=reconciler.lease_ttl)
    try:
        outcome = _with_lease(reconciler, policy, lease, told, by)
    except RotatorError:
        journal.release(lease)
        raise
    if isinstance(outcome, NotAdopted) or not outcome.is_new:
        journal.release(lease)
    return outcome


def _with_lease(
    reconciler: Reconciler, policy: Policy, lease: Lease, told: Told | None, by: str
) -> Adopted | NotAdopted:
    journal, clock = reconciler.journal, reconciler.clock
    session = reconciler.begin(policy, lease)
    session.still_ours()
    world = _listed(reconciler.gatherer, policy, session.gathered.world)
    session.gathered = replace(session.gathered, world=world)
    now = session.now()
    context = Context(policy=policy, snapshot=world.beside(session.record), now=now)
    if found := refusal(context):
        return NotAdopted(found.check, found.reason)
    (held,) = world.held
    sighting = sighting_of(context, held)
    assert sighting is not None, "a refused key is not adopted"
    key = _key(sighting, session, reconciler.draw())
    if told is not None:
        # Where people make the keys no list is read: all that is known of an end was told by somebody.
        facts = None if policy.assisted else sighting.facts
        before = None if policy.assisted else session.record.key(key.key_id)
        if why := _contradicted(facts, before, told, now):
            return NotAdopted("Expiration", f"{key.key_id}: {why}")
        if facts is None:
            key = replace(key, expires_at=told.at, expires_told_by=told.by, ends_latest=None)
    records = journal.others_with(key.key_id, policy.name)
    others = tuple(one.policy for one in records if one.key(key.key_id) or one.has_found(key.key_id))
    if _says_the_same(session.record.current, key):
        return Adopted(key=key, is_new=False, others=others)
    later = session.later()
    event = ev.KeyAdopted(key=key, grace_until=later + policy.grace, grace_limit=later + policy.grace_limit, by=by)
    session.happened(event)
    # Due at once, by every host's clock: what was planned for the policy was planned without this.
    look = Look(next_at=clock.now(), digest="")
    journal.note_look(lease, look, (), known=session.record, now=clock.now())
    return Adopted(key=key, is_new=True, others=others)


def _key(sighting: Sighting, session: Session, jitter: float) -> KeyRecord:
    """The current key itself keeps all that is planned for it."""
    known, current = session.record.key(sighting.identity.key_id), session.record.current
    if known is not None and known is current and known.fingerprint == sighting.fingerprint:
        return known
    return adopted_key(sighting, known, session.policy, session.now(), jitter)


def _listed(gatherer: Gatherer, policy: Policy, world: World) -> World:
    """With the provider's list, where there is one: it tells what a person need not tell."""
    if world.provider_problem or policy.assisted:  # the public endpoints have no list
        return world
    try:
        rows = gatherer.providers(policy.provider).list_keys(policy.project)
    except (ProviderDenied, ProviderRejected):
        return world  # no list for us: then a person's word is all there is
    except (ProviderError, BackendError) as error:
        return replace(world, provider_problem=str(error))
    return replace(world, listed=tuple(rows))


def _contradicted(facts: KeyFacts | None, known: KeyRecord | None, told: Told, now: datetime) -> str:
    """Why that can't be right; empty where it can."""
    if told.at is not None and told.at <= now:
        return f"it can't have ended at {text(told.at)}: the provider accepts it"
    if facts is not None:
        is_same = facts.expires_at == told.at or _is_start_of_its_day(told.at, facts.expires_at)
        ends = f"ends at {text(facts.expires_at)}" if facts.expires_at else "never ends"
        return "" if is_same else f"the provider says that it {ends}"
    if known is not None and known.expires_at and not known.expires_told_by and known.expires_at != told.at:
        return f"the provider said that it ends at {text(known.expires_at)}"
    return ""


def _is_start_of_its_day(told: datetime | None, end: datetime | None) -> bool:
    """Whether a date was told, and it is the right one."""
    if told is None or end is None or told.timetz().replace(tzinfo=None) != time():
        return False
    return timedelta(0) <= end - told < timedelta(days=1)


def _says_the_same(current: KeyRecord | None, key: KeyRecord) -> bool:
    """Whether it is all recorded. Who told of the expiration does not matter, but whether somebody did."""
    return (
        current is not None
        and replace(current, expires_told_by="") == replace(key, expires_told_by="")
        and (bool(current.expires_told_by) == bool(key.expires_told_by))
    )
