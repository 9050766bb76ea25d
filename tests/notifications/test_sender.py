"""At least once, and not twice without need: a sender on a real journal, with a clock that is driven."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain import events as ev
from rotator.domain.channel import Rules
from rotator.domain.notices import Kind, Level
from rotator.domain.record import PolicyRecord
from rotator.domain.standing import Standing
from rotator.errors import SendFailed
from rotator.ports import Look
from rotator.ports_notify import Message
from rotator.service.notify import Sender
from tests.domain.build import DAY, HOUR, MINUTE, NOW, POLICY, key
from tests.parts.journals import new_journal

RULES = Rules(
    name="ops", events=frozenset(map(str, Kind)), policies=("*",), level=Level.INFO, per_hour=20, failed_after=3
)
SECOND = timedelta(seconds=1)


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def sleep(self, duration: timedelta) -> None:
        raise NotImplementedError


@dataclass
class Place:
    """Where messages arrive.

    ``down``: what it says instead of taking them; ``poison``: it takes none with this text; ``crashes``: the sender
    dies after one; ``loses``: its answer is lost; ``breaks``: its library raises what nobody foresaw.
    """

    got: list[Message] = field(default_factory=list)
    tries: int = 0
    down: str = ""
    poison: str = ""
    crashes: bool = False
    loses: bool = False
    breaks: bool = False

    def send(self, message: Message, now: datetime) -> None:
        self.tries += 1
        if self.breaks:
            raise UnicodeError("https://hooks.example/T0KEN")
        if self.down:
            raise SendFailed(self.down)
        if self.poison and self.poison in message.body:
            raise SendFailed("it was answered with 400")
        self.got.append(message)
        if self.crashes:
            raise KeyboardInterrupt
        if self.loses:
            raise SendFailed("no answer within 20s")

    def told(self) -> list[tuple[str, object]]:
        return [(message.kind, message.fields["policy"]) for message in self.got]


class Desk:
    """A journal, a clock, a place, and the senders of as many processes as are wanted."""

    def __init__(self, path: Path) -> None:
        new_journal(path)
        self.journal = SqlJournal.open(f"sqlite:///{path}", is_dead=lambda holder: holder == "dead")
        self.clock, self.place = Clock(), Place()
        self.counted: list[str] = []

    def sender(self, holder: str = "me", **rules: object) -> Sender:
        made = Sender(
            rules=replace(RULES, **rules),
            make=lambda: self.place,
            outbox=self.journal.outbox(),
            journal=self.journal,
            clock=self.clock,
            policies={"chat": POLICY, "batch": replace(POLICY, name="batch")},
            instance="prod",
            holder=holder,
            clean=lambda text: text.replace("tgp_v1_x", "[redacted]"),
            count=lambda _channel, result: self.counted.append(result),
        )
        made.outbox.begin(made.rules.name)
        return made

    def adopt(self, policy: str = "chat", name: str = "a") -> None:
        lease = self.journal.acquire(policy, "looker", self.clock.now(), HOUR)
        adopted = ev.KeyAdopted(key=key(name), grace_until=NOW + 9 * DAY, grace_limit=NOW + 9 * DAY)
        self.journal.append(lease, [adopted], self.clock.now())
        self.journal.release(lease)

    def leaks(self, reason: str) -> None:
        self.journal.request("chat", ev.RotationRequested(reason=reason, compromised=True), self.clock.now())

    def look(self, policy: str = "chat", **changes: object) -> None:
        lease = self.journal.acquire(policy, "looker", self.clock.now(), HOUR)
        look = replace(Look(next_at=self.clock.now() + 6 * HOUR, digest="d1"), **changes)
        self.journal.note_look(lease, look, [], known=self.journal.load(policy), now=self.clock.now())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "state.db")
    yield made
    made.journal.close()


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
