"""A journal that can't be written: nothing is created, the service says so, stays up, and heals."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import FIELD, POLICY, credentials, document, in_file, ours, policy, record, soon, until
from tests.parts.rotator import Rotator, Service, count
from tests.parts.simulator import PROJECT, Simulator

NOT_DUE = 3600


@pytest.fixture
def rotator(tmp_path: Path, simulator: Simulator) -> Iterator[Rotator]:
    by_hand = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(NOT_DUE))
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{FIELD}={by_hand.secret.reveal()}\n")
    configuration = document(tmp_path, simulator.base_url, [policy(in_file(dotenv), check_every="1s")])
    yield Rotator(tmp_path, configuration, credentials(simulator))
    simulator.clear_faults()


def no_file_of_the_service_may_grow(service: Service, *, largest: int) -> None:
    """What a full disk does, for this one process; ``resource.RLIM_INFINITY`` makes room again. See prlimit(2)."""
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))


def test_a_full_disk_creates_nothing_and_the_service_heals_when_there_is_room(
    rotator: Rotator, simulator: Simulator
) -> None:
    """Promise 4: without a durable intent there is no creation."""
    with rotator.service() as service:
        service.wait_for_event("key.adopted")
        no_file_of_the_service_may_grow(service, largest=1)
        asked = rotator.command("rotate", POLICY, "--reason", "the disk is full for the service")
        assert asked.returncode == 0
        service.wait_for(lambda events: any("the journal can't be used" in str(event.get("what")) for event in events))
        assert service.process.poll() is None, "the service stays up"
        assert simulator.counters()["requests"].get("POST /v1/projects/{project_id}/api-keys", 0) == 0
        no_file_of_the_service_may_grow(service, largest=resource.RLIM_INFINITY)
        service.wait_for_event("grace.started", seconds=60)
        assert service.stop() == 0
    assert count(service.events(), "look.crashed") == 0
    until(lambda: len(ours(simulator)) == 1)


def test_a_pass_with_a_journal_that_may_only_be_read_creates_nothing_and_says_so(
    rotator: Rotator, simulator: Simulator, tmp_path: Path
) -> None:
    assert rotator.run_once().returncode == 0
    assert rotator.command("rotate", POLICY, "--reason", "x").returncode == 0
    # Root may write where nobody else may: so the file is one that nobody can grow.
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); sys.argv[0] = 'rotator';"
        " runpy.run_module('rotator', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "--config", str(rotator.config), "--run-once"],
        env=rotator.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    assert "journal" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert ours(simulator) == []
    assert record(tmp_path).requested, "what was asked for is still to be done"
    assert rotator.run_once().returncode == 0
    assert len(ours(simulator)) == 1
