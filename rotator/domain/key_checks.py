"""The decision chain of each key beside the current one. Read ``KEY_CHAIN`` at the end first.

A check returns a ``Verdict`` with its reason, or ``None`` to let the next one look. The chain runs at every
look, beside the policy's: a rotation that is due or blocked never keeps an old key alive.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from rotator.domain.model import Identity, KeyRecord, KeyState, Origin
from rotator.domain.snapshot import Reach
from rotator.domain.text import text
from rotator.domain.verdict import Context, Decision, Verdict


def frozen_by_hold(context: Context, key: KeyRecord) -> Verdict | None:
    """A hold covers revocations too."""
    if not context.record.hold:
        return None
    return Verdict(check="OnHold", decision=Decision.KEEP, reason=f"{key.key_id}: the policy is on hold")


def awaiting_refusal(context: Context, key: KeyRecord) -> Verdict | None:
    """Revoked; its refusal was not seen yet."""
    if key.state is not KeyState.REVOKED:
        return None
    late = key.revoked_at is not None and context.now - key.revoked_at > timedelta(minutes=5)
    reason = f"{key.key_id} was revoked; see it refused"
    return Verdict(check="AwaitingRefusal", decision=Decision.CONFIRM, reason=reason, alert=late)


def cannot_be_revoked(_context: Context, key: KeyRecord) -> Verdict | None:
    """The legacy organisation key is only ever regenerated, by its owner."""
    if key.origin is not Origin.LEGACY or key.state is not KeyState.RETIRING:
        return None
    reason = f"{key.key_id} is the legacy organisation key: it can't be revoked, regenerate it in the console"
    return Verdict(check="CannotBeRevoked", decision=Decision.CLOSE, reason=reason, alert=True)


def already_gone(context: Context, key: KeyRecord) -> Verdict | None:
    """The key is not in a list that shows our current key: it expired, or somebody else revoked it."""
    current = context.record.current
    if context.world.listed is None or context.world.facts(key.key_id):
        return None
    if current is None or not context.world.facts(current.key_id):
        return None  # a list that lacks a key which works is not believed
    return Verdict(check="AlreadyGone", decision=Decision.CLOSE, reason=f"{key.key_id} is no longer in the list")


def held_somewhere(context: Context, key: KeyRecord) -> Verdict | None:
    """A destination, of this or of any other policy, holds the key (or may: it could not be looked at)."""
    if key.fingerprint is None:
        return None
    holders = [v.destination.name for v in context.world.destinations if v.fingerprint == key.fingerprint]
    holders += (context.world.held_by_others or {}).get(key.fingerprint, ())
    if not holders:
        return None
    reason = f"{key.key_id} is still held by {', '.join(holders)}"
    return Verdict(check="HeldSomewhere", decision=Decision.KEEP, reason=reason, alert=True)


def grace_running(context: Context, key: KeyRecord) -> Verdict | None:
    """Consumers may still use the key."""
    until = key.grace_until if key.state is KeyState.RETIRING else None
    if until is None or until <= context.now:
        return None
    reason = f"{key.key_id} stays valid until {text(until)}"
    return Verdict(check="GraceRunning", decision=Decision.WAIT, reason=reason, until=until)


def still_in_use(context: Context, key: KeyRecord) -> Verdict | None:
    """The grace is over, and the provider says that the key was used a moment ago."""
    facts = context.world.facts(key.key_id)
    if key.state is not KeyState.RETIRING or facts is None or facts.last_used_at is None:
        return None
    quiet_at = facts.last_used_at + context.policy.quiet
    limit = key.grace_limit or key.grace_until or context.now
    if quiet_at <= context.now or limit <= context.now or context.policy.quiet == timedelta(0):
        return None
    reason = f"{key.key_id} was used at {text(facts.last_used_at)}"
    until = min(quiet_at, limit)
    return Verdict(check="StillInUse", decision=Decision.EXTEND, reason=reason, until=until, alert=True)


def places_unknown(context: Context, key: KeyRecord) -> Verdict | None:
    """A place that may hold the key can't be looked at now."""
    unknown = [v.destination.name for v in context.world.destinations if v.reach is not Reach.OK]
    unknown += context.world.others_unknown
    if context.world.held_by_others is None:
        unknown.append("the destinations of other policies")
    if not unknown or key.fingerprint is None:
        return None
    reason = f"{key.key_id}: can't look at {', '.join(unknown)}"
    return Verdict(check="ReplacementNotProven", decision=Decision.KEEP, reason=reason, alert=True)


def replacement_not_proven(context: Context, key: KeyRecord) -> Verdict | None:
    """Every destination must hold, now, a key that the provider accepts now, in the right project."""
    if key.state is KeyState.ORPHAN:
        return None
    problem = _unproven(context)
    if not problem:
        return None
    reason = f"{key.key_id}: {problem}"
    return Verdict(check="ReplacementNotProven", decision=Decision.KEEP, reason=reason, alert=True)


def grace_over(_context: Context, key: KeyRecord) -> Verdict | None:
    """Replaced, and nobody needs it any more."""
    if key.state is not KeyState.RETIRING:
        return None
    return Verdict(check="GraceOver", decision=Decision.REVOKE, reason=f"{key.key_id} was replaced, its grace is over")


def orphan_unsettled(context: Context, key: KeyRecord) -> Verdict | None:
    """Its maker may only have been slow, and publish it yet."""
    until = key.revoke_after
    if key.state is not KeyState.ORPHAN or until is None or until <= context.now:
        return None
    reason = f"{key.key_id} was never published; its maker may be late until {text(until)}"
    return Verdict(check="OrphanUnsettled", decision=Decision.WAIT, reason=reason, until=until)


def orphan_proven(_context: Context, key: KeyRecord) -> Verdict | None:
    """Created by us, never published: nobody can hold its secret."""
    if key.state is not KeyState.ORPHAN:
        return None
    return Verdict(check="OrphanProven", decision=Decision.REVOKE, reason=f"{key.key_id} was never published")


KEY_CHAIN: tuple[Callable[[Context, KeyRecord], Verdict | None], ...] = (
    frozen_by_hold,
    awaiting_refusal,
    cannot_be_revoked,
    already_gone,
    held_somewhere,
    grace_running,
    orphan_unsettled,
    still_in_use,
    places_unknown,
    replacement_not_proven,
    grace_over,
    orphan_proven,
)
"""For each retiring, orphan or revoked key, beside the policy's chain and every time."""


def _unproven(context: Context) -> str:
    """Why the replacement is not proven; empty when it is."""
    world, record = context.world, context.record
    if world.provider_problem or world.listed is None:
        return "the provider can't be asked now"
    good = {key.fingerprint: key for key in record.in_state(KeyState.CURRENT, KeyState.CANDIDATE)}
    for view in world.destinations:
        key = good.get(view.fingerprint) if view.fingerprint else None
        if key is None:
            return f"{view.destination} does not hold the new key"
        identity = world.identities.get(view.fingerprint) if view.fingerprint else None
        if not isinstance(identity, Identity):
            return f"the provider does not accept the new key {key.key_id}"
        if identity.key_id != key.key_id or identity.project != context.policy.project:
            return f"the provider says that {view.destination} holds another key than {key.key_id}"
        if not world.facts(key.key_id):
            return f"the provider does not list the new key {key.key_id}"
    return ""
