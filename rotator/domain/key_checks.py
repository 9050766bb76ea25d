"""The decision chain of each key beside the current one. Read ``KEY_CHAIN`` at the end first.

A check returns a ``Verdict`` with its reason, or ``None`` to let the next one look. The chain runs at every
look, beside the policy's: a rotation that is due or blocked never keeps an old key alive.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from rotator.domain.model import Policy
from rotator.domain.naming import is_name_of
from rotator.domain.record import KeyRecord, KeyState, Origin
from rotator.domain.rollback import former_key
from rotator.domain.snapshot import Reach
from rotator.domain.text import duration, text
from rotator.domain.told_ends import told_end
from rotator.domain.verdict import Context, Decision, Verdict

LARGEST_SKEW = timedelta(minutes=5)
"""How far our clock may be from the provider's before nothing is revoked."""

USAGE_LAG = timedelta(hours=1)
"""How late billing usage tells of a use."""

ASK_AGAIN = timedelta(minutes=10)
"""How soon something that could not be known is looked at again."""


def frozen_by_hold(context: Context, key: KeyRecord) -> Verdict | None:
    """A hold covers revocations too."""
    if not context.hold:
        return None
    return Verdict(check="OnHold", decision=Decision.KEEP, reason=f"{key.key_id}: the policy is on hold")


def being_put_back(context: Context, key: KeyRecord) -> Verdict | None:
    """An operator asked for a rollback: what was replaced may be needed again."""
    if context.record.rollback is None or former_key(context.record) != key:
        return None
    return Verdict(check="BeingPutBack", decision=Decision.KEEP, reason=f"{key.key_id}: a rollback was asked for")


def awaiting_refusal(context: Context, key: KeyRecord) -> Verdict | None:
    """Revoked; its refusal was not seen yet."""
    if key.state is not KeyState.REVOKED:
        return None
    late = key.revoked_at is not None and context.now - key.revoked_at > timedelta(minutes=5)
    reason = f"{key.key_id} was revoked; see it refused"
    return Verdict(check="AwaitingRefusal", decision=Decision.CONFIRM, reason=reason, alert=late)


def cannot_be_revoked(context: Context, key: KeyRecord) -> Verdict | None:
    """The legacy organisation key is only ever regenerated, by its owner: the finding stays until it is refused."""
    if key.origin is not Origin.LEGACY or key.state is not KeyState.RETIRING:
        return None
    reason = f"{key.key_id} is the legacy organisation key: it can't be revoked, regenerate it in the console"
    if key.grace_until is not None and key.grace_until > context.now:
        return Verdict(
            check="CannotBeRevoked", decision=Decision.WAIT, reason=reason, until=key.grace_until, alert=True
        )
    return Verdict(check="CannotBeRevoked", decision=Decision.WATCH, reason=reason, alert=True)


def held_somewhere(context: Context, key: KeyRecord) -> Verdict | None:
    """A destination, of this or of any other policy, holds the key."""
    holders = context.world.holders(key)
    if not holders:
        return None
    reason = f"{key.key_id} is still held by {', '.join(holders)}"
    soon = context.now + ASK_AGAIN if key.leaked else None
    return Verdict(check="HeldSomewhere", decision=Decision.KEEP, reason=reason, until=soon, alert=True)


def claimed_elsewhere(context: Context, key: KeyRecord) -> Verdict | None:
    """Another policy has the same key (a person copied it), and needs it, or gave its own consumers a grace."""
    claims = context.world.claims.get(key.key_id, ())
    needed = [claim.policy for claim in claims if claim.until is None]
    if needed:
        reason = f"{key.key_id} is the key of {', '.join(needed)} too"
        return Verdict(check="ClaimedElsewhere", decision=Decision.KEEP, reason=reason)
    until = max((claim.until for claim in claims if claim.until), default=context.now)
    if until <= context.now:
        return None
    reason = f"{key.key_id} stays valid until {text(until)} for {', '.join(claim.policy for claim in claims)}"
    return Verdict(check="ClaimedElsewhere", decision=Decision.WAIT, reason=reason, until=until)


def grace_running(context: Context, key: KeyRecord) -> Verdict | None:
    """Consumers may still use the key."""
    until = key.grace_until if key.state is KeyState.RETIRING else None
    if until is None or until <= context.now:
        return None
    reason = f"{key.key_id} stays valid until {text(until)}"
    return Verdict(check="GraceRunning", decision=Decision.WAIT, reason=reason, until=until)


def consumers_not_told(context: Context, key: KeyRecord) -> Verdict | None:
    """A hook of the current key did not succeed yet: who reads the key by it still uses the old one.

    A key that was told to have leaked waits for nobody: the hooks are tried before it is revoked, and that is all.
    """
    if key.state is not KeyState.RETIRING or key.leaked or not context.hooks_due:
        return None
    reason = f"{key.key_id}: its consumers were not told of the new key: {', '.join(context.hooks_due)}"
    return _kept(context, "ConsumersNotTold", reason)


