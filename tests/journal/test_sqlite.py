"""What only a journal in a SQLite file has: a private file, a log on disk, waiting for its one writer."""

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace

import pytest

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain import events as ev
from rotator.entrypoints.evidence import export, verify_export, verify_journal
from rotator.errors import HistoryUnreadable, JournalUnavailable
from tests.domain.build import NOW

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


def faults_of(exported):
    try:
        return verify_export(exported, None).faults
    except HistoryUnreadable as error:
        return [str(error)]


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
