"""A wrong policy can't rotate a whole company at once: a budget for each run, canaries first."""

from dataclasses import replace

import pytest

from rotator.domain import events as ev
from rotator.errors import BackendUnavailable, ProviderRejected
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, MINUTE, POLICY
from tests.service.test_hard_cases import look

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
