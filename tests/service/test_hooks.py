"""Hooks in the life of a policy: run after publishing, tried again, and in the way of a revocation alone."""

from dataclasses import replace

import pytest

from rotator.domain import events as ev
from rotator.ports import News
from rotator.service.hooks import Trial, tried
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, NOW, POLICY


@pytest.fixture
def hooked(stage):
    stage.policy = stage.policies[0] = replace(stage.policy, hooks=("reload", "tell"))
    stage.old = stage.put_key_by_hand()
    stage.look()
    return stage


def rotate(stage, **how):
    stage.journal.request(POLICY.name, ev.RotationRequested(reason="test", **how), stage.clock.now())
    return stage.look()


def alive(stage):
    return {facts.key_id for facts in stage.provider.list_keys(POLICY.project)}


def current(stage):
    return stage.journal.load(POLICY.name).current


def test_adoption_tells_nobody(hooked):
    assert hooked.hooks.tried == []


def test_each_hook_runs_once_for_a_new_key_and_is_told_everything_but_the_secret(hooked):
    outcome = rotate(hooked)
    new = current(hooked).key_id
    hooked.look()
    assert outcome.result is Result.OK
    assert outcome.done[-2:] == (f"ran hook reload for {new}", f"ran hook tell for {new}")
    places = tuple(place.name for place in hooked.policy.destinations)
    news = News(
        instance="prod", policy="chat", project="proj_a", key_id=new, old_key_ids=(hooked.old,), destinations=places
    )
    assert hooked.hooks.told == [("reload", news), ("tell", news)]


def test_promise_2_a_hook_that_fails_keeps_the_old_key_and_is_tried_until_it_succeeds(hooked):
    hooked.hooks.failing = {"tell"}
    outcome = rotate(hooked)
    assert (outcome.result, outcome.problems) == (Result.FAILED, ("hook tell: ended with 1",))
    hooked.look_until_quiet(2 * DAY)
    assert hooked.old in alive(hooked)
    assert [hook for hook, _ in hooked.hooks.told] == ["reload"]
    assert len(hooked.hooks.tried) > 48, "once an hour at least"

    hooked.hooks.failing = set()
    told_at = hooked.clock.now()
    hooked.look()
    assert hooked.old in alive(hooked), "who has just learnt of the new key gets some time"
    hooked.look_until_quiet(POLICY.quiet + HOUR)
    assert hooked.old not in alive(hooked)
    assert hooked.clock.now() >= told_at + POLICY.quiet
    assert current(hooked).hooks_due == ()


def test_the_old_key_does_not_end_by_itself_while_a_hook_fails(hooked):
    hooked.hooks.failing = {"tell"}
    rotate(hooked)
    (facts,) = [facts for facts in hooked.provider.list_keys(POLICY.project) if facts.key_id == hooked.old]
    before = facts.expires_at
    hooked.hooks.failing = set()
    hooked.look()
    (facts,) = [facts for facts in hooked.provider.list_keys(POLICY.project) if facts.key_id == hooked.old]
    assert before is None
    assert facts.expires_at is not None


def test_a_key_that_has_leaked_waits_for_no_hook_though_each_is_tried_first(hooked):
    hooked.hooks.failing = {"reload", "tell"}
    outcome = rotate(hooked, compromised=True)
    assert hooked.old not in alive(hooked)
    assert hooked.hooks.tried == ["reload", "tell"]
    assert outcome.problems == ("hook reload: ended with 1", "hook tell: ended with 1")


def test_a_hook_whose_record_was_lost_in_a_crash_runs_again(hooked):
    class Died(BaseException):
        pass

    def die(*_):
        raise Died

    whole = hooked.journal.append
    hooked.journal.append = lambda lease, events, now: (
        die() if any(isinstance(event, ev.HookRan) for event in events) else whole(lease, events, now)
    )
    with pytest.raises(Died):
        rotate(hooked)
    hooked.journal.close()
    hooked.restart()
    hooked.look()
    assert [hook for hook, _ in hooked.hooks.told] == ["reload", "reload", "tell"]


def test_a_service_that_shuts_down_runs_no_hook_and_its_next_start_does(hooked):
    hooked.hooks.failing = {"reload", "tell"}
    rotate(hooked)
    hooked.hooks.failing = set()
    hooked.clock.stopping = True
    assert hooked.look().result is Result.STOPPED
    assert hooked.hooks.told == []
    hooked.clock.stopping = False
    hooked.look()
    assert len(hooked.hooks.told) == 2


def test_a_hook_that_the_policy_does_not_name_any_more_holds_nothing_back(hooked):
    hooked.hooks.failing = {"tell"}
    rotate(hooked)
    hooked.policy = hooked.policies[0] = replace(hooked.policy, hooks=())
    hooked.look_until_quiet(2 * DAY)
    assert hooked.old not in alive(hooked)


def test_a_trial_runs_every_hook_of_every_policy_and_says_how_each_did(stage):
    stage.hooks.failing = {"tell"}
    policies = [replace(POLICY, hooks=("reload", "tell")), replace(POLICY, name="batch", hooks=("reload",))]
    assert list(tried(policies, stage.hooks, stage.clock)) == [
        Trial(policy="chat", hook="reload", problem=""),
        Trial(policy="chat", hook="tell", problem="hook tell: ended with 1"),
        Trial(policy="batch", hook="reload", problem=""),
    ]
    assert all(news.test and news.key_id == "test" for _, news in stage.hooks.told)
    assert stage.clock.now() == NOW
