"""The rotator with its journal in PostgreSQL, as a process: one rotation, a dry run, another host, a server away."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.record import KeyState, PolicyRecord
from rotator.domain.secret import SecretValue
from tests.e2e.installation import FIELD, POLICY, credentials, document, in_file, ours, policy, soon, until
from tests.parts.postgres import Database, Postgres
from tests.parts.rotator import Rotator
from tests.parts.simulator import PROJECT, HandMadeKey, Simulator

DUE = -60


@dataclass(kw_only=True)
class Host:
    """A rotator with one policy, whose key is in a dotenv file; its journal is shared."""

    folder: Path
    simulator: Simulator
    database: Database
    times: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dotenv = self.folder / ".env"
        self.by_hand: HandMadeKey = self.simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(DUE))
        self.dotenv.write_text(f"{FIELD}={self.by_hand.secret.reveal()}\n")
        state = {"url": self.database.url, "password": {"env": "DATABASE_PASSWORD"}}
        policies = [policy(in_file(self.dotenv), **self.times)]
        service = {"lease": "5s"}  # what is cut off with the server's end need not be waited for
        made = document(self.folder, self.simulator.base_url, policies, state=state, service=service)
        environ = {**credentials(self.simulator), "DATABASE_PASSWORD": self.database.password.reveal()}
        self.rotator = Rotator(self.folder, made, {**environ, "COLUMNS": "200"})

    def held(self) -> str:
        """What the dotenv file holds."""
        (line,) = (line for line in self.dotenv.read_text().splitlines() if line.startswith(f"{FIELD}="))
        return line.partition("=")[2]

    def journal(self) -> SqlJournal:
        """Its journal, opened by somebody else."""
        return SqlJournal.open(self.database.url, is_dead=lambda _: False, password=lambda: self.database.password)

    def record(self) -> PolicyRecord:
        """What it remembers of the policy."""
        journal = self.journal()
        try:
            return journal.load(POLICY)
        finally:
            journal.close()

    def between_looks(self) -> bool:
        """A look has ended, and given its lease back."""
        return self.database.rows("SELECT 1 FROM policy_state WHERE next_at IS NOT NULL AND lease_holder = ''") != []

    def at_rest(self) -> bool:
        """Nothing is left to do."""
        found = self.record()
        return [key.state for key in found.keys] == [KeyState.CURRENT] and not found.in_flight


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One that a test may stop."""
    with Postgres() as made:
        yield made


@pytest.fixture
def host(tmp_path: Path, simulator: Simulator, server: Postgres) -> Host:
    return Host(folder=tmp_path, simulator=simulator, database=server.new_database())


def test_run_once_rotates_with_a_journal_in_postgresql_and_leaves_no_secret_there(host: Host) -> None:
    looked = host.rotator.call("--dry-run")
    assert (looked.returncode, looked.stderr) == (3, "")
    assert host.database.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []

    done = host.rotator.run_once()

    assert (done.returncode, done.stderr) == (0, "")
    (new,) = ours(host.simulator)
    keys = {key.key_id: key for key in host.record().keys}
    assert (keys[new].state, keys[host.by_hand.key_id].state) == (KeyState.CURRENT, KeyState.RETIRING)
    assert keys[new].fingerprint == SecretValue(host.held()).fingerprint()
    again = host.rotator.run_once()
    assert (again.returncode, len(ours(host.simulator))) == (0, 1)
    assert host.rotator.command("status").returncode == 0
    tables = [name for (name,) in host.database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    content = "".join(repr(host.database.rows(f"TABLE {name}")) for name in tables)
    assert "KeyIssued" in content
    secrets = (host.held(), host.by_hand.secret.reveal(), host.database.password.reveal())
    assert [secret for secret in secrets if secret in content + done.stdout] == []


def test_promise_5_a_policy_that_another_host_is_at_work_on_is_left_to_it(host: Host) -> None:
    journal = host.journal()
    lease = journal.acquire(POLICY, "other.internal/boot/1/1/aaaaaa", datetime.now(UTC), timedelta(minutes=5))

    assert host.rotator.run_once().returncode == os.EX_TEMPFAIL
    assert (ours(host.simulator), host.held()) == ([], host.by_hand.secret.reveal())

    journal.release(lease)
    journal.close()
    assert host.rotator.run_once().returncode == 0
    assert len(ours(host.simulator)) == 1


def test_a_server_that_is_away_is_one_clear_line_and_changes_nothing(host: Host, server: Postgres) -> None:
    server.stop()
    try:
        for arguments in (["--run-once"], ["--dry-run"]):
            done = host.rotator.call(*arguments)
            assert (done.returncode, done.stdout) == (1, "")
            (line,) = done.stderr.splitlines()
            assert line.startswith(f"rotator: the journal {host.database.url} can't be ")
            assert "Connection refused" in line
            assert host.database.password.reveal() not in line
    finally:
        server.start()
    assert (ours(host.simulator), host.held()) == ([], host.by_hand.secret.reveal())


def test_the_service_goes_on_where_it_was_when_the_server_is_back(
    tmp_path: Path, simulator: Simulator, server: Postgres
) -> None:
    database = server.new_database()
    host = Host(folder=tmp_path, simulator=simulator, database=database, times={"grace": "8s"})
    with host.rotator.service() as service:
        service.wait_for_event("grace.started")
        until(host.between_looks)
        server.stop()
        service.wait_for_event("journal.unreadable")
        server.start()
        until(host.at_rest, seconds=60)
        assert service.stop() == 0
    assert simulator.key(host.by_hand.key_id)["state"] == "revoked"
    assert len(ours(simulator)) == 1
    assert host.database.password.reveal() not in "".join(service.lines)
