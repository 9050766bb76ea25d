"""What the service tells systemd, and that the watchdog is fed by its progress alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.config.settings import PATIENCE
from rotator.entrypoints.daemon import SYNC_EVERY
from rotator.entrypoints.supervisor import PULSE_SECONDS, Progress, Supervisor
from tests.e2e.installation import credentials, document, in_file, ours, policy, until
from tests.parts.postgres import Database, Postgres
from tests.parts.rotator import Rotator, Service, count
from tests.parts.simulator import Simulator
from tests.systemd.manager import feeds, manager, status_of

IMPATIENT = """
from rotator.config import settings
from rotator.__main__ import main

settings.PATIENCE = 1
main()
"""
"""A service whose looks may run for one lease, not for twelve."""


def rotator(folder: Path, simulator: Simulator, *, timeout: str = "10s", **rest: Any) -> Rotator:
    configuration = document(folder, simulator.base_url, [policy(in_file(folder / ".env"))], **rest)
    configuration["providers"]["together"]["timeout"] = timeout
    return Rotator(folder, configuration, credentials(simulator))


# --- the real process ------------------------------------------------------------------------------------


def test_the_service_says_ready_then_feeds_the_watchdog_round_by_round_then_says_that_it_stops(
    tmp_path: Path, simulator: Simulator
) -> None:
    with manager() as systemd:
        one = rotator(tmp_path, simulator)
        one.environ |= systemd.environ()
        with one.service() as service:
            first = systemd.next(40)
            assert first is not None
            assert first[:2] == ["READY=1", "WATCHDOG=1"]
            service.wait_for_event("service.started")
            fed = [systemd.hear(feeds, seconds=3 * SYNC_EVERY.total_seconds()) for _ in range(2)]
            assert all("READY=1" not in message for message in fed)
            assert status_of(fed[-1]) == "policies: 1, looks under way: 0"
            assert service.stop() == 0
        systemd.drain()
    assert systemd.said[-1][0] == "STOPPING=1"
    assert sum("READY=1" in message for message in systemd.said) == 1
    assert count(service.events(), "service.stuck") == 0


def test_a_look_that_does_not_end_leaves_the_watchdog_unfed_and_its_end_feeds_it_again(
    tmp_path: Path, simulator: Simulator
) -> None:
    one = rotator(tmp_path, simulator, timeout="120s", service={"lease": "1s"})
    simulator.fault("hang", delay=5, method="POST", path="api-keys$")
    with manager() as systemd:
        process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, "--config", str(one.config)],
            env={**one.environ, **systemd.environ()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        service = Service(process, None)
        try:
            stuck = systemd.hear(lambda message: "does not end" in status_of(message))
            assert stuck == ["STATUS=a look does not end: chat"]
            service.wait_for_event("service.stuck", reason="a look does not end: chat")
            systemd.hear(feeds)
            service.wait_for_event("service.gets_on")
        finally:
            simulator.clear_faults()
            assert service.stop() == 0


def test_a_journal_that_does_not_answer_leaves_the_watchdog_unfed_and_the_service_heals(
    tmp_path: Path, simulator: Simulator, postgres: Postgres, database: Database
) -> None:
    state = {"url": database.url, "password": {"env": "DATABASE_PASSWORD"}}
    one = rotator(tmp_path, simulator, state=state)
    with manager() as systemd:
        one.environ |= {**systemd.environ(), "DATABASE_PASSWORD": database.password.reveal()}
        with one.service() as service:
            until(lambda: len(ours(simulator)) == 1)
            systemd.hear(feeds)
            with postgres.connect(database.name, database.role) as somebody, somebody.transaction():
                somebody.execute("LOCK TABLE policy_state IN ACCESS EXCLUSIVE MODE")
                systemd.drain()
                systemd.next(SYNC_EVERY.total_seconds())  # what was said while the lock was taken
                assert systemd.next(2 * SYNC_EVERY.total_seconds()) is None
            systemd.hear(feeds)
            assert service.stop() == 0


def test_a_service_without_a_manager_or_whose_manager_is_gone_works_all_the_same(
    tmp_path: Path, simulator: Simulator
) -> None:
    with manager() as systemd:
        address = systemd.environ()
    one = rotator(tmp_path, simulator)
    one.environ |= address
    with one.service() as service:
        service.wait_for_event("supervisor.unreachable")
        until(lambda: len(ours(simulator)) == 1)
        assert service.stop() == 0
    assert count(service.events(), "supervisor.unreachable") == 1


# --- what is progress ------------------------------------------------------------------------------------


class Hands:
    """A clock, and the progress that is judged by it; with a patience of 100 seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.given = 0
        self.threads: list[threading.Thread] = []
        self.progress = Progress(
            patience=timedelta(seconds=100), monotonic=lambda: self.now, threads=lambda: self.threads
        )
        self.progress.compared(succeeded=True)

    def give(self) -> None:
        self.given += 1

    def trouble_after(self, seconds: float) -> str:
        self.now += seconds
        return self.progress.trouble()


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_a_scheduler_that_runs_its_jobs_is_progress(hands: Hands) -> None:
    for _ in range(3):
        hands.progress.ask_pulse(hands.give)
        hands.progress.pulse()
        assert hands.trouble_after(PULSE_SECONDS + 1) == ""
    assert hands.given == 3


