"""A clock that steps by hours neither revokes early nor rotates twice."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain import events as ev
from rotator.errors import BackendUnavailable
from rotator.ports import Look
from rotator.service.reconcile import BACKOFF_LAST, due_since, is_due
from tests.domain.build import DAY, HOUR, POLICY
from tests.service.test_hard_cases import adopted, record, rotate_now


def step(stage, by):
    """Our clock steps; the provider's does not, and its answers say so."""
    stage.clock.advance(by)
    stage.provider._now = lambda: stage.clock.now() - by
    stage.provider.ahead = -by


def back(stage, by):
    stage.clock.advance(-by)
    stage.provider._now = stage.clock.now
    stage.provider.ahead = timedelta(0)


@pytest.mark.parametrize("hours", [25, 24 * 40])
def test_promise_2_a_step_forward_revokes_nothing_early(stage, hours):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    step(stage, hours * HOUR)
    for _ in range(3):
        stage.look()
    assert old in stage.alive()
    back(stage, hours * HOUR)
    stage.look()
    assert old in stage.alive(), "its grace has hardly begun"
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert old not in stage.alive()


def test_a_step_forward_rotates_not_once(stage):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    made = stage.provider.calls.count("create_key")
    step(stage, 40 * DAY)
    for _ in range(4):
        stage.look()
    assert stage.provider.calls.count("create_key") == made


@pytest.mark.parametrize("hours", [-5, -24 * 3])
def test_promise_2_a_rotation_by_a_clock_that_is_behind_still_gives_a_full_grace(stage, hours):
    old = adopted(stage)
    step(stage, hours * HOUR)
    rotate_now(stage)
    stage.look()
    assert stage.held()[0] != old
    back(stage, hours * HOUR)
    stage.clock.advance(POLICY.grace - HOUR)
    stage.look()
    assert old in stage.alive()
    stage.clock.advance(HOUR)
    stage.look()
    assert old not in stage.alive()


def test_a_key_that_expires_soon_is_renewed_although_our_clock_is_behind(stage):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    first = stage.held()[0]
    stage.clock.advance(POLICY.lifetime - POLICY.renew_before + HOUR)
    step(stage, -20 * DAY)
    stage.look()
    assert stage.held()[0] != first


def test_a_schedule_made_before_the_clock_stepped_back_is_not_waited_for(stage):
    adopted(stage)
    now = stage.clock.now()
    looks = stage.journal.looks()
    assert not is_due(stage.policy, looks, now)
    assert is_due(stage.policy, looks, now - max(POLICY.check_every, BACKOFF_LAST) - DAY)


def test_what_is_asked_for_from_a_host_whose_clock_is_ahead_is_due_now(stage):
    adopted(stage)
    leak = ev.RotationRequested(reason="leak", compromised=True)
    stage.journal.request(POLICY.name, leak, stage.clock.now() + 2 * HOUR)
    assert is_due(stage.policy, stage.journal.looks(), stage.clock.now())
    assert due_since(stage.policy, stage.journal.looks(), stage.clock.now()) <= stage.clock.now()
    stage.look()
    assert not is_due(stage.policy, stage.journal.looks(), stage.clock.now())


def test_what_is_asked_for_while_a_host_looks_whose_clock_is_ahead_is_due_now(stage):
    adopted(stage)
    known, ahead = record(stage), stage.clock.now() + 2 * HOUR
    lease = stage.journal.acquire(POLICY.name, "elsewhere", ahead, timedelta(minutes=5))
    rotate_now(stage, compromised=True)
    stage.journal.note_look(lease, Look(next_at=ahead + HOUR, digest=POLICY.digest), (), known=known, now=ahead)
    assert is_due(stage.policy, stage.journal.looks(), stage.clock.now())


def test_a_lease_taken_before_the_clock_stepped_back_is_not_waited_for(stage):
    adopted(stage)
    stage.journal._is_dead = lambda _holder: False
    stage.journal.acquire(POLICY.name, "elsewhere", stage.clock.now() + 5 * HOUR, timedelta(minutes=5))
    stage.look()
    assert record(stage).current is not None


def test_of_what_is_due_the_policy_that_waits_longest_comes_first(stage):
    adopted(stage)
    looks, now = stage.journal.looks(), stage.clock.now() + DAY
    new = replace(POLICY, name="new")
    assert due_since(stage.policy, looks, now) == looks[POLICY.name].next_at
    assert due_since(new, looks, now) == now
    assert sorted([new, stage.policy], key=lambda policy: due_since(policy, looks, now)) == [stage.policy, new]


def test_the_nearer_the_end_of_the_key_is_the_more_often_a_failure_is_tried_again(stage):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    ends = record(stage).current.expires_at
    waits = []
    for left in (6 * DAY, 4 * HOUR, HOUR, timedelta(minutes=2)):
        stage.clock.current = ends - left
        for _ in range(9):  # as often as it takes to come to the longest wait
            stage.backends["one"].fail("read", BackendUnavailable("sealed"))
            outcome = stage.look()
        waits.append(outcome.next_at - stage.clock.now())
    assert waits == sorted(waits, reverse=True)
    assert waits[0] > timedelta(minutes=9)  # the old key is asked about again after ten
    assert waits[-1] <= timedelta(seconds=30)
