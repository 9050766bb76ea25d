"""Journals that earlier versions wrote stay readable, and go on where they were."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from sqlalchemy import create_engine, inspect

from rotator.adapters.journal import tables
from rotator.adapters.journal.sql import SqlJournal
from rotator.domain import events as ev
from rotator.domain.record import KeyState, Phase
from rotator.errors import JournalUnavailable
from rotator.ports import Look
from tests.domain.build import NOW

WRITTEN = Path(__file__).parent / "written"
TTL = timedelta(minutes=5)


@pytest.fixture
def old(tmp_path):
    """A journal as schema 0001 had it: a rotation was completed, the next one is published to one of two places."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((WRITTEN / "at_0001.sql").read_text())
    return f"sqlite:///{path}"


def test_an_older_journal_is_brought_to_the_newest_schema_and_keeps_what_it_knows(old):
    journal = SqlJournal.open(old, is_dead=lambda _holder: True)
    record = journal.load("chat")
    assert record.in_flight.phase is Phase.PUBLISHING
    assert record.in_flight.published == ("one:app#KEY",)
    assert record.in_flight.found == ()
    assert {key.hooks_due for key in record.keys} == {()}
    assert [key.state for key in record.keys] == [KeyState.RETIRING, KeyState.CURRENT, KeyState.CANDIDATE]
    assert journal.works()["chat"].ok_at is None
    assert {one.key_id for one in journal.observations("together/proj_a", NOW).values()} == {""}
    journal.close()
    engine = create_engine(old)
    columns = {column["name"] for column in inspect(engine).get_columns("observation")}
    engine.dispose()
    assert columns == set(tables.observation.c.keys())


def test_an_older_journal_is_written_on(old):
    journal = SqlJournal.open(old, is_dead=lambda _holder: True)
    lease = journal.acquire("chat", "me", NOW, TTL)
    rotation = journal.load("chat").in_flight
    place = ev.DestinationPublished(rotation_id=rotation.rotation_id, destination="two:app#KEY")
    grace = ev.GraceStarted(rotation_id=rotation.rotation_id, grace_until=NOW, grace_limit=NOW)
    record = journal.append(lease, [place, grace], NOW)
    journal.close()
    assert record.in_flight is None
    assert record.current.key_id == rotation.key_id


def test_an_older_journal_is_not_changed_by_a_dry_run(old):
    before = Path(old.removeprefix("sqlite:///")).read_bytes()
    with pytest.raises(JournalUnavailable, match="schema 0001"):
        SqlJournal.open_read_only(old)
    assert Path(old.removeprefix("sqlite:///")).read_bytes() == before


def test_a_look_that_changes_nothing_leaves_the_moment_of_the_next_one_though_the_record_is_an_older_version_s(old):
    journal = SqlJournal.open(old, is_dead=lambda _holder: True)
    lease, later = journal.acquire("chat", "me", NOW, TTL), NOW + timedelta(hours=6)
    journal.note_look(lease, Look(next_at=later, digest="d1"), (), known=journal.taken(lease), now=NOW)
    assert journal.look("chat").next_at == later
    journal.close()


def test_every_event_of_an_older_journal_is_one_of_todays(old):
    with closing(sqlite3.connect(old.removeprefix("sqlite:///"))) as connection:
        rows = connection.execute("SELECT kind, body FROM event ORDER BY seq").fetchall()
    read = [TypeAdapter(getattr(ev, kind)).validate_json(body) for kind, body in rows]
    assert len(read) == 16
    assert (read[0].by, read[-2:]) == ("", [ev.Held(reason="an audit (ada)"), ev.Held(reason="")])
    assert read[-2].until is None
