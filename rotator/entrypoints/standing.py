"""Where each policy stands, in one word, with the reason and what to do about it: for people who look at many of them.

An ordered chain of small checks; the first that applies decides. It reads what the journal knows, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.domain.conditions import NEEDS
from rotator.domain.model import Policy
from rotator.domain.record import KeyState, Phase, PolicyRecord
from rotator.domain.renewal import half_gone_at, renewal_at
from rotator.domain.requests import asked_in_time
from rotator.domain.text import text
from rotator.ports import Look

LATE = timedelta(minutes=5)
"""A policy waits its turn for a while where many are due."""

STUCK = timedelta(hours=1)
"""A rotation that is not published everywhere by then needs a person; as ``RotatorStuckInPhase`` has it."""


class State(StrEnum):
    """In the order in which people want to hear of them."""

    PROBLEM = "problem"
    HOLD = "hold"
    ROTATING = "rotating"
    DUE = "due"
    GRACE = "grace"
    NEW = "new"
    FINE = "fine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that a check may look at."""

    policy: Policy
    record: PolicyRecord
    look: Look | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One policy.

    :param what: what is the matter, a sentence; with the words of others, so to be redacted.
    :param advice: what a person can do; empty where there is nothing to do.
    """

    case: Case
    state: State
    what: str
    advice: str = ""


_Said = tuple[State, str, str]

_ADVICE: Mapping[str, str] = {
    "DestinationUnreadable": "See that the backend answers and that rotator may read there: 'rotator policy vault' and "
    "'rotator policy aws' print the rights that it needs.",
    "ProviderUnreadable": "See that the provider answers and that the management key is still valid.",
}
"""By the check that a problem begins with; for others see ``conditions.NEEDS``."""

_STILL_IN_USE = "A consumer did not take the new key. Find it and restart it before 'grace_limit'."

_TRIED_AGAIN = "Mend what it names; it is tried again by itself."


def standings(rows: Iterable[tuple[Policy, PolicyRecord, Look | None]], now: datetime) -> list[Standing]:
    """Every policy, those with a problem first, and otherwise by name."""
    found = [standing(Case(policy=policy, record=record, look=look, now=now)) for policy, record, look in rows]
    order = {state: place for place, state in enumerate(State)}
    return sorted(found, key=lambda one: (order[one.state], one.case.policy.name))


def standing(case: Case) -> Standing:
    """One policy's."""
    for check in CHAIN:
        if said := check(case):
            state, what, advice = said
            return Standing(case=case, state=state, what=what, advice=advice)
    return Standing(case=case, state=State.FINE, what="Nothing is due.")


def failing(case: Case) -> _Said | None:
    """Its last look ended in an error."""
    if case.look is None or not case.look.failures:
        return None
    times = "once" if case.look.failures == 1 else f"{case.look.failures} times in a row"
    check = case.look.problem.partition(":")[0]
    advice = NEEDS[check].advice if check in NEEDS else _ADVICE.get(check, "")
    return State.PROBLEM, f"Failed {times}: {case.look.problem}", f"{advice} {_TRIED_AGAIN}".strip()


def needs_a_person(case: Case) -> _Said | None:
    """Its last look was fine, and saw what does not mend itself; a hold leaves it as it is."""
    if case.look is None or case.record.held(case.now):
        return None
    found = [(check, reason) for check, reason in case.look.alerts if check in NEEDS]
    if not found:
        return None
    what = " ".join(f"{check}: {reason}." for check, reason in found)
    return State.PROBLEM, f"A person is needed. {what}", " ".join(NEEDS[check].advice for check, _ in found)


def key_is_over(case: Case) -> _Said | None:
    """Its key has ended, and has no successor."""
    current = case.record.current
    if current is None or current.expires_at is None or current.expires_at > case.now:
        return None
    return (
        State.PROBLEM,
        f"Its key ended at {text(current.expires_at)}, and has no successor.",
        f"Ask for a new one: {_rotate(case)}",
    )


def end_is_near(case: Case) -> _Said | None:
    """Half of the time in which a key is to be replaced is gone; as ``RotatorExpiryNear`` has it.

    A person who was asked for the new key before may have time yet.
    """
    current = case.record.current
    half = half_gone_at(case.policy, current) if current else None
    if current is None or current.expires_at is None or half is None or current.rest_until is not None:
        return None
    if case.now <= half or asked_in_time(case.policy, case.record, case.now, by=half):
        return None
    return (
        State.PROBLEM,
        f"Its key ends at {text(current.expires_at)}, and has no successor yet.",
        f"See what keeps it waiting ('rotator --dry-run' says why), or ask for a new one now: {_rotate(case)}",
    )


