"""A wrong policy can't rotate a whole company at once: a budget for each run, canaries first."""

from dataclasses import replace

from rotator.domain import events as ev
from rotator.errors import BackendUnavailable
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, POLICY
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
