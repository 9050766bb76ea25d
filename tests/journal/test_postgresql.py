"""What only a journal in PostgreSQL has: several processes and hosts, a server that goes away."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import timedelta

import pytest

from rotator.adapters.journal.postgresql import MIGRATION_LOCK
from rotator.adapters.journal.sql import SqlJournal
from rotator.domain import events as ev
from rotator.domain.record import Phase
from rotator.errors import JournalUnavailable, LeaseLost
from tests.domain.build import NOW, rotation
from tests.parts.postgres import Postgres

TTL = timedelta(minutes=5)
INTENDED = ev.RotationIntended(rotation=rotation(Phase.INTENDED))

CONTENDER = """
import sys
from datetime import datetime, timedelta
from rotator.adapters.journal.sql import SqlJournal
from rotator.errors import LeaseHeld
url, holder, now = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
journal = SqlJournal.open(url, is_dead=lambda _holder: False)
try:
    print(journal.acquire("chat", holder, datetime.fromisoformat(now), timedelta(minutes=5)).token)
except LeaseHeld as error:
    print(error)
journal.close()
"""
"""A process of its own. It finds the password as libpq does, in PGPASSWORD."""


@pytest.fixture
def store(postgres_store):
    return postgres_store


def waits(future: Future[object]) -> bool:
    return bool(wait([future], timeout=0.3).not_done)


# --- several processes -----------------------------------------------------------------------------------


def test_promise_5_processes_that_start_at_once_migrate_once_and_one_takes_the_lease(store, database):
    environ = {**os.environ, "PGPASSWORD": database.password.reveal()}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CONTENDER, database.url, f"host {number}", NOW.isoformat()],
                    env=environ,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(3)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=100) for process in processes]
    assert [errors for _, errors in answers] == ["", "", ""]
    said = sorted(output for output, _ in answers)
    assert said[0] == "1\n"
    (holder,) = store.rows("SELECT lease_holder FROM policy_state")[0]
    assert said[1:] == [f"chat: {holder} is at work on it\n"] * 2
    assert store.rows("SELECT count(*) FROM alembic_version") == [(1,)]


def test_a_new_journal_is_opened_after_another_process_has_migrated_it(store, database):
    with database.server.connect(database.name) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        opening = pool.submit(store.open)
        assert waits(opening)
        assert store.is_empty()
        other.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
        assert opening.result(timeout=30).load("chat").keys == ()


def test_promise_5_a_write_that_waited_for_another_host_sees_what_it_did(store, database):
    journal = store.open()
    late = journal.acquire("chat", "me", NOW, TTL)
    with database.server.connect(database.name, database.role) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute("UPDATE policy_state SET lease_holder = 'other host', lease_token = lease_token + 1")
            writing = pool.submit(journal.append, late, [INTENDED], NOW)
            assert waits(writing)
        with pytest.raises(LeaseLost):
            writing.result(timeout=30)
    assert journal.load("chat").rotations == ()


@pytest.mark.parametrize("call", ["acquire", "request"])
def test_promise_5_two_hosts_that_meet_a_policy_first_make_one_row(store, database, call):
    journal = store.open()
    calls = {
        "acquire": lambda: journal.acquire("chat", "me", NOW, TTL).token,
        "request": lambda: journal.request("chat", ev.RotationRequested(reason="leak"), NOW),
    }
    empty = '{"policy": "chat", "hold": "by the other host"}'
    with database.server.connect(database.name, database.role) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute("INSERT INTO policy_state (policy, state) VALUES ('chat', %s)", [empty])
            making = pool.submit(calls[call])
            assert waits(making)
        assert making.result(timeout=30) in {1, None}
    assert journal.load("chat").hold == "by the other host"


# --- a server that goes away -----------------------------------------------------------------------------


def test_a_server_that_is_away_is_an_unavailable_journal_and_the_next_call_after_it_is_back_works():
    with Postgres() as server:
        database = server.new_schema()
        journal = SqlJournal.open(database.url, is_dead=lambda _: False, password=lambda: database.password)
        reader = SqlJournal.open_read_only(database.url, password=lambda: database.password)
        lease = journal.acquire("chat", "me", NOW, TTL)
        reader.load("chat")
        server.stop()
        for call in (lambda: journal.append(lease, [INTENDED], NOW), journal.looks, reader.looks):
            with pytest.raises(JournalUnavailable, match="Connection refused"):
                call()
        server.start()
        folded = journal.append(lease, [INTENDED], NOW)
        server.stop()
        server.start()
        assert journal.load("chat") == reader.load("chat") == folded
        journal.close()
        reader.close()


def test_a_connection_that_breaks_in_the_middle_of_a_write_leaves_nothing_half_done(store, database):
    journal = store.open()
    lease = journal.acquire("chat", "me", NOW, TTL)
    with database.server.connect(database.name, database.role) as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute("LOCK TABLE event")
            writing = pool.submit(journal.append, lease, [INTENDED], NOW)
            assert waits(writing)
            database.server.disconnect(database)
        with pytest.raises(JournalUnavailable, match="administrator command"):
            writing.result(timeout=30)
    assert journal.load("chat").rotations == ()
    assert len(journal.append(lease, [INTENDED], NOW).rotations) == 1


# --- transactions ----------------------------------------------------------------------------------------


def test_what_returned_is_durable_and_every_wait_has_an_end_whatever_the_role_is_set_to(store, database):
    for setting in ("synchronous_commit = off", "default_transaction_isolation = 'serializable'", "lock_timeout = 0"):
        store.rows(f"ALTER ROLE {database.role} SET {setting}")
    journal = store.open()
    names = (
        "synchronous_commit",
        "transaction_isolation",
        "transaction_read_only",
        "lock_timeout",
        "statement_timeout",
        "idle_in_transaction_session_timeout",
    )
    shown = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    with journal._write() as connection:
        written = connection.exec_driver_sql(f"SELECT {shown}").one()
    with journal._reading() as connection:
        read = connection.exec_driver_sql(f"SELECT {shown}").one()
    assert tuple(written) == ("on", "read committed", "off", "15s", "30s", "30s")
    assert tuple(read) == ("on", "read committed", "on", "15s", "30s", "30s")


def test_no_setting_stays_with_a_connection_that_a_pooler_may_give_to_somebody_else(store):
    journal = store.open()
    journal.acquire("chat", "me", NOW, TTL)
    with journal._engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw.execute("SELECT current_setting('lock_timeout')").fetchone() == ("0",)
        assert raw.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_promise_6_a_dry_run_needs_no_right_but_to_read(store, database):
    lease = store.open().acquire("chat", "me", NOW, TTL)
    folded = store.open().append(lease, [INTENDED], NOW)
    auditor = database.server.new_schema()
    store.rows(f"GRANT USAGE ON SCHEMA {database.role} TO {auditor.role}")
    store.rows(f"GRANT SELECT ON ALL TABLES IN SCHEMA {database.role} TO {auditor.role}")
    url = f"{auditor.url}?options=-csearch_path%3D{database.role}"
    store.rows(f"REVOKE USAGE ON SCHEMA {database.role} FROM {auditor.role}")
    with pytest.raises(JournalUnavailable, match="this role has no USAGE"):
        SqlJournal.open_read_only(url, password=lambda: auditor.password)
    with pytest.raises(JournalUnavailable, match="there is no journal"):
        SqlJournal.open_read_only(auditor.url, password=lambda: auditor.password, must_exist=True)
    store.rows(f"GRANT USAGE ON SCHEMA {database.role} TO {auditor.role}")
    reader = SqlJournal.open_read_only(url, password=lambda: auditor.password)
    assert reader.load("chat") == folded
    reader.close()
    database.server.drop_schema(auditor)


def test_a_server_is_believed_only_with_a_certificate_that_is_trusted():
    with Postgres(tls=True) as server, Postgres(tls=True) as stranger:
        database = server.new_schema()
        trusting = f"{database.url}?sslmode=verify-full&sslrootcert="
        journal = SqlJournal.open(
            f"{trusting}{server.certificate}", is_dead=lambda _: False, password=lambda: database.password
        )
        with journal._reading() as connection:
            query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert connection.exec_driver_sql(query).scalar() is True
        journal.close()
        with pytest.raises(JournalUnavailable, match="certificate verify failed"):
            SqlJournal.open_read_only(f"{trusting}{stranger.certificate}", password=lambda: database.password)
        elsewhere = trusting.replace("127.0.0.1", "localhost")
        with pytest.raises(JournalUnavailable, match="does not match host name"):
            SqlJournal.open_read_only(f"{elsewhere}{server.certificate}", password=lambda: database.password)
