"""``plan(policy, snapshot, now)``: from what is known to an ordered list of actions, or a wait. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.actions import (
    Action,
    Adopt,
    BelieveExpiration,
    Close,
    ConfirmRefusal,
    ExtendGrace,
    ForwardExpiry,
    GiveExpirationBack,
    Issue,
    RecordOrphan,
    RecordStray,
    Revoke,
    RunHook,
    Settle,
)
from rotator.domain.assisted import request_actions, revocation_actions, with_request, with_revocation
from rotator.domain.drift import restore
from rotator.domain.key_checks import (
    ASK_AGAIN,
    LARGEST_SKEW,
    consumers_not_told,
    decide_key,
    may_still_land,
    not_the_key_that_we_made,
    of_another_provider,
    places_unknown,
)
from rotator.domain.model import Drift, Policy, Refused
from rotator.domain.naming import is_name_of
from rotator.domain.policy_checks import ASKED_FOR, ON_SCHEDULE, POLICY_CHAIN, is_without_key
from rotator.domain.record import KeyRecord, KeyState, Origin
from rotator.domain.recovery import rebuild, resume
from rotator.domain.request_actions import AskForKey
from rotator.domain.rollback import roll_back
from rotator.domain.sightings import found_unrecorded, known_values, sighting_of
from rotator.domain.snapshot import Reach, Snapshot
from rotator.domain.verdict import Context, Decision, Verdict

FORWARD_MARGIN = timedelta(hours=1)
"""How long after the last possible end of its grace an old key ends by itself."""

CONFIRM_AGAIN = timedelta(seconds=30)
"""How soon a revoked key, not seen refused yet, is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVerdict:
    """What was decided of one key beside the current one."""

    key: KeyRecord
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The verdicts, the actions they ask for in order, and when to look again if nothing else happens."""

    policy: str
    verdict: Verdict
    key_verdicts: tuple[KeyVerdict, ...]
    actions: tuple[Action, ...]
    next_look: datetime

    @property
    def alerts(self) -> tuple[Verdict, ...]:
        """Every verdict that a person should hear of."""
        verdicts = (self.verdict, *(item.verdict for item in self.key_verdicts))
        return tuple(verdict for verdict in verdicts if verdict.alert)

    @property
    def is_urgent(self) -> bool:
        """Whether a key is to be made, or asked for, because consumers are without one, or soon will be."""
        return any(isinstance(action, Issue | AskForKey) and action.urgent for action in self.actions)


def plan(policy: Policy, snapshot: Snapshot, now: datetime) -> Plan:
    """What to do now. The same inputs give the same plan, dry run or not."""
    context = Context(policy=policy, snapshot=snapshot, now=now)
    found = decide(context)
    verdict = with_request(context, found)
    key_verdicts = tuple(
        KeyVerdict(key=key, verdict=with_revocation(context, key, decide_key(context, key)))
        for key in context.record.in_state(KeyState.RETIRING, KeyState.ORPHAN, KeyState.REVOKED)
    )
    actions: list[Action] = [*_intent_actions(context), *_stray_actions(context), *_expiration_actions(context)]
    then, hooks = _policy_actions(context, found), _hook_actions(context)
    is_urgent = any(isinstance(action, Issue) and action.urgent for action in then)
    actions += [] if is_urgent else hooks
    for item in key_verdicts:
        assisted = policy.assisted
        actions += revocation_actions(context, item.key, item.verdict) if assisted else _key_actions(context, item)
    actions += then
    actions += hooks if is_urgent else []  # a hook that takes its time keeps no consumer waiting for a key
    moments = [now + policy.check_every, *(item.verdict.until for item in key_verdicts), verdict.until]
    if not context.hold and not policy.assisted:  # there nobody can tell what became of an intent
        moments += [intent.settled_at for intent in context.record.open_intents]
    if not context.hold:
        moments += _after_a_loss(context)
        moments += [_confirm_at(item.key, now) for item in key_verdicts if item.verdict.decision is Decision.CONFIRM]
    return Plan(
        policy=policy.name,
        verdict=verdict,
        key_verdicts=key_verdicts,
        actions=tuple(actions),
        next_look=min(_to_come(moment, now) for moment in moments if moment is not None),
    )


def _after_a_loss(context: Context) -> list[datetime]:
    """When to look for what came late: a key of ours that the journal had lost may not be the last one made."""
    key = context.record.current
    if key is None or key.origin is not Origin.ISSUED or key.rotation_id:
        return []
    settled = key.since + 2 * context.policy.settle
    return [settled] if settled > context.now else []


def _to_come(moment: datetime, now: datetime) -> datetime:
    """What was due by then and could not be done at this look is tried again soon, and not again and again at once."""
    return moment if moment > now else now + ASK_AGAIN


def decide(context: Context) -> Verdict:
    """The first verdict of the policy's chain."""
    for check in POLICY_CHAIN:
        verdict = check(context)
        if verdict:
            return verdict
    raise AssertionError("the policy chain ends with a check that always answers")


