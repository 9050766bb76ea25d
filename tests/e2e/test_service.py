"""The service among signals, other processes and operators; and ``--run-once`` beside it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.backends.proxy import Proxy
from tests.e2e.installation import (
    FIELD,
    POLICY,
    Places,
    at_rest,
    credentials,
    document,
    in_file,
    ours,
    policy,
    record,
    soon,
    until,
)
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator, count
from tests.parts.simulator import PROJECT, HandMadeKey, Simulator

CREATE = {"method": "POST", "path": "api-keys$"}
NOT_DUE = 3600
DUE = -60


@dataclass
class Installation:
    """A rotator with one policy, whose key is in a dotenv file."""

    folder: Path
    simulator: Simulator

    def __post_init__(self) -> None:
        self.dotenv = self.folder / ".env"

    def rotator(self, *, due_in: float, service: dict[str, Any] | None = None, **times: str) -> Rotator:
        """The key made by hand is replaced in so many seconds."""
        self.by_hand: HandMadeKey = self.simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(due_in))
        self.dotenv.write_text(f"{FIELD}={self.by_hand.secret.reveal()}\n")
        policies = [policy(in_file(self.dotenv), **times)]
        configuration = document(self.folder, self.simulator.base_url, policies, service=service or {})
        # Wide enough for a table that breaks no sentence.
        return Rotator(self.folder, configuration, {**credentials(self.simulator), "COLUMNS": "200"})

    def held(self) -> str:
        """What the dotenv file holds."""
        (line,) = (line for line in self.dotenv.read_text().splitlines() if line.startswith(f"{FIELD}="))
        return line.partition("=")[2]

    def created(self) -> int:
        """How many keys were asked for at the provider."""
        return int(self.simulator.counters()["requests"].get("POST /v1/projects/{project_id}/api-keys", 0))


@pytest.fixture
def installation(tmp_path: Path, simulator: Simulator) -> Iterator[Installation]:
    yield Installation(tmp_path, simulator)
    simulator.clear_faults()


# --- signals ---------------------------------------------------------------------------------------------


def test_sigterm_ends_the_rotation_in_flight_and_exits_0(installation: Installation) -> None:
    rotator = installation.rotator(due_in=DUE)
    installation.simulator.fault("hang", delay=1.5, **CREATE)
    with rotator.service() as service:
        until(installation.created, every=0.02)
        assert service.stop(seconds=10) == 0

    assert count(service.events(), "grace.started") == 1
    (new,) = ours(installation.simulator)
    (current, retiring) = sorted(record(installation.folder).keys, key=lambda key: key.state)
    assert (current.key_id, retiring.key_id) == (new, installation.by_hand.key_id)
    assert installation.held() != installation.by_hand.secret.reveal()


def test_sigterm_leaves_what_does_not_end_in_time_and_exits_0_within_the_bound(installation: Installation) -> None:
    """Promise 4: what was left is ended by the next start."""
    rotator = installation.rotator(due_in=DUE, service={"shutdown_timeout": "1s"})
    installation.simulator.fault("hang", **CREATE)
    with rotator.service() as service:
        until(installation.created, every=0.02)
        begun = time.monotonic()
        assert service.stop(seconds=10) == 0
        assert time.monotonic() - begun < 4
    assert count(service.events(), "service.left") == 1
    assert installation.held() == installation.by_hand.secret.reveal()

    with rotator.service() as service:
        service.wait_for_event("service.started")
        until(lambda: at_rest(installation.folder) and len(ours(installation.simulator)) == 1)
        assert service.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_service_at_once(installation: Installation, number: signal.Signals) -> None:
    rotator = installation.rotator(due_in=DUE)
    installation.simulator.fault("hang", **CREATE)
    with rotator.service() as service:
        until(installation.created, every=0.02)
        service.process.send_signal(number)
        service.wait_for_event("service.stopping")
        assert service.process.poll() is None
        begun = time.monotonic()
        service.process.send_signal(number)
        assert service.wait(seconds=5) == 128 + number
        assert time.monotonic() - begun < 2


def test_a_service_with_nothing_in_flight_ends_at_once(installation: Installation) -> None:
    with installation.rotator(due_in=NOT_DUE).service() as service:
        service.wait_for_event("key.adopted")
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < 3
    assert count(service.events(), "service.stopped") == 1


# --- two services ----------------------------------------------------------------------------------------


def test_two_services_on_one_journal_rotate_once_for_each_due_time(installation: Installation) -> None:
    """Promise 5."""
    # Each key is due three seconds after it was made; up to 0.3 s earlier by jitter, and 1 s by a whole second's end.
    rotator = installation.rotator(
        due_in=NOT_DUE, lifetime="6s", renew_before="3s", grace="1s", service={"lease": "30s"}
    )
    with rotator.service() as one, rotator.service() as two:
        until(lambda: sum(count(service.events(), "grace.started") for service in (one, two)) >= 3)
        assert one.stop() == two.stop() == 0

    events = [event for service in (one, two) for event in service.events()]
    begun = count(events, "rotation.intended")
    assert count(events, "grace.started") == count(events, "key.issued") == installation.created() == begun
    assert count(events, "problem") == count(events, "look.crashed") == 0
    started = sorted(event["timestamp"] for event in events if event["event"] == "rotation.intended")
    apart = [_seconds(later) - _seconds(earlier) for earlier, later in pairwise(started)]
    assert all(gap > 1.5 for gap in apart), apart
    (current,) = (key for key in record(installation.folder).keys if key.state == "current")
    assert installation.simulator.key(current.key_id)["state"] == "live"


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


# --- operators -------------------------------------------------------------------------------------------


def test_a_running_service_notices_within_seconds_that_a_new_key_is_asked_for(installation: Installation) -> None:
    rotator = installation.rotator(due_in=NOT_DUE)
    with rotator.service() as service:
        service.wait_for_event("key.adopted")
        asked = rotator.call("rotate", POLICY, "--reason", "a laptop was stolen")
        assert (asked.returncode, asked.stdout) == (0, "chat: a new key is asked for\n"), asked.stderr
        service.wait_for_event("grace.started", seconds=6)
        service.wait_for_event("key.closed", key_id=installation.by_hand.key_id)
        assert service.stop() == 0

    (intended,) = (event for event in service.events() if event["event"] == "rotation.intended")
    assert "a laptop was stolen" in intended["why"]
    (new,) = ours(installation.simulator)
    assert record(installation.folder).keys[0].key_id == new


def test_a_compromised_key_is_revoked_at_once(installation: Installation) -> None:
    rotator = installation.rotator(due_in=NOT_DUE, grace="20m")
    with rotator.service() as service:
        service.wait_for_event("key.adopted")
        rotator.call("rotate", POLICY, "--reason", "it is on a public web page", "--compromised")
        service.wait_for_event("key.closed", key_id=installation.by_hand.key_id, seconds=10)
        assert service.stop() == 0

    assert installation.simulator.key(installation.by_hand.key_id)["state"] == "revoked"
    assert installation.held() != installation.by_hand.secret.reveal()


def test_a_policy_on_hold_is_left_alone_until_it_is_released(installation: Installation) -> None:
    rotator = installation.rotator(due_in=NOT_DUE)
    with rotator.service(arguments=["--log-level", "debug"]) as service:
        service.wait_for_event("key.adopted")
        assert rotator.call("hold", POLICY, "--reason", "a change freeze").returncode == 0
        service.wait_for_event("looked", check="OnHold", seconds=6)
        looked = count(service.events(), "looked", check="OnHold")
        assert rotator.call("rotate", POLICY, "--reason", "not now").returncode == 75
        service.wait_for_event("looked", check="OnHold", times=looked + 1, seconds=6)
        assert installation.created() == 0
        assert "a change freeze" in rotator.call("status").stdout

        assert rotator.call("release", POLICY).returncode == 0
        service.wait_for_event("grace.started", seconds=6)
        assert service.stop() == 0

    assert installation.created() == 1


# --- one pass --------------------------------------------------------------------------------------------


def test_one_pass_exits_0_when_all_is_well(installation: Installation) -> None:
    done = installation.rotator(due_in=DUE).run_once()

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1 policies, 0 not due, 1 looked at, 1 changed, 0 failed\n")
    assert len(ours(installation.simulator)) == 1


def test_one_pass_exits_1_when_a_policy_failed_and_still_looks_at_the_others(
    tmp_path: Path, installation: Installation
) -> None:
    """Promise 9."""
    installation.rotator(due_in=DUE)
    (tmp_path / "a-directory").mkdir()
    broken = policy(in_file(tmp_path / "a-directory"), name="broken")
    fine = policy(in_file(installation.dotenv))
    rotator = Rotator(
        tmp_path,
        document(tmp_path, installation.simulator.base_url, [broken, fine]),
        credentials(installation.simulator),
    )

    done = rotator.run_once()

    assert done.returncode == 1
    assert "broken: failed: " in done.stdout
    assert "1 failed" in done.stdout
    assert len(ours(installation.simulator)) == 1
    assert installation.held() != installation.by_hand.secret.reveal()


def test_one_pass_exits_75_while_a_service_is_at_work_on_the_policy(installation: Installation) -> None:
    """Promise 5."""
    rotator = installation.rotator(due_in=DUE)
    installation.simulator.fault("hang", delay=5, **CREATE)
    with rotator.service() as service:
        until(installation.created, every=0.02)
        done = rotator.run_once()
        assert done.returncode == 75
        assert "held by another process" in done.stdout
        service.wait_for_event("grace.started")
        assert service.stop() == 0

    assert installation.created() == len(ours(installation.simulator)) == 1


def test_one_pass_with_nothing_due_calls_nobody(
    tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws
) -> None:
    places = Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws)
    places.put(simulator.create_key_by_hand(PROJECT, "by hand").secret.reveal())
    with Proxy(openbao.url) as proxy:
        backends = places.backends(openbao_url=proxy.url)
        configuration = document(tmp_path, simulator.base_url, [policy(places.destinations())], backends)
        rotator = Rotator(tmp_path, configuration, {**credentials(simulator), **places.least_credentials()})
        assert rotator.run_once().returncode == 0
        assert proxy.requests, "the first look asks"
        simulator.clear_counters()
        proxy.requests.clear()
        asked_of_aws = len(aws.proxy.requests)

        done = rotator.run_once()

        assert (done.returncode, done.stderr) == (0, "")
        assert "chat: not due until " in done.stdout
        # The control API's own requests are not counted.
        assert simulator.counters()["requests"] == {}
        assert proxy.requests == []
        assert len(aws.proxy.requests) == asked_of_aws


def test_a_service_that_was_frozen_when_it_was_told_to_stop_stops(installation: Installation) -> None:
    """The kernel may give the signal to any thread; none is lost."""
    with installation.rotator(due_in=NOT_DUE).service() as service:
        service.wait_for_event("key.adopted")
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
            service.process.send_signal(number)
        assert service.wait(seconds=20) == 0
