"""A channel that is down, that refuses a message, or that can not take all: what is told, and what is only counted."""

from __future__ import annotations

from tests.domain.build import DAY, HOUR, MINUTE, NOW
from tests.notifications.desk import SECOND, Desk


def test_an_error_that_nobody_foresaw_is_a_failure_that_names_no_address_and_is_not_tried_at_once(desk: Desk) -> None:
    sender = desk.sender()
    desk.place.breaks = True
    desk.adopt()
    sender.round()
    sender.round()
    (state,) = desk.journal.outbox().channels().values()
    assert (desk.place.tries, state.failures, state.problem) == (1, 1, "unexpected UnicodeError")
    desk.place.breaks, desk.clock.at = False, NOW + MINUTE
    sender.round()
    assert desk.place.told() == [("adopted", "chat")]


def test_a_channel_that_is_down_keeps_its_messages_in_their_order_and_is_left_alone_meanwhile(desk: Desk) -> None:
    sender = desk.sender()
    desk.place.down = "it was answered with 503 tgp_v1_x"
    desk.adopt()
    sender.round()
    assert (sender.problem, desk.place.tries) == ("it was answered with 503 [redacted]", 1)
    desk.adopt("batch")
    sender.round()
    desk.sender("another process").round()
    assert desk.place.tries == 1
    desk.place.down, desk.clock.at = "", NOW + 31 * SECOND
    sender.round()
    assert desk.place.told() == [("adopted", "chat"), ("adopted", "batch")]
    assert (sender.problem, desk.counted) == ("", ["failed", "sent", "sent"])


def test_after_three_days_a_message_is_given_up_and_told_as_left_out(desk: Desk) -> None:
    sender = desk.sender()
    desk.place.down = "no answer"
    desk.adopt()
    sender.round(lasting=False)
    desk.clock.at = NOW + 3 * DAY + MINUTE
    sender.round(lasting=False)
    desk.place.down, desk.clock.at = "", NOW + 4 * DAY
    sender.round(lasting=False)
    assert [message.kind for message in desk.place.got] == ["digest"]
    assert "1 messages" in desk.place.got[0].body
    assert desk.counted == ["failed", "left_out", "failed", "sent"]


def test_after_an_outage_of_days_what_is_fresh_is_told_and_what_is_older_than_three_is_counted(desk: Desk) -> None:
    sender = desk.sender()
    desk.look(next_at=NOW + 99 * DAY)
    desk.place.down = "no answer"
    for hours in range(0, 240, 2):
        desk.clock.at = NOW + hours * HOUR
        if hours % 24 < 10:
            desk.leaks(f"leak {hours}")
        sender.round()
    desk.place.down, desk.clock.at = "", NOW + 10 * DAY
    desk.leaks("just now")
    sender.round()
    leaks = [message for message in desk.place.got if message.kind == "compromised"]
    assert "just now" in leaks[-1].body
    assert [message.at for message in leaks] == sorted(message.at for message in leaks)
    assert min(message.at for message in leaks) >= NOW + 7 * DAY
    digest = desk.place.got[-1]
    assert (digest.kind, digest.fields["what"]) == (
        "digest",
        "41 messages since 2026-11-26T14:00:00Z were left out (compromised 41); policies: chat.",
    )
    assert len(leaks) + 41 == 51, "each is told or counted"


def test_while_a_channel_is_down_for_long_its_cursor_goes_on_so_that_the_journal_can_be_pruned(desk: Desk) -> None:
    sender = desk.sender()
    desk.place.down = "no answer"
    for day in range(9):
        desk.clock.at = NOW + day * DAY
        desk.adopt(name=f"k{day}")
        sender.round(lasting=False)
    (state,) = desk.journal.outbox().channels().values()
    pending = desk.journal.outbox().entries(state.cursor, 99)
    assert [entry.at for entry in pending] == [NOW + day * DAY for day in (5, 6, 7, 8)]
    assert state.left_out == {"adopted": 5}


def test_a_backlog_leaves_half_of_the_hour_to_what_happens_now(desk: Desk) -> None:
    sender = desk.sender(per_hour=4)
    for number in range(9):
        desk.leaks(f"old {number}")
    desk.clock.at = NOW + 2 * HOUR
    sender.round(lasting=False)
    for number in range(3):
        desk.leaks(f"new {number}")
        sender.round(lasting=False)
    told = [str(message.fields["what"]).split("(")[1].split(")")[0] for message in desk.place.got]
    assert told == ["old 7", "old 8", "new 0", "new 1"]


