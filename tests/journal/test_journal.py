"""The journal's contract, on SQLite and on PostgreSQL: durable, fenced, migrated; and read-only when asked for."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import OperationalError

from rotator.adapters.journal import tables
from rotator.domain import events as ev
from rotator.domain.record import KeyState, Phase
from rotator.errors import IllegalMove, JournalUnavailable, JournalUnusable, LeaseHeld, LeaseLost
from rotator.ports import Look, Observation, Work
from tests.domain.build import DAY, HOUR, NOW, VAULT, fingerprint, key, retiring, rotation

TTL = timedelta(minutes=5)
INTENDED = ev.RotationIntended(rotation=rotation(Phase.INTENDED))
ALL_EVENTS = [
    ev.KeyAdopted(key=key("old"), grace_until=NOW, grace_limit=NOW),
    INTENDED,
    ev.KeyIssued(rotation_id="r1", key=key("new", KeyState.CANDIDATE)),
    ev.KeyVerified(rotation_id="r1"),
    ev.DestinationRebased(rotation_id="r1", destination=VAULT.name, version="2"),
    ev.DestinationPublished(rotation_id="r1", destination=VAULT.name),
    ev.GraceStarted(rotation_id="r1", grace_until=NOW + DAY, grace_limit=NOW + 2 * DAY, hooks=("reload", "tell")),
    ev.HookRan(key_id="key_new", hook="reload", grace_until=NOW),
    ev.ExpiryForwarded(key_id="key_old", expires_at=NOW + 3 * DAY),
    ev.GraceExtended(key_id="key_old", grace_until=NOW + 2 * DAY, why="used"),
    ev.RevocationIntended(key_id="key_old", why="over"),
    ev.KeyRevoked(key_id="key_old", revoked_at=NOW),
    ev.OrphanFound(key=retiring("lost")),
    ev.Held(reason="incident"),
    ev.RotationRequested(reason="leak", compromised=True),
]


def end(journal, lease, look, *seen):
    journal.note_look(lease, look, seen, known=journal.load(lease.policy), now=NOW)


def test_what_was_appended_is_there_after_a_restart(journal, store):
    lease = journal.acquire("chat", "me", NOW, TTL)
    folded = journal.append(lease, ALL_EVENTS, NOW)
    journal.close()
    assert store.open().load("chat") == folded


def test_the_records_of_all_policies_come_at_once(journal):
    assert journal.records() == {}
    for name in ("chat", "batch"):
        journal.append(journal.acquire(name, "me", NOW, TTL), ALL_EVENTS, NOW)
    assert journal.records() == {name: journal.load(name) for name in ("chat", "batch")}


def test_every_event_can_be_written_and_leaves_a_row(journal, store):
    lease = journal.acquire("chat", "me", NOW, TTL)
    journal.append(lease, ALL_EVENTS, NOW)
    kinds = [kind for (kind,) in store.rows("SELECT kind FROM event ORDER BY seq")]
    assert kinds == [type(event).__name__ for event in ALL_EVENTS]


def test_an_illegal_move_changes_nothing(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    before = journal.append(lease, [INTENDED], NOW)
    with pytest.raises(IllegalMove):
        journal.append(lease, [ev.KeyIssued(rotation_id="r1", key=key("new")), INTENDED], NOW)
    assert journal.load("chat") == before


def test_promise_5_a_policy_has_one_holder_at_a_time(journal):
    journal.acquire("chat", "me", NOW, TTL)
    with pytest.raises(LeaseHeld):
        journal.acquire("chat", "other", NOW + TTL / 2, TTL)
    with pytest.raises(LeaseHeld):
        journal.acquire("chat", "me", NOW, TTL)


def test_promise_5_many_threads_race_for_a_lease_and_one_wins(journal):
    def take(number):
        try:
            return journal.acquire("chat", f"holder {number}", NOW, TTL)
        except LeaseHeld:
            return None

    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(take, range(24)) if lease]
    assert len(leases) == 1


@pytest.mark.parametrize("write", ["append", "note_look"])
def test_promise_5_a_holder_whose_lease_was_taken_over_can_not_write(journal, write):
    late = journal.acquire("chat", "me", NOW, TTL)
    journal.acquire("chat", "other", NOW + TTL + HOUR, TTL)
    writes = {
        "append": lambda: journal.append(late, [INTENDED], NOW),
        "note_look": lambda: end(journal, late, Look(next_at=NOW, digest="d")),
    }
    with pytest.raises(LeaseLost):
        writes[write]()
    assert journal.load("chat").rotations == ()


def test_a_lease_is_prolonged_by_every_append(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    journal.append(lease, [INTENDED], NOW + TTL * 0.9)
    with pytest.raises(LeaseHeld):
        journal.acquire("chat", "other", NOW + TTL * 1.5, TTL)


def test_a_released_lease_is_free_and_a_lost_one_is_released_without_harm(journal):
    first = journal.acquire("chat", "me", NOW, TTL)
    journal.release(first)
    second = journal.acquire("chat", "other", NOW, TTL)
    journal.release(first)
    journal.append(second, [INTENDED], NOW)
    assert second.token == first.token + 1


def test_the_lease_of_a_dead_process_is_taken_over_at_once(journal):
    journal.acquire("chat", "dead", NOW, TTL)
    assert journal.acquire("chat", "me", NOW, TTL).token == 2


def test_when_looks_ended_well_or_badly_and_who_is_at_work_is_kept_for_who_asks_later(journal):
    for at, failures in ((NOW, 0), (NOW + HOUR, 2), (NOW + 2 * HOUR, 0)):
        lease = journal.acquire("chat", "me", at, TTL)
        known = journal.taken(lease)
        journal.note_look(lease, Look(next_at=at, digest="d", failures=failures), (), known=known, now=at)
    journal.acquire("new", "me", NOW, TTL)
    assert journal.works() == {
        "chat": Work(ok_at=NOW + 2 * HOUR, failed_at=NOW + HOUR),
        "new": Work(held_until=NOW + TTL),
    }


def test_the_schedule_is_one_query_and_says_nothing_of_policies_that_were_never_looked_at(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    journal.acquire("new", "me", NOW, TTL)
    look = Look(next_at=NOW + HOUR, digest="d", failures=2, problem="sealed")
    end(journal, lease, look)
    assert journal.looks() == {"chat": look}
    assert (journal.look("chat"), journal.look("new")) == (look, None)


def test_the_newest_observation_of_a_destination_counts(journal):
    for name, at in (("a", NOW), ("b", NOW + HOUR)):
        lease = journal.acquire("chat", "me", NOW, TTL)
        seen = Observation(
            destination=VAULT.name, scope="together/p", fingerprint=fingerprint(name), seen_at=at, key_id=name
        )
        end(journal, lease, Look(next_at=NOW, digest="d"), seen)
    assert journal.observations("together/p", since=NOW + HOUR) == {VAULT.name: seen}
    assert journal.observations("together/p", since=NOW + 2 * HOUR) == {}
    assert journal.observations("together/q", since=NOW) == {}


def test_what_somebody_asked_for_during_a_look_is_due_at_its_end(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    known = journal.append(lease, [INTENDED], NOW)
    journal.request("chat", ev.RotationRequested(reason="leak", compromised=True), NOW)
    journal.note_look(lease, Look(next_at=NOW + DAY, digest="d"), [], known=known, now=NOW + HOUR)
    assert journal.look("chat").next_at == NOW + HOUR


def test_a_clock_that_is_a_little_behind_steals_no_lease(journal):
    journal.acquire("chat", "me", NOW, TTL)
    with pytest.raises(LeaseHeld):
        journal.acquire("chat", "other", NOW - timedelta(milliseconds=1), TTL)


def test_policies_are_counted_that_began_a_rotation_which_nobody_asked_for(journal):
    leases = {}
    for name, reason in (("a", "TooOld: old"), ("b", "RotateRequested: requested: x"), ("c", "ExpiryNear: soon")):
        lease = leases[name] = journal.acquire(name, "me", NOW, TTL)
        for number in range(2):
            begun = rotation(Phase.INTENDED, rotation_id=f"{name}{number}", reason=reason)
            over = ev.RotationAbandoned(rotation_id=begun.rotation_id, why="x")
            journal.append(lease, [ev.RotationIntended(rotation=begun), over], NOW)
    assert journal.begun_since(NOW, besides="") == (2, 0)
    assert journal.begun_since(NOW, besides="c") == (1, 0)
    assert journal.begun_since(NOW + HOUR, besides="") == (0, 0)
    failed = Look(next_at=NOW, digest="d", failures=3, problem="503")
    for name, lease in leases.items():
        if name != "a":
            journal.note_look(lease, failed, (), known=journal.load(name), now=NOW)
    assert journal.begun_since(NOW, besides="") == (2, 1)
    assert journal.begun_since(NOW, besides="c") == (1, 0)


def test_a_key_is_found_wherever_it_was_seen_last(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    seen = Observation(
        destination=VAULT.name, scope="together/p", fingerprint=fingerprint("a"), seen_at=NOW, key_id="key_a"
    )
    end(journal, lease, Look(next_at=NOW, digest="d"), seen)
    assert journal.seen_holding(["key_a"], []) == [seen]
    assert journal.seen_holding([], [fingerprint("a")]) == [seen]
    assert journal.seen_holding(["key_b"], [fingerprint("b")]) == []


def test_the_end_of_a_look_gives_the_lease_back(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    end(journal, lease, Look(next_at=NOW, digest="d"))
    with pytest.raises(LeaseLost):
        journal.append(lease, [INTENDED], NOW)
    assert journal.acquire("chat", "other", NOW, TTL).token == 2


def test_a_request_is_recorded_beside_the_holder_and_makes_the_policy_due(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    journal.request("chat", ev.RotationRequested(reason="quarterly"), NOW)
    assert journal.append(lease, [INTENDED], NOW).requested == "quarterly"
    assert journal.look("chat").next_at == NOW


def test_the_migrations_lead_to_the_tables_that_the_code_uses(journal, store):
    script = ScriptDirectory.from_config(_alembic_config())
    assert script.get_current_head() == tables.REVISION
    made = inspect(journal._engine)
    fresh = store.elsewhere()
    tables.metadata.create_all(fresh)
    for table in tables.metadata.tables:
        described = [
            [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)]
            for inspector in (made, inspect(fresh))
        ]
        assert described[0] == described[1]
        indexes = [
            sorted((index["name"], index["column_names"]) for index in inspector.get_indexes(table))
            for inspector in (made, inspect(fresh))
        ]
        assert indexes[0] == indexes[1]
    fresh.dispose()


def _alembic_config():
    config = Config()
    config.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def test_promise_6_a_journal_that_is_missing_is_an_empty_one_for_a_dry_run(store):
    journal = store.open_read_only()
    assert (journal.load("chat").keys, journal.looks()) == ((), {})
    journal.close()
    assert store.is_empty()


def test_who_needs_a_journal_is_told_that_there_is_none_or_that_nothing_is_in_it(store):
    with pytest.raises(JournalUnusable, match="there is no journal"):
        store.open_read_only(must_exist=True)
    assert store.is_empty()
    journal = store.open()
    with pytest.raises(JournalUnusable, match="is empty: nothing was ever recorded"):
        store.open_read_only(must_exist=True)
    journal.request("chat", ev.Held(reason="x"), NOW)
    assert store.open_read_only(must_exist=True).load("chat").hold == "x"


@pytest.mark.parametrize("running", [True, False])
def test_promise_6_a_dry_run_reads_the_journal_and_can_not_change_it(journal, store, running):
    lease = journal.acquire("chat", "me", NOW, TTL)
    folded = journal.append(lease, ALL_EVENTS, NOW)
    if not running:
        journal.close()
    reader = store.open_read_only()
    assert reader.load("chat") == folded
    with pytest.raises(JournalUnavailable):
        reader.acquire("chat", "auditor", NOW + DAY, TTL)
    reader.close()
    assert store.open().load("chat") == folded


def test_a_journal_of_an_unknown_schema_is_neither_read_nor_written(journal, store):
    store.rows("UPDATE alembic_version SET version_num = '9999'")
    for opening in (store.open_read_only, store.open):
        with pytest.raises(JournalUnavailable, match="has schema 9999, this version"):
            opening()


def test_many_open_a_new_journal_at_once(store):
    with ThreadPoolExecutor(4) as pool:
        journals = list(pool.map(lambda _: store.open(), range(4)))
    for number, opened in enumerate(journals):
        opened.acquire(f"policy {number}", "me", NOW, TTL)
    assert store.rows("SELECT count(*) FROM policy_state") == [(4,)]


def test_many_write_at_once_and_each_finds_its_own(journal):
    def work(number):
        lease = journal.acquire(f"policy {number}", "me", NOW, TTL)
        for count in range(10):
            journal.append(lease, [ev.Held(reason=f"{number}/{count}")], NOW)
        return journal.load(f"policy {number}").hold

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [f"{number}/9" for number in range(8)]


def test_a_lease_that_could_not_be_given_back_keeps_nobody_of_this_process_waiting(journal, store):
    lease = journal.acquire("chat", "me", NOW, TTL)
    with unavailable(journal), pytest.raises(JournalUnavailable):
        journal.release(lease)
    with pytest.raises(LeaseHeld):
        store.open().acquire("chat", "elsewhere", NOW, TTL)
    assert journal.acquire("chat", "me", NOW, TTL).token == lease.token + 1


@contextmanager
def unavailable(journal):
    """No statement can be carried out."""

    def refuse(_connection, _cursor, statement, *_rest):
        raise OperationalError(statement, {}, Exception("disk I/O error"))

    listen(journal._engine, "before_cursor_execute", refuse)
    yield
    remove(journal._engine, "before_cursor_execute", refuse)


def test_a_look_begins_with_what_the_lease_was_given_on_and_learns_of_requests_at_its_first_entry(journal):
    journal.request("chat", ev.Held(reason="audit"), NOW)
    lease = journal.acquire("chat", "me", NOW, TTL)
    assert journal.taken(lease) == journal.load("chat")

    journal.request("chat", ev.RotationRequested(reason="leaver"), NOW)
    assert journal.taken(lease).requested == ""
    record = journal.append(lease, [ev.StrayFound(key=key("new"))], NOW)

    assert (record.hold, record.requested, len(record.keys)) == ("audit", "leaver", 1)
    assert record == journal.load("chat") == journal.append(lease, [], NOW)
