"""Whose turn it is: windows, the distance in a group, and policies that depend on others."""

from dataclasses import dataclass, replace

from rotator.domain import events as ev
from rotator.errors import BackendUnavailable
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, MINUTE
from tests.service.test_budget import company
from tests.service.test_hard_cases import look

AWAY = BackendUnavailable("sealed")


@dataclass(frozen=True)
class Nightly:
    """Open from midnight to three in the morning, UTC."""

    def opens(self, now):
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return now if now < midnight + 3 * HOUR else midnight + DAY


def changed(stage, policy, **changes):
    new = replace(policy, **changes)
    stage.policies[stage.policies.index(policy)] = new
    return new


def made(stage):
    return stage.provider.calls.count("create_key")


def test_a_rotation_waits_for_its_window_and_the_old_key_ends_outside_of_it(stage):
    (policy,) = company(stage, 1)
    policy = changed(stage, policy, windows=Nightly(), grace=6 * HOUR, grace_limit=DAY)
    (old,) = stage.alive()
    assert "waits for its window, which opens at 2026-11-24T00:00:00Z" in look(stage, policy).reason
    stage.restart()
    issued, ended = [], []
    for _ in range(20):
        outcome = look(stage, policy)
        issued += [stage.clock.now()] * (made(stage) - len(issued))
        ended += [stage.clock.now()] * (old not in stage.alive() and not ended)
        stage.clock.current = max(outcome.next_at, stage.clock.now() + MINUTE)
    (begun,) = issued
    assert begun.hour == 0
    assert [moment.hour for moment in ended] == [6]


def test_policies_of_a_group_keep_their_distance_also_after_a_restart(stage):
    first, second = (changed(stage, one, group="chat", distance=2 * HOUR) for one in company(stage, 2))
    look(stage, first)
    stage.restart()
    assert "p0 of the group chat was rotated less than 2h ago" in look(stage, second).reason
    assert made(stage) == 1
    stage.clock.advance(2 * HOUR)
    look(stage, second)
    assert made(stage) == 2


def test_a_key_whose_end_is_near_does_not_keep_the_distance(stage):
    first, second = (changed(stage, one, group="chat", distance=2 * HOUR) for one in company(stage, 2))
    stage.clock.advance(2 * DAY)
    look(stage, first)
    look(stage, second)
    assert made(stage) == 2


def test_a_policy_waits_for_what_it_depends_on_until_that_is_rotated(stage):
    first, second = company(stage, 2)
    second = changed(stage, second, depends_on=("p0",))
    assert "p0, which it depends on, was not looked at yet" in look(stage, second).reason
    stage.backends["other"].fail("check_writable", AWAY)
    assert look(stage, first).result is Result.FAILED
    assert "p0, which it depends on, is in trouble" in look(stage, second).reason
    assert made(stage) == 0
    look(stage, first)
    look(stage, second)
    assert made(stage) == 2


def test_a_policy_waits_while_what_it_depends_on_waits_for_its_window(stage):
    first, second = company(stage, 2)
    first, second = changed(stage, first, windows=Nightly()), changed(stage, second, depends_on=("p0",))
    look(stage, first)
    assert "p0, which it depends on, is due too" in look(stage, second).reason
    stage.clock.advance(2 * DAY)  # by then the end of its key is near
    look(stage, second)
    assert made(stage) == 1


def test_what_an_operator_asked_for_waits_for_no_other_policy(stage):
    _, second = company(stage, 2)
    second = changed(stage, second, depends_on=("p0",))
    stage.journal.request("p1", ev.RotationRequested(reason="new team"), stage.clock.now())
    look(stage, second)
    assert made(stage) == 1
