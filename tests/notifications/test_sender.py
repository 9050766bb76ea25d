"""At least once, and not twice without need: a sender on a real journal, with a clock that is driven."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain import events as ev
from rotator.domain.notices import Kind, Level
from rotator.domain.record import PolicyRecord
from rotator.domain.standing import Standing
from tests.domain.build import DAY, HOUR, MINUTE, NOW, POLICY
from tests.notifications.desk import Desk


def test_history_is_not_told_news_is_once_and_idle_rounds_write_nothing(desk: Desk) -> None:
    desk.adopt()
    sender = desk.sender()
    sender.round()
    assert desk.place.told() == []
    desk.adopt(name="b")
    desk.adopt("batch")
    sender.round()
    before = desk.journal.outbox().channels()
    sender.round()
    desk.sender("another process").round()
    assert desk.place.told() == [("adopted", "chat"), ("adopted", "batch")]
    assert desk.journal.outbox().channels() == before
    assert desk.counted == ["sent", "sent"]


def test_a_crash_between_a_message_and_its_record_sends_it_again_under_the_same_id(desk: Desk) -> None:
    dying = desk.sender("dead")
    desk.adopt()
    desk.adopt("batch")
    desk.place.crashes = True
    with pytest.raises(KeyboardInterrupt):
        dying.round()
    desk.place.crashes = False
    desk.sender("its successor").round()
    assert desk.place.told() == [("adopted", "chat"), ("adopted", "chat"), ("adopted", "batch")]
    first, again, other = (message.ident for message in desk.place.got)
    assert first == again != other


@pytest.mark.parametrize("crashes", [True, False])
def test_a_repeat_of_what_lasts_has_the_same_id(desk: Desk, *, crashes: bool) -> None:
    desk.look(failures=3, problem="sealed")
    desk.place.crashes, desk.place.loses = crashes, not crashes
    for number in range(2):
        sender = desk.sender("dead" if number == 0 else "its successor")
        with suppress(KeyboardInterrupt):
            sender.round()
        desk.clock.at += MINUTE
    first, again = desk.place.got
    assert (first.kind, first.ident) == ("failed", again.ident)


def test_a_clock_that_was_ahead_for_a_moment_mutes_nothing(desk: Desk) -> None:
    sender = desk.sender()
    for after in (400 * DAY, timedelta(0), HOUR):
        desk.clock.at = NOW + after
        desk.look(failures=3, problem="sealed")
        desk.look("batch", alerts=(("HeldSomewhere", "key_x is held at another place"),))  # has an hour's patience
        sender.round()
    assert [(message.kind, message.at) for message in desk.place.got] == [
        ("failed", NOW + 400 * DAY),
        ("failed", NOW),
        ("needs-person", NOW + HOUR),
    ]


def test_of_two_processes_on_one_journal_one_sends(desk: Desk) -> None:
    senders = [desk.sender(f"process {number}") for number in range(4)]
    for number in range(6):
        desk.adopt(name=f"k{number}")
        desk.look(failures=3, problem="sealed")
        threads = [threading.Thread(target=sender.round) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    senders[0].round()
    assert desk.place.told() == [("adopted", "chat"), ("failed", "chat")] + [("adopted", "chat")] * 5


def test_a_condition_is_told_when_it_begins_when_it_lasts_and_when_it_is_over(desk: Desk) -> None:
    sender = desk.sender(level=Level.WARNING)
    desk.look(failures=3, problem="vault is sealed")
    for _ in range(3):
        sender.round()
    assert desk.place.told() == [("failed", "chat")]
    desk.clock.at = NOW + 6 * HOUR
    desk.look(failures=9, problem="vault is sealed")
    desk.sender("after a restart").round()
    assert desk.place.got[-1].fields["what"] == (
        "It failed 9 times in a row: vault is sealed (since 2026-11-23T12:00:00Z)"
    )
    desk.look()
    sender.round()
    sender.round()
    assert desk.place.told() == [("failed", "chat"), ("failed", "chat"), ("recovered", "chat")]
    assert len({message.ident for message in desk.place.got}) == 3
    assert desk.journal.outbox().told("ops") == {}


def test_the_looks_that_a_service_missed_while_it_was_off_are_told_only_if_it_does_not_catch_up(desk: Desk) -> None:
    for policy in ("chat", "batch"):
        desk.look(policy)
    sender = desk.sender()
    desk.clock.at = NOW + DAY
    sender.round()
    desk.look("chat")
    for minutes in (1, 20):
        desk.clock.at = NOW + DAY + minutes * MINUTE
        sender.round()
    assert desk.place.told() == [("overdue", "batch")]


def test_a_hold_a_look_that_fails_otherwise_and_a_policy_that_goes_are_no_recovery(desk: Desk) -> None:
    sender = desk.sender()
    desk.look(alerts=(("WrongDestination", "not there"),), failures=1, problem="not there")
    sender.round()
    desk.look(failures=2, problem="sealed")
    sender.round()
    desk.journal.request("chat", ev.Held(reason="incident"), NOW)
    desk.look()
    sender.round()
    sender.policies = {}
    sender.round()
    assert desk.place.told() == [("needs-person", "chat")]
    desk.clock.at = NOW + 9 * DAY
    sender.round()
    assert desk.place.told() == [("needs-person", "chat")]
    assert desk.journal.outbox().told("ops") == {}


@pytest.mark.parametrize("differs", ["policies", "failed_after", "events"])
def test_two_processes_of_different_configurations_do_not_tell_each_others_conditions_again(
    desk: Desk, differs: str
) -> None:
    rules = {"failed_after": {"failed_after": 10}, "events": {"events": frozenset({"rotated"})}}.get(differs, {})
    first, other = desk.sender("first"), desk.sender("other", **rules)
    if differs == "policies":
        other.policies = {"batch": other.policies["batch"]}
    desk.look(failures=3, problem="sealed")
    for half_minutes in range(60):
        desk.clock.at = NOW + half_minutes * MINUTE / 2
        first.round()
        other.round()
    desk.look()
    first.round()
    other.round()
    assert desk.place.told() == [("failed", "chat"), ("recovered", "chat")]


def test_a_revocation_to_come_is_told_once_though_another_process_has_a_shorter_grace_and_again_when_it_moves(
    desk: Desk,
) -> None:
    first, other = desk.sender("first"), desk.sender("other")
    first.policies, other.policies = ({"chat": replace(POLICY, grace=grace)} for grace in (4 * DAY, 4 * HOUR))
    desk.adopt()
    desk.adopt(name="b")
    for hours in (8.5 * 24, 8.5 * 24 + 1, 8.5 * 24 + 2):
        desk.clock.at = NOW + hours * HOUR
        first.round()
        other.round()
    told = [one for one in desk.place.told() if one[0] == "about-to-revoke"]
    assert len(told) == 1
    lease = desk.journal.acquire("chat", "looker", desk.clock.now(), HOUR)
    extended = ev.GraceExtended(key_id="key_a", grace_until=NOW + 12 * DAY, why="used a moment ago")
    desk.journal.append(lease, [extended], desk.clock.now())
    for days in (9, 11.5, 13):
        desk.clock.at = NOW + days * DAY
        first.round()
    told = [one for one in desk.place.told() if one[0] == "about-to-revoke"]
    assert len(told) == 2


def test_what_was_told_of_a_policy_that_the_journal_does_not_know_is_forgotten(desk: Desk) -> None:
    sender, outbox = desk.sender(), desk.journal.outbox()
    state = outbox.claim("ops", "me", NOW, HOUR)
    gone = Standing(policy="gone", kind=Kind.FAILED, since=NOW, told=1, next_at=NOW + HOUR)
    assert state is not None
    outbox.save("ops", "me", state, told={("gone", "failed"): gone}, over=[], until=None)
    sender.round()
    assert outbox.told("ops") == {}


def test_what_lasts_too_long_goes_to_those_who_are_called_for_what_is_critical(desk: Desk) -> None:
    owned = replace(POLICY, notify=("team",), escalate=("ops",))
    sender = desk.sender(level=Level.CRITICAL)
    sender.policies = {"chat": owned}
    for hours in (0, 12, 24, 24.5):
        desk.clock.at = NOW + hours * HOUR
        desk.look(failures=3, problem="sealed")
        sender.round()
    desk.look()
    sender.round()
    assert [(message.kind, message.level) for message in desk.place.got] == [
        ("failed", "critical"),
        ("recovered", "info"),
    ]
    assert desk.place.got[0].title == "CRITICAL rotator prod: chat: failed"


def test_a_channel_that_wants_nothing_of_it_goes_on_and_remembers_how_far(desk: Desk) -> None:
    sender = desk.sender(events=frozenset({"compromised"}))
    desk.adopt()
    sender.round()
    newest = desk.journal.outbox().channels()["ops"].cursor
    assert desk.journal.outbox().entries(newest, 9) == []
    desk.journal.request("chat", ev.RotationRequested(reason="it leaked", compromised=True), NOW)
    sender.round()
    assert desk.place.told() == [("compromised", "chat")]
    assert desk.journal.load("chat") != PolicyRecord(policy="chat")


def test_a_message_has_nothing_that_looks_like_a_secret(desk: Desk) -> None:
    sender = desk.sender()
    desk.look(failures=3, problem="the answer was tgp_v1_x")
    sender.round()
    (message,) = desk.place.got
    assert "tgp_v1_x" not in repr(message)
    assert "[redacted]" in message.body
