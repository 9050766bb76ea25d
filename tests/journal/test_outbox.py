"""What notifications remember, on SQLite and on PostgreSQL: no event is passed over, one process at a time sends."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain import events as ev
from rotator.domain.channel import ChannelState
from rotator.domain.notices import Kind, Level
from rotator.domain.standing import Standing
from rotator.ports import Look
from tests.domain.build import DAY, HOUR, NOW

TTL = timedelta(minutes=3)
STANDING = Standing(
    policy="chat", kind=Kind.FAILED, since=NOW, told=2, repeats=1, level=Level.WARNING, next_at=NOW + HOUR,
    what="sealed", key_ids=("key_a",),
)  # fmt: skip
STATE = ChannelState(
    cursor=3, failures=2, failing_since=NOW, retry_at=NOW + HOUR, problem="503", window_from=NOW, sent=1, critical=1,
    left_out={"rotated": 3}, left_policies=("chat",), left_since=NOW,
)  # fmt: skip


def happens(journal, times=1):
    for number in range(times):
        journal.request("chat", ev.Held(reason=f"incident {number}"), NOW)


def test_a_channel_begins_at_the_newest_event_and_is_told_those_after_it(journal):
    happens(journal, 2)
    outbox = journal.outbox()
    begun = outbox.begin("ops")
    assert outbox.entries(begun.cursor, 10) == []
    happens(journal, 3)
    assert outbox.begin("ops") == begun, "it begins once"
    entries = outbox.entries(begun.cursor, 2)
    assert [(one.kind, one.policy, one.at, one.body["reason"]) for one in entries] == [
        ("Held", "chat", NOW, "incident 0"),
        ("Held", "chat", NOW, "incident 1"),
    ]
    assert [one.body["reason"] for one in outbox.entries(entries[-1].seq, 2)] == ["incident 2"]


def test_what_was_saved_is_there_after_a_restart(journal, store):
    outbox = journal.outbox()
    outbox.begin("ops")
    assert outbox.claim("ops", "me", NOW, TTL) is not None
    told = {("chat", "failed"): STANDING, ("chat", "ending"): STANDING}
    assert outbox.save("ops", "me", STATE, told=told, over=[], until=NOW + TTL)
    changed = {("chat", "failed"): replace(STANDING, told=3)}
    assert outbox.save("ops", "me", STATE, told=changed, over=[("chat", "ending")], until=None)
    journal.close()
    again = store.open().outbox()
    assert again.channels() == {"ops": STATE}
    assert again.told("ops") == changed
    assert again.told("another") == {}


def test_one_holder_at_a_time_has_a_channel_until_it_gives_it_back_dies_or_is_silent(journal):
    outbox = journal.outbox()
    assert outbox.claim("ops", "me", NOW, TTL) is None, "nobody began it"
    outbox.begin("ops")
    outbox.begin("pager")
    assert outbox.claim("ops", "me", NOW, TTL) is not None
    assert outbox.claim("ops", "other", NOW + TTL / 2, TTL) is None
    assert outbox.claim("pager", "other", NOW, TTL) is not None
    assert outbox.claim("ops", "other", NOW + TTL, TTL) is not None, "silent for too long"
    assert not outbox.save("ops", "me", STATE, told={("chat", "failed"): STANDING}, over=[], until=None)
    assert (outbox.begin("ops").failures, outbox.told("ops")) == (0, {})
    assert outbox.claim("ops", "me", NOW - DAY, TTL) is not None, "taken by a clock ahead"
    assert outbox.save("ops", "me", STATE, told={}, over=[], until=None)
    assert outbox.claim("ops", "dead", NOW, TTL) == STATE
    assert outbox.claim("ops", "other", NOW, TTL) is not None, "its holder is known to be dead"


def test_the_alerts_of_a_look_are_kept_with_it(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    alerts = (("WrongDestination", 'vault:a is in namespace "b"'),)
    look = Look(next_at=NOW, digest="d", failures=1, problem="wrong", alerts=alerts)
    journal.note_look(lease, look, [], known=journal.load("chat"), now=NOW)
    assert journal.look("chat").alerts == alerts
    assert journal.looks()["chat"] == look


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_an_event_whose_number_was_given_before_and_which_is_committed_later_is_not_passed_over(
    postgres_store, database, ends
):
    journal = postgres_store.open()
    outbox = journal.outbox()
    after = outbox.begin("ops").cursor
    insert = "INSERT INTO event (at, policy, token, kind, body) VALUES (%s, 'slow', 0, 'Held', '{}')"
    with database.server.connect(database.name, database.role) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN")
        other.execute(insert, [NOW.isoformat()])
        happens(journal)  # of another host, and faster
        reading = pool.submit(outbox.entries, after, 10)
        assert not reading.done()
        other.execute(ends)
        policies = [one.policy for one in reading.result(timeout=30)]
    assert policies == (["slow", "chat"] if ends == "commit" else ["chat"])
