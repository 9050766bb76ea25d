"""A wrong policy can't rotate a whole company at once: a budget for each run, canaries first."""

from dataclasses import replace

import pytest

from rotator.domain import events as ev
from rotator.domain.conditions import conditions
from rotator.errors import BackendUnavailable, ProviderRejected
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, MINUTE, POLICY
from tests.service.test_hard_cases import adopted, look, record

AWAY = BackendUnavailable("sealed")


def company(stage, size):
    """So many policies, each with a hand-made key that expires soon."""
    policies = [stage.another_policy(f"p{number}") for number in range(size)]
    for policy in policies:
        issued = stage.provider.create_by_hand(POLICY.project, policy.name, expires_at=stage.clock.now() + 5 * DAY)
        stage.put(policy, issued.secret.reveal())
    return policies


def test_no_more_rotations_begin_than_the_budget_allows(stage):
    stage.most = 3
    stage.restart()
    policies = company(stage, 6)
    outcomes = [look(stage, policy) for policy in policies]
    assert stage.provider.calls.count("create_key") == 3
    assert [outcome.result for outcome in outcomes] == [Result.OK] * 6
    assert "left for later: 3 rotations were begun, 3 are allowed" in outcomes[-1].reason
    assert outcomes[-1].next_at <= stage.clock.now() + HOUR


def test_the_budget_is_counted_by_the_journal_so_that_a_restart_does_not_renew_it(stage):
    stage.most = 3
    stage.restart()
    policies = company(stage, 6)
    for policy in policies:
        look(stage, policy)
        stage.restart()
    assert stage.provider.calls.count("create_key") == 3
    stage.clock.advance(2 * HOUR)
    for policy in policies:
        look(stage, policy)
    assert stage.provider.calls.count("create_key") == 6


def test_what_an_operator_asked_for_is_not_counted_against_anybody(stage):
    stage.most = 1
    stage.restart()
    policies = company(stage, 3)
    for policy in policies:
        stage.journal.request(policy.name, ev.RotationRequested(reason="leak", compromised=True), stage.clock.now())
        look(stage, policy)
    assert stage.provider.calls.count("create_key") == 3


def test_a_place_of_the_budget_is_given_back_when_nothing_was_begun(stage):
    stage.most = 1
    stage.restart()
    first, second = company(stage, 2)
    stage.backends["other"].fail("check_writable", AWAY)
    assert look(stage, first).result is Result.FAILED
    assert look(stage, second).result is Result.OK
    assert stage.provider.calls.count("create_key") == 1


def test_nothing_begins_while_the_canary_is_in_trouble(stage):
    policies = company(stage, 2)
    canary = replace(policies[0], canary=True)
    stage.policies[stage.policies.index(policies[0])] = canary
    outcome = look(stage, policies[1])
    assert "the canary p0 was not looked at yet" in outcome.reason
    stage.backends["other"].fail("write", AWAY)
    assert look(stage, canary).result is Result.FAILED
    assert "the canary p0 is in trouble" in look(stage, policies[1]).reason
    look(stage, canary)
    stage.clock.advance(HOUR)
    look(stage, canary)
    made = stage.provider.calls.count("create_key")
    assert look(stage, policies[1]).result is Result.OK
    assert stage.provider.calls.count("create_key") == made + 1


def failing(stage, policies):
    """The provider makes no key for these: their rotations are given up soon after they were begun."""
    names = {policy.name for policy in policies}
    create = stage.provider.create_key

    def refuse(project, name, expires_at):
        if any(f"_{one}_" in name for one in names):
            raise ProviderRejected("the project has too many keys")
        return create(project, name, expires_at)

    stage.provider.create_key = refuse


def serve(stage, policies, until):
    """Look at each policy whenever it is due."""
    while stage.clock.now() < until:
        for policy in policies:
            seen = stage.journal.look(policy.name)
            if seen is None or seen.next_at <= stage.clock.now():
                look(stage, policy)
        stage.clock.advance(10 * MINUTE)


@pytest.mark.parametrize(("most", "within"), [(4, 4 * HOUR), (1, 2 * DAY)])
def test_promise_9_policies_that_fail_again_and_again_leave_places_to_the_others(stage, most, within):
    stage.most = most
    stage.restart()
    *broken, healthy = company(stage, 7)
    failing(stage, broken)
    serve(stage, [*broken, healthy], stage.clock.now() + within)
    assert [key for key in stage.provider.live(POLICY.project) if "_p6_" in stage.provider._keys[key].facts.name]


def test_what_was_put_off_is_still_failing(stage):
    stage.most = 1
    stage.restart()
    first, second = company(stage, 2)
    failing(stage, [first, second])
    look(stage, first)
    stage.clock.advance(2 * HOUR)
    look(stage, second)
    put_off = look(stage, first)
    assert "left for later" in put_off.reason
    assert put_off.result is Result.OK
    seen = stage.journal.look(first.name)
    assert (seen.failures, seen.problem) == (1, "the project has too many keys")


def lasting(stage, policy):
    """What people are told of a policy, without any patience."""
    found = conditions(policy, record(stage, policy), stage.journal.look(policy.name), stage.clock.now(), 3)
    return {one.key for one in found}


def test_promise_9_an_emptied_place_with_consumers_waits_for_no_canary(stage):
    canary = stage.another_policy("canary", canary=True)
    adopted(stage)
    stage.put(stage.policy, None)
    stage.backends["other"].fail("read", AWAY)
    assert look(stage, canary).result is Result.FAILED
    stage.look()
    assert None not in stage.held()


def test_a_policy_that_never_had_a_key_waits_for_the_canary(stage):
    canary = stage.another_policy("canary", canary=True)
    stage.backends["other"].fail("read", AWAY)
    assert look(stage, canary).result is Result.FAILED
    assert "the canary canary is in trouble" in stage.look().reason
    assert not lasting(stage, stage.policy)


def test_consumers_that_wait_for_the_budget_without_a_key_are_told(stage):
    stage.most = 1
    stage.restart()
    policies = [stage.another_policy(f"p{number}") for number in range(4)]
    for policy in policies:
        issued = stage.provider.create_by_hand(POLICY.project, policy.name)
        stage.put(policy, issued.secret.reveal())
        look(stage, policy)
        stage.provider.revoke_by_hand(issued.facts.key_id)
    stage.put(policies[-1], None)
    for policy in policies:
        look(stage, policy)
    assert not lasting(stage, policies[1]), "as much again is allowed where consumers have no key"
    assert lasting(stage, policies[2]) == {"needs-person:Deferred", "needs-person:KeyRejected"}
    assert lasting(stage, policies[3]) == {"needs-person:Deferred"}
    stage.clock.advance(2 * HOUR)
    for policy in policies[2:]:
        look(stage, policy)
        assert not lasting(stage, policy)


def test_a_rotation_on_schedule_that_waits_for_the_budget_alarms_nobody(stage):
    stage.most = 1
    stage.restart()
    first, second = company(stage, 2)
    look(stage, first)
    assert "left for later" in look(stage, second).reason
    assert not lasting(stage, second)
