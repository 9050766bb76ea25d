"""What is wrong, or about to happen, now: computed from what the journal knows. Read ``conditions`` first. Pure.

Unlike an event a condition lasts. It is known again by its key, told when it begins, and over when it is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from rotator.domain.model import Policy
from rotator.domain.notices import Kind, Level
from rotator.domain.record import KeyRecord, KeyState, PolicyRecord
from rotator.domain.renewal import half_gone_at, renewal_at
from rotator.domain.requests import asked_in_time, open_request
from rotator.domain.text import duration, text

OVERDUE_AFTER = timedelta(hours=6)
"""How long after its moment a rotation counts as overdue: holds, canaries and budgets put it off for a while."""

UNSEEN_AFTER = timedelta(hours=1)
"""How long after its moment a look that did not come is told."""

CATCHES_UP = timedelta(minutes=10)
"""How long a service that was off has to do what it missed, before anybody is told that nobody did."""

AHEAD_AT_MOST = timedelta(hours=24)
"""How long before a revocation it is told at most; otherwise a quarter of the grace."""

DAY = timedelta(days=1)


class Seen(Protocol):
    """What the last look at a policy saw (``ports.Look``). ``alerts``: pairs of a check's name and its reason."""

    @property
    def next_at(self) -> datetime: ...
    @property
    def failures(self) -> int: ...
    @property
    def problem(self) -> str: ...
    @property
    def alerts(self) -> Sequence[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that lasts.

    :param key: by which it is known again, within its policy.
    :param patience: told when it has lasted so long: most of what passes needs nobody.
    :param escalates: critical when it has lasted so long; ``None``: never by time alone.
    :param lasts: it is told again while it lasts, and its end is told; otherwise it is told once.
    """

    key: str
    kind: Kind
    level: Level
    what: str
    advice: str
    key_ids: tuple[str, ...] = ()
    patience: timedelta = timedelta(0)
    escalates: timedelta | None = None
    lasts: bool = True


@dataclass(frozen=True, slots=True)
class Needs:
    """What a person is to do about a check's alert."""

    advice: str
    patience: timedelta = timedelta(0)
    escalates: timedelta | None = DAY


_HAND_OVER = "A person is asked to make the new key, and to hand it over: 'rotator requests' says what to do exactly."
_WAITS = "See 'rotator status': a canary in trouble, depends_on or max_rotations_per_run may keep it waiting."

_SOON, _LATER = timedelta(minutes=30), timedelta(hours=1)

NEEDS: Mapping[str, Needs] = {
    "WrongDestination": Needs("Correct the destination, or the policy's 'expect'; nothing is written there before."),
    "KeyFromOtherProject": Needs("Put a key of the policy's project there, or correct the policy's 'project'."),
    "RotationInFlight": Needs("Some destinations may hold the new key and others the old one; both are valid. Mend "
                              "what 'rotator status' names."),
    "HeldSomewhere": Needs("Replace the key at that place: it is not revoked before.", _LATER),
    "Drifted": Needs("Put the right key back, or let it be replaced with 'rotator rotate'."),
    "MetadataDrifted": Needs("Find out who writes there besides rotator.", escalates=None),
    "RejectionContradicted": Needs("Look at the key in the provider's console.", _SOON),
    "ConsumersNotTold": Needs("Mend the hook: the old key is not revoked before ('rotator --test-hooks').", _SOON),
    "ReplacementNotProven": Needs("See that every destination can be read and holds the new key.", _LATER),
    "AwaitingRefusal": Needs("The provider still accepts a key that was revoked: look at it in the console.", _SOON),
    "CannotBeRevoked": Needs("Regenerate the legacy organisation key in the console.", escalates=None),
    "HandedOverInVain": Needs("Ask whoever handed it over whether it is in use.", escalates=None),
    "OfAnotherProvider": Needs("Revoke it by hand at its own provider, then 'rotator forget POLICY --key KEY'; else "
                               "this ends a day after the key's own expiration.", escalates=None),
    "NotTheKeyThatWeMade": Needs("Look at the key in the provider's console: it has another name than it was given."),
    "ClockSkewed": Needs("Set this machine's clock: nothing is revoked before.", _SOON),
    "UseUnknown": Needs("See why the provider gives no figures of use.", OVERDUE_AFTER, None),
    "KeyRejected": Needs("Its consumers are refused: see what keeps a new key from coming ('rotator --dry-run'). "
                         "'rotator rotate' waits for no canary and no budget.", CATCHES_UP, _LATER),
    "Deferred": Needs("Its consumers have no key, or soon none. 'rotator rotate' waits for no canary and no budget; or "
                      "raise max_rotations_per_run.", CATCHES_UP, _LATER),
}  # fmt: skip
"""By the check that raised the alert; others mend themselves, or end as a failure. ``Deferred``: what is urgent was."""


def conditions(
    policy: Policy, record: PolicyRecord, seen: Seen | None, now: datetime, failed_after: int
) -> list[Condition]:
    """Everything that lasts now.

    :param failed_after: so many looks in a row must have ended in an error.
    """
    found = [*_ending(policy, record, now), *_to_be_revoked(policy, record, now)]
    if record.held(now):
        return found  # an operator said: hands off; but a key ends all the same
    found += _overdue(policy, record, now)
    if seen is not None:
        found += [*_failed(seen, failed_after), *_needed(seen, record), *_unseen(seen, now)]
    return list({one.key: one for one in found}.values())


def is_certain(key: str, record: PolicyRecord, seen: Seen | None, now: datetime) -> bool:
    """Whether a condition that is not there any more is over, and not just out of sight."""
    if key.startswith("about-to-revoke"):  # how long before it is told depends on the policy, as a process has it
        return key not in map(_revocation_key, record.in_state(KeyState.RETIRING))
    if key.startswith("ending"):
        return True
    # A policy on hold is not looked at; and a look that failed did not see what the one before had seen. It is no
    # recovery either, where another process that shares the channel waits for fewer failures before it tells them.
    return not record.held(now) and (
        seen is None or not seen.failures or not key.startswith(("needs-person", "failed"))
    )


def _ending(policy: Policy, record: PolicyRecord, now: datetime) -> Iterator[Condition]:
    key = record.current
    half = half_gone_at(policy, key) if key else None
    if key is None or key.expires_at is None or half is None or now <= half:
        return
    is_over = key.expires_at <= now
    if not is_over and asked_in_time(policy, record, now, by=half):
        return
    ends = "has ended" if is_over else "ends"
    rotate = f"Mend what 'rotator status' names, then 'rotator rotate {policy.name} --reason ...'."
    yield Condition(
        key="ending",
        kind=Kind.OVERDUE,
        level=Level.CRITICAL,
        what=f"The key {key.key_id} {ends} at {text(key.expires_at)}, and has no successor.",
        advice=_HAND_OVER if open_request(policy, record, now) else rotate,
        key_ids=(key.key_id,),
    )


def _overdue(policy: Policy, record: PolicyRecord, now: datetime) -> Iterator[Condition]:
    key, request = record.current, open_request(policy, record, now)
    if key is None or record.in_flight or (request and now < request.deadline):
        return
    due: datetime | None = renewal_at(policy, key)
    if policy.windows is not None and due is not None:
        due = policy.windows.opens(due)
    if due is None or now - due <= OVERDUE_AFTER:
        return
    yield Condition(
        key="overdue",
        kind=Kind.OVERDUE,
        level=Level.WARNING,
        what=f"The rotation of {key.key_id} was due at {text(due)}, and did not come.",
        advice=_HAND_OVER if request else _WAITS,
        key_ids=(key.key_id,),
        patience=CATCHES_UP,
        escalates=DAY,
    )


def _failed(seen: Seen, failed_after: int) -> Iterator[Condition]:
    if seen.failures >= failed_after:
        yield Condition(
            key="failed",
            kind=Kind.FAILED,
            level=Level.WARNING,
            what=f"It failed {seen.failures} times in a row: {seen.problem}",
            advice="It is tried again, ever more slowly; mend what the error names.",
            escalates=DAY,
        )


def _needed(seen: Seen, record: PolicyRecord) -> Iterator[Condition]:
    for check, reason in seen.alerts:
        needs = NEEDS.get(check)
        if needs is None:
            continue
        keys = tuple(key.key_id for key in record.keys if key.key_id in reason)
        yield Condition(
            key=":".join(["needs-person", check, *keys]),
            kind=Kind.NEEDS_PERSON,
            level=Level.WARNING,
            what=f"A person is needed ({check}): {reason}",
            advice=needs.advice,
            key_ids=keys,
            patience=needs.patience,
            escalates=needs.escalates,
        )


def _unseen(seen: Seen, now: datetime) -> Iterator[Condition]:
    late = now - seen.next_at
    if late > UNSEEN_AFTER:
        yield Condition(
            key="unseen",
            kind=Kind.OVERDUE,
            level=Level.WARNING,
            what=f"It was to be looked at at {text(seen.next_at)}, and was not.",
            advice="See whether rotator runs and gets on: its log, and /healthz.",
            patience=CATCHES_UP,
            escalates=DAY,
        )


def _to_be_revoked(policy: Policy, record: PolicyRecord, now: datetime) -> Iterator[Condition]:
    ahead = min(policy.grace / 4, AHEAD_AT_MOST)
    for key in record.in_state(KeyState.RETIRING):
        if key.grace_until is not None and now >= key.grace_until - ahead and not key.leaked:
            yield _revocation(key, key.grace_until, policy)


def _revocation_key(key: KeyRecord) -> str:
    """With its moment: one that is put off is told again."""
    return f"about-to-revoke:{key.key_id}:{text(key.grace_until) if key.grace_until else ''}"


def _revocation(key: KeyRecord, at: datetime, policy: Policy) -> Condition:
    return Condition(
        key=_revocation_key(key),
        kind=Kind.ABOUT_TO_REVOKE,
        level=Level.INFO,
        what=f"The replaced key {key.key_id} is revoked at {text(at)} or soon after, unless it is seen in use.",
        advice="If a consumer needs it longer: "
        f"'rotator extend-grace {policy.name}' ({duration(policy.grace_limit)} in all by itself, while it is in use).",
        key_ids=(key.key_id,),
        lasts=False,
    )