def _confirm_at(key: KeyRecord, now: datetime) -> datetime:
    """Ever more slowly: what is still accepted after minutes is no matter of propagation."""
    return now + max(CONFIRM_AGAIN, (now - (key.revoked_at or now)) / 4)


def _intent_actions(context: Context) -> list[Action]:
    if context.policy.assisted and not context.hold:
        return _never_to_be_seen(context)
    if context.world.listed is None or context.hold:
        return []
    actions: list[Action] = []
    for intent in context.record.open_intents:
        found = [
            RecordOrphan(facts=facts, revoke_after=intent.revoke_after)
            for facts in context.world.listed
            if facts.name == intent.key_name
            and not context.record.key(facts.key_id)
            and facts.key_id not in context.record.forgotten
        ]
        actions += found
        if intent.settled_at <= context.now and not found:  # what is known is judged like any other key
            actions.append(Settle(key_name=intent.key_name))
    return actions


def _never_to_be_seen(context: Context) -> list[Action]:
    """Where there is no list any more: a key that may have been made ends by itself, a lifetime later."""
    over = context.now - context.policy.lifetime
    return [Settle(key_name=intent.key_name) for intent in context.record.open_intents if intent.settled_at <= over]


def _stray_actions(context: Context) -> list[Action]:
    """Keys with a name of ours that the journal does not know: it was lost, restored, or its maker was very late.

    Where a place can't be read, one of them may be what it holds.
    """
    record, policy = context.record, context.policy
    is_unread = any(view.reach is not Reach.OK for view in context.world.destinations)
    if context.world.listed is None or context.hold or is_unread:
        return []
    looked_for = {intent.key_name for intent in record.open_intents}
    looked_for |= {record.in_flight.key_name} if record.in_flight else set()
    known = {*context.world.held_ids, *record.closed, *record.forgotten, *(key.key_id for key in record.keys)}
    return [
        RecordStray(facts=facts)
        for facts in context.world.listed
        if facts.key_id not in known
        and facts.name not in looked_for
        and is_name_of(facts.name, policy.instance, policy.name)
    ]


def _expiration_actions(context: Context) -> list[Action]:
    """Somebody has given the current key an earlier end, or its end could not be known before: the list shows it.

    A key that was put back may have been given an early end after all, by a holder that was paused meanwhile, and its
    list may be behind its former end: believed when it is read to end the key that had replaced it, which is a grace
    later. No list lags that much.
    """
    key, record = context.record.current, context.record
    facts = context.world.facts(key.key_id) if key else None
    if key is None or facts is None or facts.expires_at is None or context.hold:
        return []
    if key.expires_at is not None and key.expires_at <= facts.expires_at:
        return []
    is_late = any(one.grace_until and one.grace_until <= context.now for one in record.in_state(KeyState.RETIRING))
    if key.rest_until and not is_late:
        return []
    return [BelieveExpiration(key_id=key.key_id, expires_at=facts.expires_at)]


def _hook_actions(context: Context) -> list[Action]:
    current = context.record.current
    if current is None or context.hold:
        return []
    return [RunHook(key_id=current.key_id, hook=hook) for hook in context.hooks_due]


def _key_actions(context: Context, item: KeyVerdict) -> list[Action]:
    key, verdict = item.key, item.verdict
    match verdict.decision:
        case Decision.CLOSE:
            return [Close(key_id=key.key_id, evidence=verdict.reason)]
        case Decision.CONFIRM | Decision.WATCH:
            return [ConfirmRefusal(key_id=key.key_id)]
        case Decision.REVOKE:
            return [Revoke(key_id=key.key_id, why=verdict.reason)]
        case Decision.EXTEND if verdict.until is not None:
            return [ExtendGrace(key_id=key.key_id, until=verdict.until, why=verdict.reason)]
        case Decision.WAIT | Decision.KEEP:
            return _own_end_actions(context, key)
        case _:
            return []


def _own_end_actions(context: Context, key: KeyRecord) -> list[Action]:
    if _is_left_where_it_was_put_back(context, key):
        return [GiveExpirationBack(key_id=key.key_id)]
    return [_forward(context, key)] if _can_forward(context, key) else []


def _is_left_where_it_was_put_back(context: Context, key: KeyRecord) -> bool:
    """Whether nobody is to replace it there, though it ends by an expiration that we had brought forward."""
    first, world = key.first_expiry, context.world
    return (
        context.policy.drift is Drift.ALERT
        and first is not None
        and first.at != key.expires_at
        and not (key.leaked or key.condemned or context.hold or context.record.rollback or world.provider_problem)
        and any(view.fingerprint == key.fingerprint for view in world.destinations)
    )