def test_a_scheduler_that_runs_no_job_is_none_and_is_not_given_more_of_them(hands: Hands) -> None:
    hands.progress.ask_pulse(hands.give)
    assert hands.trouble_after(PULSE_SECONDS - 1) == ""
    hands.progress.ask_pulse(hands.give)
    assert hands.trouble_after(2) == "the scheduler runs no jobs"
    assert hands.given == 1
    hands.progress.pulse()
    assert hands.trouble_after(0) == ""


def test_looks_that_end_are_progress_however_many_and_one_that_does_not_is_none(hands: Hands) -> None:
    for name in ("a", "b", "c"):
        hands.progress.began(name)
    assert hands.trouble_after(100) == ""
    hands.progress.ended("a")
    hands.progress.compared(succeeded=True)
    assert hands.trouble_after(1) == "a look does not end: b and 1 more"
    hands.progress.ended("b")
    assert hands.trouble_after(0) == "a look does not end: c"
    hands.progress.ended("c")
    hands.progress.ended("never began")
    assert hands.trouble_after(0) == ""


def test_an_unreadable_journal_is_sat_out_for_a_time_and_said_from_the_first_moment(hands: Hands) -> None:
    hands.progress.compared(succeeded=False)
    assert hands.trouble_after(100) == ""
    assert hands.progress.status(2).endswith("; the journal can't be read now, the log says why")
    assert hands.trouble_after(1) == "the journal can't be read, for more than 100 s; the log says why"
    hands.progress.compared(succeeded=True)
    assert hands.trouble_after(0) == ""
    assert hands.progress.status(2) == "policies: 2, looks under way: 0"


def test_a_thread_of_the_service_that_has_ended_is_no_progress(hands: Hands) -> None:
    over = threading.Event()
    hands.threads = [threading.Thread(target=over.wait, name=name, daemon=True) for name in ("upkeep", "notify ops")]
    assert hands.trouble_after(0) == "", "they are still to be started"
    for thread in hands.threads:
        thread.start()
    assert hands.trouble_after(0) == ""
    over.set()
    for thread in hands.threads:
        thread.join(10)
    assert hands.trouble_after(0) == "a thread has ended: upkeep and 1 more"
    hands.threads = []
    assert hands.trouble_after(0) == ""


def test_a_service_is_new_until_a_comparison_succeeded() -> None:
    progress = Progress(patience=timedelta(seconds=1))
    assert progress.is_new
    progress.compared(succeeded=False)
    assert progress.is_new
    progress.compared(succeeded=True)
    progress.compared(succeeded=False)
    assert not progress.is_new


def test_a_new_service_that_can_not_read_its_journal_says_so_and_is_not_ready() -> None:
    with manager() as systemd:
        supervisor = Supervisor(systemd.environ())
        supervisor.starting("policies: 1, looks under way: 0; the journal can't be read now, the log says why")
        supervisor.alive("policies: 1, looks under way: 0")
        supervisor.alive("policies: 1, looks under way: 1")
        systemd.drain()
    firsts = [message[0] for message in systemd.said]
    assert firsts == [
        "STATUS=policies: 1, looks under way: 0; the journal can't be read now, the log says why",
        "READY=1",
        "WATCHDOG=1",
    ]


def test_a_socket_in_the_file_system_is_spoken_to_as_well_and_without_one_nothing_is_said(tmp_path: Path) -> None:
    Supervisor({}).stopping()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify")}).stopping()
        assert listener.recv(4096) == b"STOPPING=1\nSTATUS=finishing what is in flight"


def test_the_default_patience_is_an_hour() -> None:
    assert PATIENCE * timedelta(minutes=5) == timedelta(hours=1)