def still_in_use(context: Context, key: KeyRecord) -> Verdict | None:
    """The grace is over, and the provider says that the key was used a moment ago."""
    used_at = context.world.last_use(key.key_id)
    limit = key.grace_limit or key.grace_until or context.now
    if not key.may_be_in_use or used_at is None or limit <= context.now:
        return None
    # Where billing alone tells of a use, what was used an hour ago may not be told yet.
    lag = USAGE_LAG if context.policy.assisted else timedelta(0)
    quiet_at = used_at + context.policy.quiet + lag
    if quiet_at <= context.now or context.policy.quiet == timedelta(0):
        return None
    reason = f"{key.key_id} was used at {text(used_at)}"
    until = min(quiet_at, limit)
    decision = Decision.EXTEND if key.state is KeyState.RETIRING else Decision.KEEP
    return Verdict(check="StillInUse", decision=decision, reason=reason, until=until, alert=True)


def use_unknown(context: Context, key: KeyRecord) -> Verdict | None:
    """The provider has figures of a key's use, and does not give them now. Waited for as long as a grace may be."""
    limit = key.grace_limit or key.grace_until or context.now
    if not context.world.use_problem or not key.may_be_in_use or limit <= context.now:
        return None
    reason = f"{key.key_id}: whether it is still used can't be asked now ({context.world.use_problem})"
    return _kept(context, "UseUnknown", reason)


def of_another_provider(context: Context, key: KeyRecord) -> Verdict | None:
    """The policy's provider was changed in the configuration: the new one can't end a key of the old one.

    Nobody here can see it refused either. It is over with its own expiration, or when an operator has it forgotten.
    """
    if key.provider in {"", context.policy.provider}:
        return None
    if ends := told_end(key, context.now):
        evidence = f"ended at {text(ends)}, by its own expiration; not observed"
        return Verdict(check="OfAnotherProvider", decision=Decision.CLOSE, reason=evidence)
    whose = f"{key.key_id} is a key of {key.provider}, which the policy does not name any more"
    reason = f"{whose}: revoke it by hand, then '{_forgetting(context.policy, key)}'"
    return Verdict(check="OfAnotherProvider", decision=Decision.KEEP, reason=reason, alert=True)


def handed_over_in_vain(context: Context, key: KeyRecord) -> Verdict | None:
    """A person handed it over when nobody needed it; now the rotator makes keys, and may revoke them.

    It was never used here: whoever made it was told to revoke it, unless somebody uses it elsewhere. The name that we
    ask for says that it is ours all the same.
    """
    if key.state is not KeyState.ORPHAN or key.name or key.rotation_id or context.policy.assisted:
        return None
    facts, policy = context.world.facts(key.key_id), context.policy
    if facts is None and context.world.listed is not None:
        why = f"{key.key_id} was handed over and not needed; it is not in the provider's list any more"
        return Verdict(check="HandedOverInVain", decision=Decision.CLOSE, reason=why)
    if facts is not None and is_name_of(facts.name, policy.instance, policy.name):
        return None
    way = f"revoke it in the console, or '{_forgetting(policy, key)}'"
    reason = f"{key.key_id} was handed over and not needed, and may be in use elsewhere: {way}"
    return Verdict(check="HandedOverInVain", decision=Decision.KEEP, reason=reason, alert=True)


def clock_skewed(context: Context, key: KeyRecord) -> Verdict | None:
    """Our clock and the provider's do not agree: nobody knows which graces are over."""
    skew = context.world.skew
    if skew is None or abs(skew) <= LARGEST_SKEW:
        return None
    way = "behind" if skew > timedelta(0) else "ahead of"
    reason = f"{key.key_id}: this machine's clock is {duration(abs(skew))} {way} the provider's"
    return _kept(context, "ClockSkewed", reason)


def places_unknown(context: Context, key: KeyRecord) -> Verdict | None:
    """A place that may hold the key can't be looked at now."""
    unknown = [v.destination.name for v in context.world.destinations if v.reach is not Reach.OK]
    unknown += context.world.others_unknown
    if context.world.held_by_others is None:
        unknown.append("the destinations of other policies")
    if not unknown:
        return None
    return _kept(context, "ReplacementNotProven", f"{key.key_id}: can't look at {', '.join(unknown)}")


def replacement_not_proven(context: Context, key: KeyRecord) -> Verdict | None:
    """Every destination must hold, now, a key that the provider accepts now, in the right project."""
    if not key.may_be_in_use:
        return None
    problem = _unproven(context)
    if not problem:
        return None
    return _kept(context, "ReplacementNotProven", f"{key.key_id}: {problem}")


def not_the_key_that_we_made(context: Context, key: KeyRecord) -> Verdict | None:
    """The list shows another name under this id than the one that we gave: then it is not ours to revoke.

    Of a key that a person handed over nobody has told its name, nor when it was made; of one that was known again where
    there is no list, at least not its name.
    """
    facts, is_told = context.world.facts(key.key_id), bool(key.name and key.created_at)
    if key.origin is not Origin.ISSUED or not is_told or facts is None or facts.name == key.name:
        return None
    reason = f"{key.key_id} has another name in the list than {key.name}"
    return Verdict(check="NotTheKeyThatWeMade", decision=Decision.KEEP, reason=reason, alert=True)


