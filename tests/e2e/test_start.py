"""The world is down at the start: the service stays up, says so, and heals."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.backends.proxy import Fault
from tests.e2e.installation import Places, credentials, document, in_file, policy
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator, count
from tests.parts.simulator import Simulator
from tests.systemd.manager import manager, status_of


def test_one_pass_with_a_journal_that_can_not_be_opened_says_so_in_one_line_and_ends_with_1(
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


def test_with_no_journal_a_sealed_vault_no_aws_and_no_provider_the_service_stays_up_says_so_and_heals(
    tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws
) -> None:
    places = Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws)
    places.put("")
    # Tried again every second.
    policies = [policy([one], name=f"chat-{one['backend']}", renew_before="8s") for one in places.destinations()]
    configuration = document(tmp_path, simulator.base_url, policies, places.backends())
    state = tmp_path / "state"
    state.write_text("a file where a folder should be")
    configuration["state"] = {"url": f"sqlite:///{state}/state.db"}
    rotator = Rotator(tmp_path, configuration, {**credentials(simulator), **places.least_credentials()})
    simulator.fault("reset_before", times=None)
    openbao.seal()
    try:
        with manager() as systemd, ExitStack() as outage:
            outage.enter_context(aws.proxy.break_while(lambda _request: True, Fault.LOST_REQUEST))
            rotator.environ |= systemd.environ()
            with rotator.service() as service:
                said = systemd.hear(lambda message: "waits for the journal" in status_of(message))
                assert said[1:] == ["EXTEND_TIMEOUT_USEC=180000000"]
                service.wait_for_event("journal.not_opened")
                state.unlink()
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
    assert count(service.events(), "look.crashed") == count(service.events(), "crashed") == 0
