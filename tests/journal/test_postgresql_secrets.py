"""Passwords and errors of a journal in PostgreSQL: what is read again, what is told, and what never shows."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.engine import make_url

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.secret import SecretValue
from rotator.errors import JournalUnavailable, MissingSecret
from tests.domain.build import NOW

TTL = timedelta(minutes=5)


@pytest.fixture
def store(postgres_store):
    return postgres_store


def test_a_password_that_changes_is_asked_for_again_with_the_next_connection(store, database):
    passwords = [database.password]
    journal = SqlJournal.open(database.url, is_dead=lambda _: False, password=lambda: passwords[-1])
    passwords.append(SecretValue("another-password-than-before"))
    store.rows(f"ALTER ROLE {database.role} PASSWORD '{passwords[-1].reveal()}'")
    database.server.disconnect(database)
    assert journal.acquire("chat", "me", NOW, TTL).token == 1
    journal.close()


def test_a_password_that_is_not_there_any_more_is_an_unavailable_journal(database):
    def password():
        raise MissingSecret("environment variable PG_PASSWORD, which is not set or empty")

    with pytest.raises(JournalUnavailable, match="password is missing: environment variable PG_PASSWORD"):
        SqlJournal.open(database.url, is_dead=lambda _: False, password=password)


def _with_port(url, port):
    return make_url(url).set(port=port).render_as_string(hide_password=False)


FAILURES = {
    "a wrong password": lambda url: url,
    "no such role": lambda url: url.replace("//journal_", "//nobody_"),
    "no such database": lambda url: f"{url}_gone",
    "nobody there": lambda url: _with_port(url, 9),
    "an unknown parameter": lambda url: f"{url}?nonsense=1",
    "a parameter of a wrong form": lambda url: f"{url}?connect_timeout=soon",
    "TLS that the server does not have": lambda url: f"{url}?sslmode=require",
    "a file of the service that is missing": lambda url: f"{url}?service=nowhere",
}


@pytest.mark.parametrize("spoil", FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("read_only", [False, True])
def test_promise_3_a_password_shows_in_no_error_and_no_log(database, caplog, spoil, read_only):
    secret = SecretValue("not-the-password-but-secret")
    url = spoil(database.url)
    caplog.set_level(logging.DEBUG)
    opening = SqlJournal.open_read_only if read_only else partial(SqlJournal.open, is_dead=lambda _: False)
    with pytest.raises(JournalUnavailable) as caught:
        opening(url, password=lambda: secret)
    error: BaseException | None = caught.value
    assert "\n" not in str(error)
    shown = [caplog.text, *traceback.format_exception(error)]
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error))]
        shown += [repr(frame.f_locals) for frame, _ in traceback.walk_tb(error.__traceback__)]
        error = error.__cause__ or error.__context__
    assert secret.reveal() not in "".join(shown)
    assert database.role in "".join(shown) or "nobody_" in "".join(shown)


def test_promise_3_a_password_shows_in_no_repr_of_what_is_connected(store, database, caplog):
    caplog.set_level(logging.DEBUG)
    journal = store.open()
    journal.acquire("chat", "me", NOW, TTL)
    engine = journal._engine
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        shown = [journal, engine, engine.url, engine.pool, connection, raw, vars(journal), vars(engine.pool)]
        texts = [repr(one) for one in shown] + [str(one) for one in shown] + [caplog.text, database.server.log()]
    assert database.password.reveal() not in "".join(texts)


def test_an_error_repeats_no_value_that_a_statement_carried(store):
    journal = store.open()
    holder = "a-holder-that-is-not-shown"
    with pytest.raises(JournalUnavailable) as caught:
        journal.acquire("chat", holder, NOW, timedelta(days=100_000))
    assert str(caught.value) == "the journal can't be used: NumericValueOutOfRange (SQLSTATE 22003)"
    assert holder not in "".join(traceback.format_exception(caught.value))
    assert journal.acquire("chat", "me", NOW, TTL).token == 1


def test_a_role_that_may_not_create_tables_is_told_so(store, database):
    store.rows(f"ALTER SCHEMA {database.role} OWNER TO postgres")
    store.rows(f"GRANT USAGE ON SCHEMA {database.role} TO {database.role}")
    with pytest.raises(JournalUnavailable, match="can't be opened: permission denied for schema"):
        store.open()


def test_a_driver_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(JournalUnavailable, match=r"psycopg is missing: pip install 'rotator\[postgresql\]'"):
        SqlJournal.open("postgresql+psycopg://h/db", is_dead=lambda _: False)
