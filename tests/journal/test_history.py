"""The chain of events, on SQLite and on PostgreSQL: what was done to it shows, and pruning does not break it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command

from rotator.adapters.journal import history as adapter
from rotator.domain import events as ev
from rotator.domain.chain import OWN, Head
from rotator.domain.record import KeyState, Phase
from rotator.domain.verify import Anchor, Verification
from rotator.errors import LeaseLost
from rotator.ports import Look
from rotator.service.upkeep import Upkeep
from tests.domain.build import DAY, HOUR, NOW, key, rotation

TTL = timedelta(minutes=5)


def fill(journal, name="chat", holds=6, at=NOW):
    lease = journal.acquire(name, "me", at, TTL)
    for number in range(holds):
        journal.append(lease, [ev.Held(reason=f"{name} {number}")], at)
    journal.append(lease, [ev.Held(reason="")], at)
    journal.release(lease)


def judge(journal, anchors=()):
    verification = Verification(anchors)
    with journal.history.at_one_moment() as chains:
        for chain in sorted(chains.names()):
            verification.feed(chains.entries(chain))
        return verification.report(chains.remembered())


@pytest.fixture
def sealed(journal):
    """Two policies, sealed; and then some more events."""
    fill(journal)
    fill(journal, "batch")
    journal.history.seal(NOW, HOUR)
    fill(journal, holds=2)
    return journal


def test_each_event_says_who_recorded_it_and_follows_the_one_before(store):
    journal = store.open()
    journal._who = "service@here"
    fill(journal, holds=3)
    entries = journal.history.entries("chat", 0, 100)
    assert [entry.number for entry in entries] == [1, 2, 3, 4]
    assert {entry.who for entry in entries} == {"service@here"}
    assert [entry.previous for entry in entries] == ["", *(entry.hash for entry in entries[:-1])]
    assert all(entry.digest() == entry.hash for entry in entries)
    assert journal.history.heads() == {"chat": entries[-1].head}


def test_a_history_that_nobody_touched_is_whole(sealed):
    report = judge(sealed)
    assert (report.faults, report.chains, report.events, report.seals) == ([], 2, 18, 1)
    assert report.notes == ["events that no seal names: 3; a cut among these can stay unseen"]


def test_what_is_done_to_the_tables_shows(sealed, store):
    store.rows("UPDATE event SET who = 'operator eve' WHERE policy = 'chat' AND number = 3")
    (fault,) = judge(sealed).faults
    assert fault.startswith("chat: event 3 of 2026-11-23T12:00:00.000000+00:00 was changed")
    store.rows("DELETE FROM event WHERE policy = 'batch'")
    store.rows("DELETE FROM policy_state WHERE policy = 'batch'")
    assert judge(sealed).faults[1].startswith("batch: it is cut: it ends with event 0, and the seal of")


def test_a_history_that_was_written_anew_as_a_whole_shows_by_its_anchors_alone(journal, store):
    fill(journal)
    anchor = Anchor(at="yesterday", head=journal.history.seal(NOW, HOUR))
    assert judge(journal, [anchor]).faults == []
    store.rows("DELETE FROM event")
    store.rows("DELETE FROM policy_state")
    store.rows("UPDATE journal_chain SET length = 0, head = '', sealed_at = ''")
    fill(journal, holds=5)
    journal.history.seal(NOW, HOUR)
    assert judge(journal).faults == []
    assert "is not the one that the anchor of yesterday names" in judge(journal, [anchor]).faults[0]


def test_an_event_below_the_first_shows_in_whatever_chain(sealed, store):
    for policy, number in (("chat", -1), ("ghost", 0)):
        store.rows(
            "INSERT INTO event (at, policy, token, kind, body, who, number, previous, hash) "  # noqa: S608 - ours
            f"VALUES ('2026', '{policy}', 0, 'Held', '{{}}', 'operator eve', {number}, '', '')"
        )
    assert judge(sealed).faults == [
        "chat: an event of 2026 has a number that none can have: -1",
        "ghost: an event of 2026 has a number that none can have: 0",
    ]


@pytest.mark.parametrize("row", ["is emptied", "is gone"])
def test_seals_that_were_taken_out_show(sealed, store, row):
    store.rows("DELETE FROM event WHERE policy = ''")
    change = {"is emptied": "UPDATE journal_chain SET length = 0, head = ''", "is gone": "DELETE FROM journal_chain"}
    store.rows(change[row])
    report = judge(sealed)
    gone = ["the journal's own chain: the place of its head is gone, so that nothing is sealed any more"]
    assert report.faults == [
        "batch: the seal that names its event 7 is missing",
        "chat: the seal that names its event 7 is missing",
        *(gone if row == "is gone" else []),
    ]
    assert report.notes == ["events that no seal names: 17; a cut among these can stay unseen"]


def test_what_others_add_and_prune_while_it_is_read_is_not_looked_at(journal, store):
    fill(journal, holds=1200)  # more than is fetched at a time
    fill(journal, "batch")
    journal.history.seal(NOW, HOUR)
    verification, other = Verification(), store.open()
    with journal.history.at_one_moment() as chains:
        verification.feed(chains.entries(OWN))
        entries = chains.entries("chat")
        verification.feed([next(entries)])
        assert other.history.prune("chat", NOW + DAY, NOW + 20 * DAY) == 500
        fill(other, "new")
        fill(other, "batch")
        other.history.seal(NOW + DAY, HOUR)
        verification.feed(entries)
        verification.feed(chains.entries("batch"))
        assert sorted(chains.names()) == ["", "batch", "chat"]
        report = verification.report(chains.remembered())
    assert (report.faults, report.events) == ([], 1 + 1201 + 7)
    assert judge(journal).faults == []


def test_a_seal_is_written_once_in_an_interval_by_whomever_and_only_for_what_grew(journal, store):
    fill(journal)
    other = store.open()
    first = journal.history.seal(NOW, HOUR)
    assert (first.number, other.history.seal(NOW + HOUR / 2, HOUR)) == (1, None)
    assert other.history.seal(NOW + HOUR, HOUR) == first, "nothing grew: the same head, once more"
    fill(other, "batch")
    assert journal.history.seal(NOW + 2 * HOUR, HOUR).number == 2
    assert [list(entry.fields()["heads"]) for entry in journal.history.entries(OWN, 0, 9)] == [["chat"], ["batch"]]
    assert journal.history.seal(NOW - DAY, HOUR).number == 2, "a clock that stepped back stops no seal"


def test_many_write_at_once_and_their_chains_are_whole(journal, store):
    other = store.open()

    def work(number):
        mine = (journal, other)[number % 2]
        lease = mine.acquire(f"policy {number}", "me", NOW, TTL)
        for count in range(5):
            mine.append(lease, [ev.Held(reason=f"{number}/{count}")], NOW)
            (other, journal)[number % 2].request(f"policy {number}", ev.Held(reason="by hand"), NOW)
            mine.history.seal(NOW + HOUR * (number + 6 * count), HOUR)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    report = judge(journal)
    assert (report.faults, report.chains) == ([], 6)
    assert report.seals > 5


def test_a_former_holder_adds_nothing_to_a_chain(journal):
    late = journal.acquire("chat", "me", NOW, TTL)
    fill(journal, at=NOW + DAY)
    before = journal.history.heads()
    with pytest.raises(LeaseLost):
        journal.append(late, [ev.Held(reason="late")], NOW)
    assert journal.history.heads() == before


def test_trouble_is_recorded_when_it_begins_and_when_it_ends(journal):
    for failures, problem in ((1, "vault is sealed"), (2, "vault is sealed"), (0, ""), (0, "")):
        lease = journal.acquire("chat", "me", NOW, TTL)
        look = Look(next_at=NOW, digest="d", failures=failures, problem=problem)
        journal.note_look(lease, look, [], known=journal.taken(lease), now=NOW)
    told = [(entry.kind, entry.fields(), entry.token) for entry in journal.history.entries("chat", 0, 9)]
    assert told == [("TroubleBegan", {"why": "vault is sealed"}, 1), ("TroubleEnded", {"failures": 2}, 3)]


def test_a_policy_is_shown_in_the_order_of_its_chain_wherever_its_rows_were_moved(journal, store):
    for name in ("chat", "batch", "chat"):
        fill(journal, name, holds=2)
    shown = [(entry.policy, entry.number) for entry in journal.history.newest(None, 9)]
    assert [policy for policy, _ in shown] == ["chat"] * 3 + ["batch"] * 3 + ["chat"] * 3
    assert [number for _, number in shown] == [1, 2, 3, 1, 2, 3, 4, 5, 6]
    store.rows("UPDATE event SET seq = 1000 WHERE policy = 'chat' AND number = 2")
    assert [entry.number for entry in journal.history.newest("chat", 9)] == [1, 2, 3, 4, 5, 6]
    assert [entry.number for entry in journal.history.newest("chat", 2)] == [5, 6]
    everybody = journal.history.newest(None, 9)
    assert [entry.number for entry in everybody if entry.policy == "chat"] == [1, 2, 3, 4, 5, 6]


# --- pruning ---------------------------------------------------------------------------------------------------------


def upkeep(journal, *places):
    return Upkeep(history=journal.history, instance="prod", places=places, every=HOUR, retention=10 * DAY)


def test_what_is_older_than_it_is_kept_is_pruned_and_the_chain_says_so(journal):
    fill(journal, holds=30)
    fill(journal, "quiet", holds=3)
    upkeep(journal).run(NOW)
    fill(journal, holds=4, at=NOW + 20 * DAY)
    upkeep(journal).run(NOW + 20 * DAY)
    entries = journal.history.entries("chat", 0, 99)
    assert [entry.number for entry in entries] == [*range(32, 37), 37]
    gone = entries[-1].fields()
    assert entries[-1].kind == "Pruned"
    assert (gone["first"], gone["last"], Head(31, gone["hash"])) == (1, 31, Head(31, entries[0].previous))
    report = judge(journal)
    assert report.faults == []
    assert "chat: events 1 to 31 were pruned" in report.notes[0]
    assert len(journal.history.entries("quiet", 0, 99)) == 4, "a pruning is an event itself: a few are not worth it"


def test_a_pruned_chain_is_pruned_again_and_a_false_pruning_shows(journal, store):
    for days in (0, 20, 40):
        fill(journal, holds=30, at=NOW + days * DAY)
        upkeep(journal).run(NOW + days * DAY)
    assert next(entry.number for entry in journal.history.entries("chat", 0, 99)) == 64
    assert judge(journal).faults == []
    store.rows("DELETE FROM event WHERE policy = 'chat' AND number < 70")
    assert "chat: events 1 to 69 are missing, and no pruning says so" in judge(journal).faults


def test_a_holder_at_work_goes_on_after_a_pruning(journal):
    fill(journal, holds=30)
    lease = journal.acquire("chat", "me", NOW + 20 * DAY, TTL)
    assert journal.history.prune("chat", NOW + 10 * DAY, NOW + 20 * DAY) == 31
    journal.append(lease, [ev.Held(reason="x")], NOW + 20 * DAY)
    assert judge(journal).faults == []


@pytest.mark.parametrize("wanted", ["a live key", "an open rotation", "a hold", "a message"])
def test_what_is_still_needed_is_never_pruned(journal, store, wanted):
    fill(journal, holds=24)
    lease = journal.acquire("chat", "me", NOW, TTL)
    begun = ev.RotationIntended(rotation=rotation(Phase.INTENDED))
    issued = ev.KeyIssued(rotation_id="r1", key=key("new", KeyState.CANDIDATE, rotation_id="r1"))
    dropped = ev.RotationAbandoned(rotation_id="r1", why="x", revoke_after=NOW)
    needed = {
        "a live key": [begun, issued, dropped],
        "an open rotation": [begun],
        "a hold": [ev.Held(reason="incident")],
        "a message": [ev.Held(reason="")],
    }
    journal.append(lease, needed[wanted], NOW)
    journal.append(lease, [ev.RotationRequested(reason=f"{number}") for number in range(30)], NOW)
    place = 25 if wanted == "a message" else 99
    for name, cursor in (("ops", place), ("gone", 0)):
        store.rows(f"INSERT INTO channel (name, cursor, state) VALUES ('{name}', {cursor}, '')")  # noqa: S608 - ours
    before = journal.load("chat")
    assert journal.history.prune("chat", NOW + DAY, NOW + 20 * DAY, ["ops"]) == (0 if wanted == "a hold" else 25)
    assert journal.load("chat") == before
    assert judge(journal).faults == []


def test_a_hold_that_has_ended_by_its_time_keeps_nothing_from_being_pruned(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    journal.append(lease, [ev.Held(reason="holiday", until=NOW + HOUR)] * 24, NOW)
    journal.append(lease, [ev.RotationRequested(reason=f"{number}") for number in range(30)], NOW)
    assert journal.history.prune("chat", NOW + DAY, NOW + HOUR / 2) == 0
    assert journal.history.prune("chat", NOW + DAY, NOW + 20 * DAY) == 24
    assert judge(journal).faults == []


def test_one_pruning_is_short_and_the_upkeep_goes_on_until_it_is_done(journal, monkeypatch):
    monkeypatch.setattr(adapter, "MOST", 25)
    fill(journal, holds=79)
    assert journal.history.prune("chat", NOW + DAY, NOW + 20 * DAY) == 25
    upkeep(journal).run(NOW + 20 * DAY, most=1)
    assert len(journal.history.entries("chat", 0, 99)) == 80 + 2 - 50
    upkeep(journal).run(NOW + 20 * DAY)
    assert len(journal.history.entries("chat", 0, 99)) == 80 + 2 - 50, "once a day"
    upkeep(journal).run(NOW + 21 * DAY)
    assert len(journal.history.entries("chat", 0, 99)) == 80 + 3 - 75
    assert judge(journal).faults == []


def test_seals_are_pruned_behind_a_seal_of_everything(journal, store, monkeypatch):
    monkeypatch.setattr(adapter, "LEAST_SEALS", 3)
    fill(journal, "quiet")
    for hours in range(6):
        fill(journal, holds=1)
        journal.history.seal(NOW + hours * HOUR, HOUR)
    upkeep(journal).run(NOW + 11 * DAY)
    kinds = [entry.kind for entry in journal.history.entries(OWN, 0, 99)]
    assert kinds == ["Pruned", "Sealed"]
    assert judge(journal).faults == []
    store.rows("DELETE FROM event WHERE policy = 'quiet'")
    store.rows("DELETE FROM policy_state WHERE policy = 'quiet'")
    assert any("quiet: it is cut" in fault for fault in judge(journal).faults)


# --- what earlier versions wrote -------------------------------------------------------------------------------------


def test_events_of_a_version_without_a_chain_are_chained_as_they_are_found(store, monkeypatch):
    written = [
        ("2026-01-01T00:00:00.000000+00:00", "chat", 1, "Held", '{"reason": "früher", "until": null}'),
        ("2026-01-02T00:00:00.000000+00:00", "batch", 1, "Held", '{"reason":"x"}'),
        ("2026-01-02T00:00:00.000000+00:00", "chat", 1, "KeyVerified", '{"rotation_id":"r1","jitter":1e-7}'),
    ]
    _at_0003(store, written, monkeypatch)
    journal = store.open()
    entries = journal.history.entries("chat", 0, 9)
    assert [(entry.number, entry.kind, entry.who) for entry in entries] == [
        (1, "Held", ""),
        (2, "KeyVerified", ""),
        (3, "ChainBegun", "migration"),
    ]
    report = judge(journal)
    assert report.faults == []
    assert any(note.startswith("chat: events 1 to 2 are older than the chain") for note in report.notes)
    fill(journal)
    assert judge(journal).faults == []
    store.rows("UPDATE event SET token = 2 WHERE kind = 'KeyVerified'")
    assert "was changed" in judge(journal).faults[0]


def _at_0003(store, written, monkeypatch):
    """A journal as it was before the chain, with these events."""
    whole = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", lambda config, _head: whole(config, "0003"))
        store.open().close()
    for policy in ("chat", "batch"):
        store.rows(f"INSERT INTO policy_state (policy, state) VALUES ('{policy}', '{{\"policy\":\"{policy}\"}}')")  # noqa: S608 - ours
    for row in written:
        values = ", ".join(str(one) if type(one) is int else f"'{one}'" for one in row)
        store.rows(f"INSERT INTO event (at, policy, token, kind, body) VALUES ({values})")  # noqa: S608 - ours


def test_the_hash_of_an_event_is_that_of_the_published_format(journal):
    """docs/operations.md: anybody can compute it."""
    journal._who = "operator ada@host"
    journal.request("chat", ev.Held(reason="Überprüfung", by=""), NOW)
    (entry,) = journal.history.entries("chat", 0, 9)
    written = (Path(__file__).parent / "written" / "line.json").read_text().strip()
    assert entry.line() == written
