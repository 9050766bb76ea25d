"""The end is bounded by ``service.shutdown_timeout``, whatever hangs; and one pass begins nothing after SIGTERM."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.backends.proxy import Fault, Proxy
from tests.e2e.installation import FIELD, credentials, document, in_file, policy, soon, until
from tests.parts.openbao import OpenBao
from tests.parts.postgres import Database, Postgres
from tests.parts.rotator import Rotator, Service, count
from tests.parts.simulator import PROJECT, Simulator

CREATE = {"method": "POST", "path": "api-keys$"}
POLICIES = 5


@pytest.fixture
def due(tmp_path: Path, simulator: Simulator) -> Rotator:
    """Several policies whose keys are due, one thread for them, and a second for the end."""
    policies: list[dict[str, Any]] = []
    for number in range(POLICIES):
        by_hand = simulator.create_key_by_hand(PROJECT, f"by hand {number}", expires_at=soon(-60))
        place = tmp_path / f"{number}.env"
        place.write_text(f"{FIELD}={by_hand.secret.reveal()}\n")
        policies.append(policy(in_file(place), name=f"chat{number}"))
    service = {"workers": 1, "shutdown_timeout": "1s"}
    return Rotator(tmp_path, document(tmp_path, simulator.base_url, policies, service=service), credentials(simulator))


def created(simulator: Simulator) -> int:
    return int(simulator.counters()["requests"].get("POST /v1/projects/{project_id}/api-keys", 0))


def ends_soon(service: Service) -> int:
    """SIGTERM, and the exit code: the bound is a second."""
    begun = time.monotonic()
    code = service.stop(seconds=20)
    assert time.monotonic() - begun < 4
    return code


def test_a_pass_that_is_told_to_end_begins_no_other_look_and_exits_1(due: Rotator, simulator: Simulator) -> None:
    simulator.fault("hang", delay=0.5, **CREATE)
    with due.service(arguments=["--run-once"]) as one_pass:
        until(lambda: created(simulator), every=0.02)
        assert ends_soon(one_pass) == 1
    assert created(simulator) == 1
    assert sum("stopped: not begun: the pass was told to end" in line for line in one_pass.output) == POLICIES - 1
    assert one_pass.output[-1] == ("5 policies, 0 not due, 1 looked at, 1 changed, 0 failed, 4 left for the next run\n")
    simulator.clear_faults()
    assert due.run_once().returncode == 0
    assert created(simulator) == POLICIES


def test_a_pass_that_is_interrupted_in_a_look_says_so_and_speaks_of_no_service(
    due: Rotator, simulator: Simulator
) -> None:
    simulator.fault("hang", delay=0.5, method="GET")
    with due.service(arguments=["--run-once"]) as one_pass:
        until(lambda: simulator.counters()["requests"], every=0.02)
        one_pass.process.send_signal(signal.SIGINT)
        assert one_pass.wait(seconds=20) == 1
    assert any("stopped: told to end before it was done" in line for line in one_pass.output), one_pass.output
    assert "service" not in "".join(one_pass.output)
    simulator.clear_faults()


def test_a_pass_that_is_told_to_end_leaves_what_hangs_and_exits_1(due: Rotator, simulator: Simulator) -> None:
    simulator.fault("hang", **CREATE)
    with due.service(arguments=["--run-once"]) as one_pass:
        until(lambda: created(simulator), every=0.02)
        assert ends_soon(one_pass) == 1
    assert count(one_pass.events(), "pass.left") == 1
    simulator.clear_faults()


def test_backends_that_hang_when_they_are_left_do_not_keep_the_service(
    tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str
) -> None:
    role = openbao.approle(f'path "{kv_mount}/*" {{ capabilities = ["create", "read", "update", "patch"] }}')
    auth = {"method": "approle", "role_id": {"env": "ROLE_ID"}, "secret_id": {"env": "SECRET_ID"}}
    names = ("one", "two", "three")
    with Proxy(openbao.url) as proxy:
        policies = [
            policy([{"backend": name, "mount": kv_mount, "path": name, "field": FIELD}], name=name) for name in names
        ]
        backends = {name: {"type": "vault", "url": proxy.url, "auth": auth} for name in names}
        configuration = document(tmp_path, simulator.base_url, policies, backends, service={"shutdown_timeout": "1s"})
        environ = {"ROLE_ID": role.role_id.reveal(), "SECRET_ID": role.secret_id.reveal()}
        rotator = Rotator(tmp_path, configuration, {**credentials(simulator), **environ})
        with (
            rotator.service() as service,
            proxy.break_while(lambda request: request.path.endswith("/revoke-self"), Fault.HUNG_REQUEST),
        ):
            service.wait_for_event("grace.started", times=len(names))
            assert ends_soon(service) == 0
        asked = sum(request.path.endswith("/revoke-self") for request in proxy.requests)
    assert asked == len(names), "all were asked at the same time"
    assert count(service.events(), "service.left", reason="a backend did not take its leave in time") == 1


def test_a_journal_that_does_not_answer_does_not_keep_the_service(
    tmp_path: Path, simulator: Simulator, postgres: Postgres, database: Database
) -> None:
    configuration = document(
        tmp_path,
        simulator.base_url,
        [policy(in_file(tmp_path / ".env"))],
        state={"url": database.url, "password": {"env": "DATABASE_PASSWORD"}},
        service={"shutdown_timeout": "1s"},
    )
    environ = {**credentials(simulator), "DATABASE_PASSWORD": database.password.reveal()}
    with Rotator(tmp_path, configuration, environ).service() as service:
        service.wait_for_event("grace.started")
        with postgres.connect(database.name, database.role) as somebody, somebody.transaction():
            somebody.execute("LOCK TABLE policy_state IN ACCESS EXCLUSIVE MODE")
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            until(lambda: somebody.execute(waiting).fetchone()[0])
            assert ends_soon(service) == 0
