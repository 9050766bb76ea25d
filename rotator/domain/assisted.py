"""What the chains' verdicts mean where people make and revoke the keys of a policy. Pure.

The chains are the same as for any policy. A verdict that asks for a new key opens a request to a person, and keeps it
open while it stands; one that asks for a revocation does the same. Nothing outside is changed before a person acts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.actions import Action, Close, ConfirmRefusal, ExtendGrace
from rotator.domain.model import Assistance, Policy
from rotator.domain.policy_checks import ON_SCHEDULE, is_without_key
from rotator.domain.record import KeyRecord, Level, PersonRequest, RotationRecord
from rotator.domain.request_actions import (
    AskForKey,
    AskForRevocation,
    ChangeRequest,
    CheckInbox,
    Remind,
    WithdrawRequest,
    WithdrawRevocation,
)
from rotator.domain.requests import level_of, told_next
from rotator.domain.text import text
from rotator.domain.verdict import Context, Decision, Verdict
from rotator.domain.windows import margin

PRESSING = timedelta(hours=1)
"""The time that a person has when consumers are without a key, or one has leaked."""

WORD_COUNTS_AFTER = timedelta(minutes=5)
"""How long after it a person's word that a key is revoked counts: a process that has the secret yet tries it first."""

WATCH_FIRST = timedelta(seconds=30)
WATCH_LAST = timedelta(hours=1)
"""How soon, and how rarely at last, it is looked whether an old key was revoked."""

_PUT_OFF = frozenset({"ExpiryNear", "TooOld", "RotateRequested"})
"""Checks that can find a need, and yet wait for a window: the need has not gone."""

_NO_NEED = frozenset({"NothingDue", "MetadataDrifted"})
_NEEDED_AGAIN = frozenset({"BeingPutBack", "HeldSomewhere", "ClaimedElsewhere", "GraceRunning", "StillInUse"})


# --- a new key ------------------------------------------------------------------------------------------


def with_request(context: Context, verdict: Verdict) -> Verdict:
    """The policy's verdict, or, where a key is asked for already, how that stands."""
    rotation, assistance = context.record.awaiting, context.policy.assistance
    if assistance is None or rotation is None or rotation.request is None or not _is_needed(verdict):
        return verdict
    level, deadline = level_of(rotation.request, assistance, context.now), rotation.request.deadline
    until = max(told_next(rotation.request, assistance), context.now)
    if assistance.inbox:
        until = min(until, context.now + assistance.inbox_every)
    late = "; overdue" if level is Level.OVERDUE else ""
    reason = f"{verdict.reason}; {rotation.key_name} is asked for, by {text(deadline)}{late}"
    alert = verdict.alert or level is not Level.ASKED
    return Verdict(check="AwaitingKey", decision=Decision.AWAIT, reason=reason, until=until, alert=alert)


def request_actions(context: Context, verdict: Verdict, *, urgent: bool) -> list[Action]:
    """What is to be done about a new key.

    :param verdict: of the policy's chain.
    :param urgent: see ``Issue``.
    """
    rotation, assistance = context.record.awaiting, context.policy.assistance
    if assistance is None:
        why = "the policy's provider makes keys by itself now"
        return [WithdrawRequest(rotation_id=rotation.rotation_id, why=why)] if rotation else []
    inbox: list[Action] = [CheckInbox(inbox=assistance.inbox)] if assistance.inbox else []
    if rotation is None or rotation.request is None:
        if verdict.decision is Decision.ISSUE:
            return [_ask(context, verdict, urgent=urgent)]
        return inbox if verdict.decision is Decision.WAIT else []
    if verdict.check in _NO_NEED:
        return [WithdrawRequest(rotation_id=rotation.rotation_id, why=verdict.reason)]
    if not _is_needed(verdict):
        return []
    return [*_kept(context, verdict, rotation, rotation.request, assistance), *inbox]


def _is_needed(verdict: Verdict) -> bool:
    return verdict.decision is Decision.ISSUE or (verdict.decision is Decision.WAIT and verdict.check in _PUT_OFF)


def _ask(context: Context, verdict: Verdict, *, urgent: bool) -> AskForKey:
    return AskForKey(
        reason=f"{verdict.check}: {verdict.reason}",
        expires_at=whole_day(context.now, context.policy),
        deadline=_deadline(context, verdict),
        pressing=is_without_key(context, verdict),
        urgent=urgent,
        can_wait=verdict.check in ON_SCHEDULE,
    )