def test_what_lasts_is_not_given_up_and_one_condition_that_is_not_taken_keeps_no_other_back(desk: Desk) -> None:
    sender = desk.sender()
    desk.look(failures=3, problem="poison")
    desk.look("batch", failures=3, problem="sealed")
    desk.place.poison = "poison"
    for hours in range(0, 192, 2):
        desk.clock.at = NOW + hours * HOUR
        for policy, problem in (("chat", "poison"), ("batch", "sealed")):
            desk.look(policy, failures=3, problem=problem)
        sender.round()
    assert desk.place.told()[0] == ("failed", "batch")
    assert desk.place.got[0].at == NOW + 4 * HOUR
    assert "left_out" not in desk.counted
    desk.place.poison = ""
    desk.clock.at += HOUR
    sender.round()
    assert ("failed", "chat") in desk.place.told()


def test_an_event_that_is_not_taken_keeps_back_nothing_that_lasts(desk: Desk) -> None:
    sender = desk.sender()
    desk.place.poison = "leaked"
    desk.leaks("in a public repository")
    desk.look("batch", failures=3, problem="sealed")
    for minutes in (0, 1):
        desk.clock.at = NOW + minutes * MINUTE
        sender.round()
    assert desk.place.told() == [("failed", "batch")]
    desk.place.poison, desk.clock.at = "", NOW + HOUR
    sender.round()
    assert desk.place.told() == [("failed", "batch"), ("compromised", "chat")]


def test_an_event_that_alone_is_refused_keeps_back_no_later_event_for_long(desk: Desk) -> None:
    sender = desk.sender()
    desk.place.poison = "leaked"
    desk.leaks("in a public repository")
    desk.adopt(name="before")
    for minutes in (0, 1):
        desk.clock.at = NOW + minutes * MINUTE
        sender.round(lasting=False)
        assert desk.place.told() == []
    desk.clock.at = NOW + 5 * MINUTE
    desk.adopt(name="after")
    sender.round(lasting=False)
    assert desk.place.told() == [("adopted", "chat")] * 2
    assert desk.counted == ["failed", "failed", "sent", "left_out", "sent"]
    desk.place.poison, desk.clock.at = "", NOW + 2 * HOUR
    sender.round(lasting=False)
    assert "were left out (compromised 1)" in str(desk.place.got[-1].fields["what"])
    assert len(desk.place.got) == 3


def test_a_channel_that_refuses_whatever_it_is_sent_loses_nothing(desk: Desk) -> None:
    sender = desk.sender()
    desk.place.poison = " "
    desk.leaks("in a public repository")
    desk.adopt()
    for hours in range(9):
        desk.clock.at = NOW + hours * HOUR
        sender.round(lasting=False)
    desk.place.poison, desk.clock.at = "", NOW + 10 * HOUR
    sender.round(lasting=False)
    assert desk.place.told() == [("compromised", "chat"), ("adopted", "chat")]
    assert "left_out" not in desk.counted


def test_an_event_that_is_refused_waits_for_another_one(desk: Desk) -> None:
    sender = desk.sender()
    desk.place.poison = "leaked"
    desk.leaks("in a public repository")
    for hours in range(5):
        desk.clock.at = NOW + hours * HOUR
        sender.round(lasting=False)
    assert "left_out" not in desk.counted
    desk.place.poison, desk.clock.at = "", NOW + 6 * HOUR
    sender.round(lasting=False)
    assert ("compromised", "chat") in desk.place.told()


def test_a_flood_is_cut_and_its_rest_is_told_as_a_number(desk: Desk) -> None:
    sender = desk.sender(per_hour=3)
    for number in range(9):
        desk.adopt(name=f"k{number}")
    sender.round(lasting=False)
    sender.round(lasting=False)
    assert len(desk.place.got) == 3
    desk.clock.at = NOW + HOUR
    sender.round(lasting=False)
    assert desk.place.got[-1].fields["what"] == (
        "6 messages since 2026-11-23T12:00:00Z were left out (adopted 6); policies: chat."
    )
    sender.round(lasting=False)
    assert len(desk.place.got) == 4