def grace_over(_context: Context, key: KeyRecord) -> Verdict | None:
    """Replaced, or perhaps published for a moment, and nobody needs it any more."""
    if not key.may_be_in_use:
        return None
    was = "was replaced" if key.state is KeyState.RETIRING else "may have been published for a moment"
    return Verdict(check="GraceOver", decision=Decision.REVOKE, reason=f"{key.key_id} {was}, its grace is over")


def may_be_handed_over(context: Context, key: KeyRecord) -> Verdict | None:
    """It was handed over and got nowhere; the person who has its secret may hand it over again."""
    open_one = context.record.awaiting
    if key.state is not KeyState.ORPHAN or open_one is None or key.rotation_id != open_one.rotation_id:
        return None
    reason = f"{key.key_id} was handed over and got nowhere; it may be handed over again"
    return Verdict(check="MayBeHandedOver", decision=Decision.KEEP, reason=reason)


def orphan_unsettled(context: Context, key: KeyRecord) -> Verdict | None:
    """Its maker may only have been slow, and publish it yet."""
    until = key.revoke_after
    if key.state is not KeyState.ORPHAN or until is None or until <= context.now:
        return None
    if key.may_be_in_use:
        reason = f"{key.key_id} may have been published for a moment; it stays valid until {text(until)}"
    else:
        reason = f"{key.key_id} was never published; its maker may be late until {text(until)}"
    return Verdict(check="OrphanUnsettled", decision=Decision.WAIT, reason=reason, until=until)


def may_still_land(context: Context, key: KeyRecord) -> Verdict | None:
    """A holder that lost its lease may be paused in the middle of publishing the key, for as long as it likes.

    Its write compares with what it had seen. So it can't land any more once every place holds something else. Where it
    had seen what was no key, no more than that is known.
    """
    if key.state not in {KeyState.ORPHAN, KeyState.RETIRING}:
        return None
    for view in context.world.destinations:
        name = view.destination.name
        is_key = context.world.identity(view.fingerprint) is not None
        seen = key.lands_on.get(name)
        if seen is not None and (seen == view.fingerprint or (not seen and not is_key)):
            reason = f"{key.key_id} may still be published late at {name}; it is kept until that holds another key"
            return Verdict(check="MayStillLand", decision=Decision.KEEP, reason=reason)
    return None


def orphan_proven(_context: Context, key: KeyRecord) -> Verdict | None:
    """Created by us, never published: nobody can hold its secret."""
    if key.state is not KeyState.ORPHAN:
        return None
    return Verdict(check="OrphanProven", decision=Decision.REVOKE, reason=f"{key.key_id} was never published")


KEY_CHAIN: tuple[Callable[[Context, KeyRecord], Verdict | None], ...] = (
    frozen_by_hold,
    awaiting_refusal,
    being_put_back,
    cannot_be_revoked,
    held_somewhere,
    claimed_elsewhere,
    grace_running,
    may_be_handed_over,
    orphan_unsettled,
    consumers_not_told,
    still_in_use,
    use_unknown,
    of_another_provider,
    handed_over_in_vain,
    clock_skewed,
    places_unknown,
    replacement_not_proven,
    not_the_key_that_we_made,
    may_still_land,
    grace_over,
    orphan_proven,
)
"""For each retiring, orphan or revoked key, beside the policy's chain and every time."""


def decide_key(context: Context, key: KeyRecord) -> Verdict:
    """The first verdict of the key's chain."""
    for check in KEY_CHAIN:
        verdict = check(context, key)
        if verdict:
            return verdict
    raise AssertionError("the key chain ends with checks that cover every state")


def _forgetting(policy: Policy, key: KeyRecord) -> str:
    """The command by which an operator says that a key is no business of ours."""
    return f"rotator forget {policy.name} --key {key.key_id} --even-so --reason ..."


def _kept(context: Context, check: str, reason: str) -> Verdict:
    """Kept because something can't be known now: a person hears of it, and it is tried again soon."""
    until = context.now + ASK_AGAIN
    return Verdict(check=check, decision=Decision.KEEP, reason=reason, until=until, alert=True)


def _unproven(context: Context) -> str:
    """Why the replacement is not proven; empty when it is."""
    world, record = context.world, context.record
    if world.provider_problem or (world.listed is None and not context.policy.assisted):
        return "the provider can't be asked now"
    good = {key.fingerprint: key for key in record.in_state(KeyState.CURRENT, KeyState.CANDIDATE)}
    for view in world.destinations:
        key = good.get(view.fingerprint) if view.fingerprint else None
        if key is None:
            return f"{view.destination} does not hold the new key"
        identity = world.identity(view.fingerprint)
        if identity is None:
            return f"the provider does not accept the new key {key.key_id}"
        if identity.key_id != key.key_id or identity.project != context.policy.project:
            return f"the provider says that {view.destination} holds another key than {key.key_id}"
        if not world.facts(key.key_id) and not context.policy.assisted:
            return f"the provider does not list the new key {key.key_id}"
    return ""
