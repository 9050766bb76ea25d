"""A window puts off what can wait, and nothing else."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.domain.actions import Issue, Revoke
from rotator.domain.planner import plan
from rotator.domain.record import KeyState, Phase
from rotator.domain.renewal import renewal_at
from rotator.domain.verdict import Decision
from tests.domain.build import (
    DAY,
    HOUR,
    NOW,
    POLICY,
    REFUSED,
    facts,
    fingerprint,
    key,
    record,
    retiring,
    rotation,
    world,
)


@dataclass(frozen=True)
class Opens:
    """One window that opens at a moment and stays open."""

    at: datetime | None

    def opens(self, now):
        return self.at and max(self.at, now)


def waits(opens=NOW + 2 * HOUR):
    return replace(POLICY, windows=Opens(opens))


ENDING = key("k", expires_at=NOW + 5 * DAY, created_at=NOW - 25 * DAY)
OLD = key("k", expires_at=None, created_at=NOW - 40 * DAY)
REQUESTED = record(key("k"), requested="new team")

PUT_OFF = {
    "a key whose end is near": (record(ENDING), "ExpiryNear"),
    "a key that is too old": (record(OLD), "TooOld"),
    "what an operator asked for": (REQUESTED, "RotateRequested"),
}


@pytest.mark.parametrize("row", PUT_OFF)
def test_what_can_wait_waits_for_its_window_and_is_looked_at_when_that_opens(row):
    remembered, check = PUT_OFF[row]
    decided = plan(waits(), world("k", "k").beside(remembered), NOW)
    assert (decided.verdict.check, decided.verdict.decision) == (check, Decision.WAIT)
    assert "waits for its window, which opens at 2026-11-23T14:00:00Z" in decided.verdict.reason
    assert decided.next_look == NOW + 2 * HOUR
    assert not decided.actions
    assert plan(waits(), world("k", "k").beside(remembered), NOW + 2 * HOUR).verdict.decision is Decision.ISSUE


AT_ONCE = {
    "a first key": (world(None, None), record(), Decision.ISSUE),
    "a key that the provider refuses": (
        world("k", "k", identities={fingerprint("k"): REFUSED}, listed=()),
        record(key("k")),
        Decision.ISSUE,
    ),
    "a key that has leaked": (world("k", "k"), record(key("k"), requested="leak", compromised=True), Decision.ISSUE),
    "a rotation that has begun": (
        world("new", "k"),
        record(key("k"), key("new", KeyState.CANDIDATE), rotations=(rotation(Phase.PUBLISHING),)),
        Decision.RESUME,
    ),
}


@pytest.mark.parametrize("row", AT_ONCE)
def test_what_can_not_wait_is_done_outside_of_windows(row):
    seen, remembered, decision = AT_ONCE[row]
    assert plan(waits(), seen.beside(remembered), NOW).verdict.decision is decision


@pytest.mark.parametrize("opens", [NOW + 4 * DAY, None])
def test_a_key_that_would_not_outlive_the_wait_is_replaced_at_once_with_an_alert(opens):
    decided = plan(waits(opens), world("k", "k").beside(record(ENDING)), NOW)
    assert decided.verdict.decision is Decision.ISSUE
    assert decided.verdict.alert
    assert "too late to wait for" in decided.verdict.reason


def test_a_closed_window_never_keeps_an_old_key_alive():
    remembered = record(ENDING, retiring("old"))
    seen = world("k", "k", listed=(facts("k"), facts("old")))
    open_now, closed = (plan(policy, seen.beside(remembered), NOW) for policy in (POLICY, waits()))
    assert closed.key_verdicts == open_now.key_verdicts
    assert any(isinstance(action, Revoke) for action in closed.actions)


@given(
    wait=st.timedeltas(min_value=timedelta(0), max_value=40 * DAY),
    left=st.timedeltas(min_value=timedelta(0), max_value=8 * DAY),
)
def test_whatever_the_windows_a_key_that_is_due_is_replaced_or_outlives_the_wait(wait, left):
    ending = key("k", expires_at=NOW + left, created_at=NOW - 30 * DAY + left)
    policy = waits(NOW + wait)
    decided = plan(policy, world("k", "k").beside(record(ending)), NOW)
    if renewal_at(policy, ending) > NOW or any(isinstance(action, Issue) for action in decided.actions):
        return
    assert decided.verdict.until == NOW + wait
    assert NOW + wait + policy.grace <= ending.expires_at


def test_the_jitter_of_a_policy_is_how_much_earlier_a_key_is_replaced():
    half = key("k", jitter=0.5)
    policy = replace(POLICY, jitter=10 * HOUR)
    assert renewal_at(policy, half) == half.expires_at - POLICY.renew_before - 5 * HOUR