def _can_forward(context: Context, key: KeyRecord) -> bool:
    """Only for a replaced key that nobody holds, will hold or claims; one that is needed must not be given an end."""
    world, current = context.world, context.record.current
    return (
        key.state is KeyState.RETIRING
        and key.origin is not Origin.LEGACY
        and not key.expiry_forwarded
        and (not context.hold or _gives_time(context, key))
        and not context.record.rollback
        and not context.record.in_flight  # found while its replacement is not everywhere yet
        and not world.provider_problem
        and key.grace_limit is not None
        and not places_unknown(context, key)
        and not world.holders(key)
        and not may_still_land(context, key)
        and all(world.identity(view.fingerprint) for view in world.destinations)  # its consumers have another one
        # What others put there is adopted first: the grace of what lay there until then begins with that.
        and (current is None or all(view.fingerprint == current.fingerprint for view in world.destinations))
        and not consumers_not_told(context, key)  # it would end by itself, whatever holds its revocation back
        and not of_another_provider(context, key)
        and not not_the_key_that_we_made(context, key)
        and not world.claims.get(key.key_id)
        and (world.skew is None or abs(world.skew) <= LARGEST_SKEW)
    )


def _gives_time(context: Context, key: KeyRecord) -> bool:
    """Whether an operator has made its grace longer: then an end that we had set is moved along on hold, too."""
    end = _forward(context, key).expires_at
    return key.first_expiry is not None and bool(end and key.expires_at and end > key.expires_at)


def _forward(context: Context, key: KeyRecord) -> ForwardExpiry:
    """Never to a moment that is past, or nearly: whatever held the revocation back may still need the key."""
    end = max(key.grace_limit or key.since, context.now) + FORWARD_MARGIN
    before = key.first_expiry.at if key.first_expiry else key.expires_at  # ours may not have reached the provider
    ends_sooner = before is not None and before <= end
    if ends_sooner and before and before > context.now and key.expires_at != before:
        return ForwardExpiry(key_id=key.key_id, expires_at=before)  # its own again: the grace was made longer
    return ForwardExpiry(key_id=key.key_id, expires_at=None if ends_sooner else end)


def _policy_actions(context: Context, verdict: Verdict) -> list[Action]:
    asked = request_actions(context, verdict, urgent=_is_urgent(context, verdict))
    match verdict.decision:
        case Decision.ISSUE if context.policy.assisted:
            return [*_close_rejected(context), *_leaked_before_it_was_known(context, verdict), *asked]
        case Decision.ISSUE:
            return [*_close_rejected(context), *asked, _issue(context, verdict)]
        case decision if decision in _ACTIONS:
            return [_ACTIONS[decision](context)]
        case _:
            return asked


def _adopt(context: Context) -> Action:
    (held,) = context.world.held
    sighting = sighting_of(context, held)
    assert sighting is not None, "a refused key is rejected before it is adopted"
    return Adopt(key=sighting)


def _leaked_before_it_was_known(context: Context, verdict: Verdict) -> list[Action]:
    """A leak was told before the first look: what lies there is remembered, whatever people do until a key is made."""
    if verdict.check != "Compromised" or context.record.current or len(context.world.held) != 1:
        return []
    sighting = sighting_of(context, context.world.held[0])
    return [Adopt(key=sighting)] if sighting else []


_ACTIONS: Mapping[Decision, Callable[[Context], Action]] = {
    Decision.ADOPT: _adopt,
    Decision.REBUILD: rebuild,
    Decision.RESUME: resume,
    Decision.ROLL_BACK: roll_back,
    Decision.RESTORE: restore,
}


def _close_rejected(context: Context) -> list[Action]:
    """The current key is refused by the provider: it needs no grace and no revocation."""
    current = context.record.current
    if current is None or current.fingerprint is None:
        return []
    identity = context.world.identities.get(current.fingerprint)
    return [Close(key_id=current.key_id, evidence=identity.evidence)] if isinstance(identity, Refused) else []


def _issue(context: Context, verdict: Verdict) -> Issue:
    views = context.world.destinations
    return Issue(
        reason=f"{verdict.check}: {verdict.reason}",
        expires_at=(context.now + context.policy.lifetime).replace(microsecond=0),
        grace=timedelta(0) if context.record.compromised else context.policy.grace,
        expected={view.destination.name: view.version for view in views},
        replaces=known_values(context),
        found=found_unrecorded(context),
        urgent=_is_urgent(context, verdict),
        hooks=context.policy.hooks,
        can_wait=verdict.check in ON_SCHEDULE,
    )


def _is_urgent(context: Context, verdict: Verdict) -> bool:
    """Consumers are without a key, or soon will be; or an operator has asked for one."""
    key, half = context.record.current, context.policy.renew_before / 2
    if verdict.check in ASKED_FOR or is_without_key(context, verdict):
        return True
    return bool(key and key.expires_at and key.expires_at < context.now + half)