def stuck_half_way(case: Case) -> _Said | None:
    """Some destinations have the new key, others the old one, for long."""
    rotation = case.record.in_flight
    if rotation is None or case.now - rotation.started_at < STUCK:
        return None
    return (
        State.PROBLEM,
        f"Its rotation began at {text(rotation.started_at)} and is not over: {progress(case)}.",
        "Old and new key are both valid. See which destination can't be written.",
    )


def not_looked_at(case: Case) -> _Said | None:
    """Its turn does not come."""
    if case.look is None or case.now - case.look.next_at <= LATE:
        return None
    return (
        State.PROBLEM,
        f"It was due at {text(case.look.next_at)}, and was not looked at.",
        "See whether the service hangs (/healthz), or has too few 'service.workers' for its endpoints.",
    )


def on_hold(case: Case) -> _Said | None:
    """An operator wants nothing to happen."""
    if not (reason := case.record.held(case.now)):
        return None
    until = f" until {text(case.record.hold_until)}" if case.record.hold_until else ""
    return State.HOLD, f"On hold{until}: {reason}", f"When it may go on: rotator release {case.policy.name}"


def rolling_back(case: Case) -> _Said | None:
    """An operator wants the key before back."""
    if case.record.rollback is None:
        return None
    return State.ROTATING, f"The key before is being put back: {case.record.rollback.reason}", ""


def in_flight(case: Case) -> _Said | None:
    """A rotation is at work."""
    rotation = case.record.in_flight
    if rotation is None:
        return None
    return State.ROTATING, f"Being replaced: {progress(case)}. {rotation.reason}", ""


def asked_for(case: Case) -> _Said | None:
    """An operator wants a new key, which the next look makes."""
    if not case.record.requested and not case.record.compromised:
        return None
    return State.ROTATING, f"A new key was asked for: {case.record.requested}", ""


def consumers_not_told(case: Case) -> _Said | None:
    """Hooks are still to run, and hold the revocation back."""
    current = case.record.current
    untold = [hook for hook in (current.hooks_due if current else ()) if hook in case.policy.hooks]
    if not untold:
        return None
    return State.ROTATING, f"Hooks still to run: {', '.join(untold)}.", ""


def waits_for_a_person(case: Case) -> _Said | None:
    """Its new key is to be made by hand."""
    if (rotation := case.record.awaiting) is None:
        return None
    return (
        State.DUE,
        f"A person is asked to make its new key, since {text(rotation.started_at)}: {rotation.reason}",
        f"'rotator requests' says what to do exactly; then: rotator submit {case.policy.name}",
    )


def due(case: Case) -> _Said | None:
    """Its key is to be replaced, and something makes it wait."""
    current = case.record.current
    if current is None or (at := renewal_at(case.policy, current)) > case.now:
        return None
    return (
        State.DUE,
        f"To be replaced since {text(at)}.",
        "It may wait for its window, its turn in its group, a canary or the budget: 'rotator --dry-run' says which.",
    )


def old_keys_live(case: Case) -> _Said | None:
    """The key before is in its grace, or was not seen refused yet."""
    in_use = [reason for check, reason in (case.look.alerts if case.look else ()) if check == "StillInUse"]
    if in_use:
        return State.GRACE, f"The old key is still used: {'; '.join(in_use)}", _STILL_IN_USE
    retiring = case.record.in_state(KeyState.RETIRING)
    if ends := [key.grace_until for key in retiring if key.grace_until]:
        return State.GRACE, f"The old key stays valid until {text(max(ends))} at least.", ""
    if retiring or case.record.in_state(KeyState.REVOKED, KeyState.ORPHAN, KeyState.CANDIDATE):
        return State.GRACE, "An old key is being cleared away.", ""
    return None


def never_looked_at(case: Case) -> _Said | None:
    """It is new in the configuration."""
    return None if case.look else (State.NEW, "It was not looked at yet.", "")


CHAIN: tuple[Callable[[Case], _Said | None], ...] = (
    failing,
    key_is_over,
    end_is_near,
    needs_a_person,
    stuck_half_way,
    not_looked_at,
    on_hold,
    rolling_back,
    in_flight,
    asked_for,
    consumers_not_told,
    waits_for_a_person,
    due,
    old_keys_live,
    never_looked_at,
)


def progress(case: Case) -> str:
    """How far the rotation in flight has come; empty where there is none."""
    rotation = case.record.in_flight
    if rotation is None:
        return ""
    if rotation.phase is not Phase.PUBLISHING:
        return str(rotation.phase)
    return f"published to {len(rotation.published)} of {len(case.policy.destinations)}"


def _rotate(case: Case) -> str:
    return f'rotator rotate {case.policy.name} --reason "..."'
