"""What only a journal in a SQLite file has: a private file, a log on disk, waiting for its one writer."""

import json
import shutil
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import URL

from rotator.adapters.journal import sqlite
from rotator.adapters.journal.sql import SqlJournal
from rotator.domain import events as ev
from rotator.domain.verify import Verification
from rotator.entrypoints.events import as_json, print_events
from rotator.entrypoints.evidence import export, verify_export, verify_journal
from rotator.errors import HistoryUnreadable, JournalUnavailable
from tests.domain.build import DAY, NOW

TTL = timedelta(minutes=5)


@pytest.fixture
def store(sqlite_store):
    return sqlite_store


def test_the_file_and_its_folder_are_private(journal, store):
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_what_returned_is_on_disk(journal):
    with journal._engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    assert (mode, synchronous) == ("wal", 2)


def test_a_journal_that_can_not_be_opened_says_so(tmp_path):
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(JournalUnavailable):
        SqlJournal.open(f"sqlite:///{tmp_path}/state/rotator.db", is_dead=lambda _: False)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "rotator.db").write_text("not a database at all, but long enough to be taken for one" * 20)
    with pytest.raises(JournalUnavailable, match="not a database"):
        SqlJournal.open(f"sqlite:///{tmp_path}/rotator.db", is_dead=lambda _: False)


@pytest.mark.parametrize(
    "change",
    [
        "event SET body = x'00ff' WHERE number = 2",
        "event SET body = '{\"a\":' || replace(hex(zeroblob(50000)), '0', '[') WHERE number = 2",
        "event SET number = 'abc' WHERE number = 2",
        "event SET number = x'00' WHERE number = 2",
        "event SET hash = x'00' WHERE number = 2",
        "event SET policy = x'00' WHERE number = 2",
        "event SET at = x'00', who = 7, kind = x'01' WHERE number = 2",
        'event SET body = \'{"key":7,"key_ids":3}\' WHERE number = 2',
        "event SET body = '{\"key_ids\":[1]}' WHERE number = 2",
        "policy_state SET chain_length = 'x'",
        "policy_state SET chain_head = x'00'",
        "policy_state SET policy = x'00'",
        "policy_state SET sealed = 'x'",
        "journal_chain SET length = x'00'",
    ],
)
def test_whatever_kind_of_value_somebody_wrote_is_a_fault_and_an_export_tells_it(journal, store, change, tmp_path):
    lease = journal.acquire("chat", "me", NOW, TTL)
    for number in range(4):
        journal.append(lease, [ev.Held(reason=f"{number}")], NOW)
    journal.history.seal(NOW, TTL)
    store.rows(f"UPDATE {change}")
    assert verify_journal(journal.history, "prod", None, None).faults
    assert verify_journal(journal.history, "prod", "chat", None).faults
    application = SimpleNamespace(
        history=journal.history,
        settings=SimpleNamespace(instance="prod"),
        clock=SimpleNamespace(now=lambda: NOW),
    )
    export(application, None, tmp_path / "history.jsonl")
    assert faults_of(tmp_path / "history.jsonl")
    shown = json.loads(as_json(journal.history.newest(None, 9)))["events"]
    assert len(shown) == 4
    print_events(journal.history.newest(None, 9))


def faults_of(exported):
    try:
        return verify_export(exported, None).faults
    except HistoryUnreadable as error:
        return [str(error)]


def fill(journal, holds=3, at=NOW):
    lease = journal.acquire("chat", "me", at, TTL)
    for number in range(holds):
        journal.append(lease, [ev.Held(reason=f"{number}")], at)
    journal.release(lease)


def listed(folder):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["state.db", "a#b", "a%41", "a b?c"])
@pytest.mark.parametrize("log", [False, True])
def test_promise_6_who_reads_a_journal_at_rest_leaves_nothing_beside_it(journal, store, tmp_path, name, log):
    """With a log and without locks: a copy that was made while somebody was at work."""
    fill(journal)
    if not log:
        journal.close()
    folder = tmp_path / name
    folder.mkdir()
    for end in ("", "-wal") if log else ("",):
        shutil.copyfile(f"{store.path}{end}", folder / f"{name}{end}")
    before = listed(folder)
    reader = SqlJournal(engine_of(sqlite.reading(URL.create("sqlite", database=str(folder / name)))), is_dead=bool)
    assert reader.load("chat").hold == "2"
    with pytest.raises(JournalUnavailable, match="readonly"):
        reader.acquire("chat", "me", NOW, TTL)
    reader.close()
    assert listed(folder) == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def engine_of(found):
    assert found is not None
    return found


def test_who_reads_is_not_disturbed_by_a_run_that_comes_meanwhile(journal, store):
    fill(journal, holds=2500)
    journal.close()
    reader, run = store.open_read_only(), store.open()
    verification = Verification()
    with reader.history.at_one_moment() as chains:
        entries = chains.entries("chat")
        verification.feed([next(entries)])
        while run.history.prune("chat", NOW + DAY, NOW + 2 * DAY):
            pass
        fill(run, holds=300, at=NOW + DAY)
        run.close()
        verification.feed(entries)
        report = verification.report(chains.remembered())
    assert (report.faults, report.events) == ([], 2500)
    assert reader.load("chat").hold == "2499"
    assert verify_journal(store.open_read_only().history, "prod", None, None).faults == []


def test_a_journal_that_others_change_while_it_is_read_is_read_again(journal, store, monkeypatch):
    fill(journal)
    journal.close()
    whole, runs = sqlite._copied, []

    def disturbed(path, options):
        copy = whole(path, options)
        if len(runs) < disturbances:
            runs.append(1)
            run = store.open()
            fill(run, holds=3 + len(runs))
            run.close()
        return copy

    monkeypatch.setattr(sqlite, "_copied", disturbed)
    disturbances = 2
    assert store.open_read_only().load("chat").hold == "4"
    disturbances = 99
    with pytest.raises(JournalUnavailable, match="others change it whenever it is read"):
        store.open_read_only()


def test_a_path_that_can_not_be_looked_at_is_an_unavailable_journal(tmp_path):
    with pytest.raises(JournalUnavailable, match="File name too long"):
        SqlJournal.open_read_only(f"sqlite:///{tmp_path}/{'x' * 300}/rotator.db")


def test_a_full_disk_is_an_unavailable_journal_and_it_recovers(journal):
    lease = journal.acquire("chat", "me", NOW, TTL)
    writer = journal._writer.connection.driver_connection  # the limit counts for one connection
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages}")
    full = ev.Held(reason="x" * 100_000)
    with pytest.raises(JournalUnavailable, match="full"):
        journal.append(lease, [full], NOW)
    writer.execute("PRAGMA max_page_count=1000000")
    assert journal.append(lease, [full], NOW).hold == full.reason


def test_a_new_journal_is_opened_while_another_process_begins_it(store):
    store.path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(store.open)
            assert wait([opening], timeout=0.3).not_done
            other.execute("COMMIT")
            opening.result(timeout=30).close()
