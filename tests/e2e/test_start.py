"""The world is down at the start: the service stays up, says so, and heals."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

from tests.backends.proxy import Fault
from tests.e2e.installation import Places, credentials, document, in_file, ours, policy, until
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.postgres import Database, Postgres
from tests.parts.rotator import Rotator, count
from tests.parts.simulator import Simulator
from tests.systemd.manager import manager, status_of


def test_a_journal_that_can_not_be_opened_is_waited_for_and_one_pass_ends_with_1(
    tmp_path: Path, simulator: Simulator
) -> None:
    state = tmp_path / "state"
    state.write_text("a file where a folder should be")
    configuration = document(tmp_path, simulator.base_url, [policy(in_file(tmp_path / ".env"))])
    configuration["state"] = {"url": f"sqlite:///{state}/state.db"}
    rotator = Rotator(tmp_path, configuration, credentials(simulator))
    once = rotator.run_once()
    assert once.returncode == 1
    assert once.stderr.startswith("rotator: the journal ")
    assert once.stderr.count("\n") == 1
    with manager() as systemd:
        rotator.environ |= systemd.environ()
        with rotator.service() as service:
            said = systemd.hear(lambda message: "waits for the journal" in status_of(message))
            assert "READY=1" not in said
            assert said[1] == "EXTEND_TIMEOUT_USEC=180000000"
            service.wait_for_event("journal.not_opened")
            state.unlink()
            systemd.hear(lambda message: "READY=1" in message)
            until(lambda: len(ours(simulator)) == 1)
            assert service.stop() == 0
    assert count(service.events(), "crashed") == 0


def test_a_postgresql_that_lets_nobody_in_is_waited_for(
    tmp_path: Path, simulator: Simulator, postgres: Postgres
) -> None:
    database: Database = postgres.new_database()
    state = {"url": database.url, "password": {"env": "DATABASE_PASSWORD"}}
    configuration = document(tmp_path, simulator.base_url, [policy(in_file(tmp_path / ".env"))], state=state)
    environ = {**credentials(simulator), "DATABASE_PASSWORD": database.password.reveal()}
    rotator = Rotator(tmp_path, configuration, environ)
    with postgres.connect() as admin:
        admin.autocommit = True
        admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        with rotator.service() as service:
            service.wait_for_event("journal.not_opened")
            service.process.send_signal(signal.SIGHUP)
            service.wait_for_event("configuration.reloaded")
            admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
            service.wait_for_event("service.started")
            until(lambda: len(ours(simulator)) == 1)
            assert service.stop() == 0
    assert all(database.password.reveal() not in line for line in service.lines)


def test_with_a_sealed_vault_no_aws_and_no_provider_the_service_stays_up_says_so_and_heals(
    tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws
) -> None:
    places = Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws)
    places.put("")
    # Tried again every two seconds.
    policies = [policy([one], name=f"chat-{one['backend']}", renew_before="16s") for one in places.destinations()]
    configuration = document(tmp_path, simulator.base_url, policies, places.backends())
    rotator = Rotator(tmp_path, configuration, {**credentials(simulator), **places.least_credentials()})
    simulator.fault("reset", times=None)
    openbao.seal()
    try:
        with manager() as systemd, ExitStack() as outage:
            outage.enter_context(aws.proxy.break_while(lambda _request: True, Fault.LOST_REQUEST))
            rotator.environ |= systemd.environ()
            with rotator.service() as service:
                systemd.hear(lambda message: "READY=1" in message)
                for one in policies:
                    service.wait_for_event("problem", policy=one["name"])
                outage.close()
                simulator.clear_faults()
                openbao.unseal()
                for one in policies:
                    service.wait_for_event("destination.published", policy=one["name"])
                assert service.stop() == 0
    finally:
        simulator.clear_faults()
        openbao.unseal()
    assert count(service.events(), "look.crashed") == 0
