"""Consumers learn of a new key by hooks; one that did not succeed holds back the end of what the key replaced."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain import events as ev
from rotator.domain.actions import ForwardExpiry, Issue, Resume, Revoke, RollBack, RunHook
from rotator.domain.lifecycle import fold, fold_all
from rotator.domain.planner import plan
from rotator.domain.record import KeyState, Origin, Phase, Rollback
from rotator.domain.verdict import Decision
from tests.domain.build import DAY, HOUR, NOW, POLICY, facts, key, record, retiring, rotation, world

HOOKED = replace(POLICY, hooks=("reload", "tell"))
LISTED = (facts("new"), facts("old"))
SEEN = world("new", "new", listed=LISTED)
TOLD, UNTOLD = key("new"), key("new", hooks_due=("reload", "tell"))
GRACE = ev.GraceStarted(rotation_id="r1", grace_until=NOW + DAY, grace_limit=NOW + 2 * DAY, hooks=("reload", "tell"))
PUBLISHING = record(key("old"), key("new", KeyState.CANDIDATE), rotations=(rotation(Phase.PUBLISHING),))


def ran(hook, until=NOW):
    return ev.HookRan(key_id="key_new", hook=hook, grace_until=until)


def actions(policy, remembered, seen=SEEN):
    return plan(policy, seen.beside(remembered), NOW).actions


def kinds(policy, remembered, seen=SEEN):
    return [type(action) for action in actions(policy, remembered, seen)]


def test_the_new_key_has_the_hooks_of_its_policy_to_run_and_each_is_run_once():
    before = fold(GRACE, PUBLISHING)
    assert before.current.hooks_due == ("reload", "tell")
    assert fold(ran("reload"), before).current.hooks_due == ("tell",)
    assert fold_all(before, [ran("reload"), ran("tell"), ran("tell")]).current.hooks_due == ()


def test_what_was_due_of_a_replaced_key_is_due_of_its_replacement_alone():
    before = record(key("old", hooks_due=("old hook",)), *PUBLISHING.keys[1:], rotations=PUBLISHING.rotations)
    assert {one.key_id: one.hooks_due for one in fold(GRACE, before).keys} == {
        "key_old": (), "key_new": ("reload", "tell"),
    }  # fmt: skip


def test_a_key_that_was_put_back_has_the_hooks_to_run():
    begun = record(
        TOLD, retiring("old"), rotations=(rotation(Phase.GRACE),), rollback=Rollback(reason="x", key_id="key_old")
    )
    done = ev.RolledBack(key_id="key_old", grace_until=NOW, grace_limit=NOW, rest_until=NOW, hooks=("reload",))
    after = fold(done, begun)
    assert (after.current.key_id, after.current.hooks_due) == ("key_old", ("reload",))


def test_adoption_runs_no_hook():
    adopted = fold(ev.KeyAdopted(key=key("old", origin=Origin.ADOPTED), grace_until=NOW, grace_limit=NOW), record())
    assert adopted.current.hooks_due == ()


def test_each_hook_that_is_due_is_run_before_any_key_is_touched():
    leaked = record(UNTOLD, retiring("old", leaked=True))
    assert kinds(HOOKED, leaked) == [RunHook, RunHook, Revoke]


def test_what_consumers_wait_for_comes_before_a_hook():
    asked = record(UNTOLD, requested="leak", compromised=True)
    assert kinds(HOOKED, asked) == [Issue, RunHook, RunHook]


def test_promise_2_a_hook_that_did_not_succeed_keeps_the_old_key():
    (item,) = plan(HOOKED, SEEN.beside(record(UNTOLD, retiring("old"))), NOW).key_verdicts
    assert (item.verdict.check, item.verdict.decision, item.verdict.alert) == ("ConsumersNotTold", Decision.KEEP, True)
    assert item.verdict.reason == "key_old: its consumers were not told of the new key: reload, tell"


@pytest.mark.parametrize(
    ("policy", "remembered"),
    [
        (HOOKED, record(TOLD, retiring("old"))),
        (POLICY, record(UNTOLD, retiring("old"))),
        (replace(POLICY, hooks=("another",)), record(UNTOLD, retiring("old"))),
    ],
    ids=["every hook succeeded", "the policy has none any more", "the policy has another one since"],
)
def test_a_hook_that_is_not_due_holds_nothing_back(policy, remembered):
    assert kinds(policy, remembered) == [Revoke]


def test_a_hold_covers_hooks_too():
    assert kinds(HOOKED, record(UNTOLD, retiring("old"), hold="x")) == []


def test_an_old_key_gets_no_end_of_its_own_before_its_consumers_were_told():
    running = retiring("old", grace_until=NOW + HOUR, expiry_forwarded=False)
    assert kinds(HOOKED, record(UNTOLD, running)) == [RunHook, RunHook]
    assert kinds(HOOKED, record(TOLD, running)) == [ForwardExpiry]


def test_every_key_that_a_leak_replaces_waits_for_no_hook():
    answer = rotation(Phase.PUBLISHING, compromised=True)
    before = record(*PUBLISHING.keys, retiring("older"), rotations=(answer,))
    after = fold(replace(GRACE, grace_until=NOW, grace_limit=NOW), before)
    assert {one.key_id: one.leaked for one in after.keys} == {
        "key_old": True, "key_older": True, "key_new": False,
    }  # fmt: skip


def test_who_has_just_learnt_of_a_key_gets_a_quarter_of_the_grace_to_take_it():
    late = record(UNTOLD, retiring("old", grace_until=NOW - HOUR, grace_limit=NOW))
    told = fold_all(late, [ran("reload", NOW + 6 * HOUR), ran("tell", NOW + 6 * HOUR)])
    (old,) = told.in_state(KeyState.RETIRING)
    assert (old.grace_until, old.grace_limit) == (NOW + 6 * HOUR, NOW + 6 * HOUR)


def test_a_hook_that_succeeds_in_time_changes_no_grace():
    early = record(UNTOLD, retiring("old", grace_until=NOW + DAY))
    assert fold(ran("reload", NOW + 6 * HOUR), early).in_state(KeyState.RETIRING) == early.in_state(KeyState.RETIRING)


@pytest.mark.parametrize("how", [{"leaked": True}, {"condemned": True}])
def test_a_late_hook_gives_no_time_to_a_key_that_has_to_go(how):
    going = record(UNTOLD, retiring("old", **how))
    assert fold(ran("reload", NOW + DAY), going).in_state(KeyState.RETIRING) == going.in_state(KeyState.RETIRING)


def test_the_plan_of_a_rotation_names_the_hooks_that_follow():
    due = record(key("new", expires_at=NOW + timedelta(days=1)))
    (issue,) = [action for action in actions(HOOKED, due) if isinstance(action, Issue)]
    half = world("new", "old", listed=LISTED)
    unfinished = record(key("old"), key("new", KeyState.CANDIDATE), rotations=(rotation(Phase.PUBLISHING),))
    (resume,) = [action for action in actions(HOOKED, unfinished, half) if isinstance(action, Resume)]
    taken_back = record(
        key("new", rotation_id="r1"),
        retiring("old", grace_until=NOW + HOUR),
        rotations=(rotation(Phase.GRACE),),
        rollback=Rollback(reason="x"),
    )
    (back,) = [action for action in actions(HOOKED, taken_back) if isinstance(action, RollBack)]
    assert issue.hooks == resume.hooks == back.hooks == ("reload", "tell")