def _kept(
    context: Context, verdict: Verdict, rotation: RotationRecord, request: PersonRequest, assistance: Assistance
) -> list[Action]:
    """The request goes on: changed where it must be, or announced again where it is time."""
    policy, now = context.policy, context.now
    presses = is_without_key(context, verdict) and not request.urgent
    deadline = min(request.deadline, _deadline(context, verdict)) if presses or not request.urgent else request.deadline
    is_short = rotation.expires_at <= now + max(policy.renew_before, policy.lifetime / 2)
    if presses or deadline < request.deadline or is_short:
        return [
            ChangeRequest(
                rotation_id=rotation.rotation_id,
                reason=f"{verdict.check}: {verdict.reason}",
                expires_at=whole_day(now, policy) if is_short else rotation.expires_at,
                deadline=deadline,
                pressing=presses or request.urgent,
            )
        ]
    if told_next(request, assistance) <= now:
        return [Remind(level=level_of(request, assistance, now), rotation_id=rotation.rotation_id)]
    return []


def whole_day(now: datetime, policy: Policy) -> datetime:
    """The expiration to ask for: the console gives a date, of which neither zone nor granularity is documented."""
    return (now + policy.lifetime).replace(hour=0, minute=0, second=0, microsecond=0)


def _deadline(context: Context, verdict: Verdict) -> datetime:
    """While there is time yet to repair what fails, and for a whole grace; or soon."""
    key, policy, now = context.record.current, context.policy, context.now
    latest = now + policy.renew_before
    if is_without_key(context, verdict):
        return now + PRESSING
    if key is None:
        return min(latest, now + timedelta(days=1))
    ends = [(key.created_at or key.since) + policy.lifetime] if verdict.check == "TooOld" else []
    ends += [key.expires_at] if key.expires_at else []
    early = margin(policy.renew_before, policy.grace)
    if any(end <= now for end in ends if end == key.expires_at):
        return now + PRESSING
    return min([latest, *(end - early if end - early > now else end for end in ends if end > now)])


# --- an old key -------------------------------------------------------------------------------------------


def word_counts_at(request: PersonRequest) -> datetime | None:
    """From when on a person's word that it is done counts; ``None`` where nobody says so."""
    if not request.done_by:
        return None
    return request.done_at + WORD_COUNTS_AFTER if request.done_at else request.opened_at


def with_revocation(context: Context, key: KeyRecord, verdict: Verdict) -> Verdict:
    """The key's verdict, or, where a person is asked to revoke it already, how that stands."""
    request, assistance = key.revocation, context.policy.assistance
    if assistance is None or request is None or verdict.decision is not Decision.REVOKE:
        return verdict
    level, since = level_of(request, assistance, context.now), context.now - request.opened_at
    watch = context.now + min(WATCH_LAST, max(WATCH_FIRST, since / 4))
    ends = f"; it ends by itself at {text(key.expires_at)}" if key.expires_at else ""
    counts_at = word_counts_at(request)
    told = f"; {request.done_by} says that this is done" if request.done_by else ""
    if counts_at and counts_at > context.now:
        told += f", which counts from {text(counts_at)} on, unless it is seen to be accepted"
        watch = min(watch, counts_at)
    return Verdict(
        check="AwaitingRevocation",
        decision=Decision.WATCH,
        reason=f"{key.key_id}: a person is asked to revoke it, by {text(request.deadline)}{ends}{told}",
        until=min(watch, max(told_next(request, assistance), context.now)),
        alert=level is not Level.ASKED or bool(told),
    )


def revocation_actions(context: Context, key: KeyRecord, verdict: Verdict) -> list[Action]:
    """What is to be done about an old key. It is never revoked, and never given another end, by us."""
    assistance, request = context.policy.assistance, key.revocation
    assert assistance is not None, "asked for policies with people only"
    if verdict.decision is Decision.CLOSE:
        return [Close(key_id=key.key_id, evidence=verdict.reason)]
    taken_back: list[Action] = []
    if request and verdict.check in _NEEDED_AGAIN:
        taken_back = [WithdrawRevocation(key_id=key.key_id, why=verdict.reason)]
    if verdict.decision is Decision.EXTEND and verdict.until is not None:
        return [*taken_back, ExtendGrace(key_id=key.key_id, until=verdict.until, why=verdict.reason)]
    if verdict.decision is Decision.REVOKE:
        within = PRESSING if key.leaked else assistance.revoke_within
        deadline = context.now + within
        return [AskForRevocation(key_id=key.key_id, why=verdict.reason, deadline=deadline, pressing=key.leaked)]
    if verdict.check == "AwaitingRevocation" and request and told_next(request, assistance) <= context.now:
        level = level_of(request, assistance, context.now)
        return [ConfirmRefusal(key_id=key.key_id), Remind(level=level, key_id=key.key_id)]
    if verdict.decision in {Decision.WATCH, Decision.CONFIRM}:
        return [ConfirmRefusal(key_id=key.key_id)]
    return taken_back
