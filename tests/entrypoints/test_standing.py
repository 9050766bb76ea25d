"""In which state a policy is called, and how the lives of its keys are drawn."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain import policy_checks
from rotator.domain.conditions import NEEDS
from rotator.domain.model import Assistance
from rotator.domain.record import PersonRequest, Phase
from rotator.entrypoints.http.overview import distance
from rotator.entrypoints.http.timeline import MOST, timeline
from rotator.entrypoints.standing import _ADVICE, CHAIN, standings
from rotator.ports import Look
from tests.domain.build import DAY, HOUR, MINUTE, NOW, POLICY, key, record, retiring, rotation
from tests.pages.sample import one_of_each, row

SAID = {
    "failing": ("problem", "Failed 4 times in a row: DestinationUnreadable: vault:secret/chat#KEY: 403 permission "),
    "over": ("problem", "Its key ended at 2026-11-23T11:00:00Z, and has no successor."),
    "ending": ("problem", "Its key ends at 2026-11-25T12:00:00Z, and has no successor yet."),
    "stuck": ("problem", "Its rotation began at 2026-11-23T11:00:00Z and is not over: published to 1 of 2."),
    "late": ("problem", "It was due at 2026-11-23T11:00:00Z, and was not looked at."),
    "held": ("hold", "On hold until 2026-11-24T12:00:00Z: a freeze "),
    "flying": ("rotating", "Being replaced: published to 1 of 2. TooOld: made 24 days ago"),
    "due": ("due", "To be replaced since 2026-11-22T12:00:00Z."),
    "grace": ("grace", "The old key stays valid until 2026-11-24T08:00:00Z at least."),
    "refusal": ("grace", "An old key is being cleared away."),
    "unseen": ("new", "It was not looked at yet."),
    "endless": ("fine", "Nothing is due."),
    "fine": ("fine", "Nothing is due."),
}


def test_each_policy_has_the_state_that_its_people_would_name() -> None:
    found = {one.case.policy.name: one for one in standings(one_of_each().values(), NOW)}
    assert found.keys() == SAID.keys()
    for name, (state, what) in SAID.items():
        assert (found[name].state, found[name].what[: len(what)]) == (state, what)
    assert all(one.advice for one in found.values() if one.state in {"problem", "hold", "due"})


def test_orders_of_an_operator_and_hooks_are_told() -> None:
    rows = [
        row("asked", key("a"), requested="a leak"),
        row("hooks", key("a", hooks_due=("restart", "gone")), policy=replace(POLICY, hooks=("restart",))),
        row("by hand", key("a"), rotations=(rotation(Phase.AWAITING),)),
        row("hold over", key("a"), hold="a freeze", hold_until=NOW),
    ]
    said = {one.case.policy.name: one.what for one in standings(rows, NOW)}
    assert said == {
        "asked": "A new key was asked for: a leak",
        "hooks": "Hooks still to run: restart.",
        "by hand": "A person is asked to make its new key, since 2026-11-23T11:00:00Z: TooOld",
        "hold over": "Nothing is due.",
    }


def test_a_key_that_ends_is_no_problem_while_a_person_who_was_asked_in_time_has_time() -> None:
    request = PersonRequest(opened_at=NOW - 5 * DAY, deadline=NOW + DAY, told_at=NOW)
    waits = rotation(Phase.AWAITING, request=request)
    policy = replace(POLICY, assistance=Assistance(console_url="", owners=(), escalate_before=12 * HOUR))
    ending = key("a", expires_at=NOW + 2 * DAY)
    rows = [
        row("asked", ending, rotations=(waits,), policy=policy),
        row("escalated", ending, rotations=(replace(waits, request=replace(request, urgent=True)),), policy=policy),
    ]
    assert [one.state for one in standings(rows, NOW)] == ["problem", "due"]


def test_what_the_last_look_saw_and_no_machine_mends_is_a_problem_and_an_old_key_in_use_has_advice() -> None:
    alerts = (("HeldSomewhere", "key_x lies in dotenv:/a"), ("TooOld", "made long ago"))
    seen = Look(next_at=NOW + HOUR, digest="", alerts=alerts)
    in_use = Look(next_at=NOW + HOUR, digest="", alerts=(("StillInUse", "key_old was used an hour ago"),))
    rows = [
        row("seen", key("a"), look=seen),
        row("seen, and held", key("a"), look=seen, hold="hands off"),
        row("used", key("a"), retiring("old"), look=in_use),
    ]
    said = {one.case.policy.name: one for one in standings(rows, NOW)}
    assert said["seen"].what == "A person is needed. HeldSomewhere: key_x lies in dotenv:/a."
    assert (said["seen"].state, said["seen"].advice) == ("problem", NEEDS["HeldSomewhere"].advice)
    assert said["seen, and held"].what == "On hold: hands off"
    assert (said["used"].state, said["used"].what) == (
        "grace",
        "The old key is still used: key_old was used an hour ago",
    )
    assert "grace_limit" in said["used"].advice


def test_what_is_wrong_comes_before_what_is_at_work() -> None:
    assert [check.__name__ for check in CHAIN[:7]] == [
        "failing",
        "key_is_over",
        "end_is_near",
        "needs_a_person",
        "stuck_half_way",
        "not_looked_at",
        "on_hold",
    ]


def test_there_is_advice_only_for_checks_that_exist() -> None:
    source = inspect.getsource(policy_checks)
    assert all(f'check="{name}"' in source for name in _ADVICE)


@pytest.mark.parametrize("name", sorted(one_of_each()))
def test_every_line_of_time_stays_between_its_ends_and_no_part_lies_on_another(name: str) -> None:
    policy, known, _ = one_of_each()[name]
    line = timeline(policy, known, NOW)
    if not known.keys:
        assert line is None
        return
    assert line is not None
    assert 0 <= line.now <= 100
    for lane in line.lanes:
        at = 0.0
        for bar in lane.bars:
            assert at - 0.02 <= bar.x <= bar.x + bar.width <= 100.02
            at = bar.x + bar.width
        assert all(mark is None or 0 <= mark <= 100 for mark in (lane.renewal, lane.end))


def test_the_parts_of_a_life_have_their_true_lengths() -> None:
    old = retiring("old", created_at=NOW - 29 * DAY, grace_until=NOW + 2 * DAY, expires_at=NOW + 4 * DAY)
    new = key("new", created_at=NOW - DAY, expires_at=NOW + 29 * DAY)
    line = timeline(POLICY, record(old, new), NOW)
    assert line is not None
    assert line.now == 50
    first, second = line.lanes
    assert [(bar.kind, round(bar.width * 0.58)) for bar in first.bars] == [("age", 1), ("left", 22), ("renewal", 7)]
    assert [(bar.kind, round(bar.width * 0.58)) for bar in second.bars] == [("age", 29), ("grace", 2), ("tail", 2)]
    assert (round((first.renewal or 0) * 0.58), first.end) == (51, 100)


def test_odd_lives_are_drawn_all_the_same() -> None:
    for odd in (
        [key("now", created_at=NOW, since=NOW, expires_at=NOW)],
        [key("future", created_at=NOW + DAY, expires_at=NOW + 2 * DAY)],
        [key("past", created_at=NOW - DAY, expires_at=NOW - 2 * DAY)],
        [key(str(number)) for number in range(2 * MOST)],
    ):
        line = timeline(POLICY, record(*odd), NOW)
        assert line is not None
        assert 1 <= len(line.lanes) <= MOST


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (timedelta(0), "now"), (timedelta(milliseconds=300), "now"), (timedelta(seconds=9), "in 9 s"),
        (-MINUTE, "1 min ago"), (HOUR + MINUTE, "in 1 h 1 min"), (-30 * DAY - 5 * HOUR, "30 d 5 h ago"),
        (DAY, "in 1 d"), (DAY + MINUTE, "in 1 d"),
    ],
)  # fmt: skip
def test_how_far_a_moment_is_away_is_told_in_two_units(by: timedelta, said: str) -> None:
    assert distance(NOW + by, NOW) == said
