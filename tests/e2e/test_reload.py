"""Promise 10: a running service takes up another configuration whole or not at all, and keeps its last good one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.installation import FIELD, POLICY, credentials, document, in_file, ours, policy, record, soon, until
from tests.parts.rotator import Rotator, Service, count
from tests.parts.simulator import PROJECT, Simulator
from tests.systemd.manager import manager, status_of

NOT_DUE = 3600
DUE = -60
CREATE = {"method": "POST", "path": "api-keys$"}


class Installation:
    """A rotator with one policy, and the document that it runs with."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder, self.simulator = folder, simulator
        self.document: dict[str, Any] = {}

    def rotator(self, *, due_in: float = NOT_DUE, **rest: Any) -> Rotator:
        self.by_hand = self.simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(due_in))
        (self.folder / ".env").write_text(f"{FIELD}={self.by_hand.secret.reveal()}\n")
        policies = [policy(in_file(self.folder / ".env"))]
        self.document = document(self.folder, self.simulator.base_url, policies, **rest)
        return Rotator(self.folder, self.document, credentials(self.simulator))

    def write(self, rotator: Rotator, **changed: Any) -> None:
        self.document |= changed
        rotator.config.write_text(yaml.safe_dump(self.document))

    def another(self, name: str = "batch") -> dict[str, Any]:
        return policy(in_file(self.folder / f"{name}.env"), name=name)


@pytest.fixture
def installation(tmp_path: Path, simulator: Simulator) -> Iterator[Installation]:
    yield Installation(tmp_path, simulator)
    simulator.clear_faults()


def hang_up(service: Service) -> None:
    service.process.send_signal(signal.SIGHUP)


def of(service: Service, name: str) -> list[dict[str, Any]]:
    return [event for event in service.events() if event["event"] == name]


def test_sighup_adds_a_policy_a_changed_file_removes_it_and_removing_revokes_no_key(installation: Installation) -> None:
    rotator = installation.rotator()
    first = installation.document["policies"][0]
    with manager() as systemd:
        rotator.environ |= systemd.environ()
        with rotator.service() as service:
            service.wait_for_event("key.adopted")
            both = [first, installation.another()]
            installation.write(rotator, policies=both, service={"reload": "on-change"})
            hang_up(service)
            until((installation.folder / "batch.env").exists)
            service.wait_for_event("grace.started", policy="batch")
            begins = systemd.hear(lambda message: "RELOADING=1" in message)
            assert begins[1].startswith("MONOTONIC_USEC=")
            assert systemd.hear(lambda message: "READY=1" in message)[1] == "STATUS=the new configuration is in force"

            installation.write(rotator, policies=[first])  # and no signal
            service.wait_for_event("configuration.reloaded", times=2)
            systemd.hear(lambda message: status_of(message) == "policies: 1, looks under way: 0")
            assert service.stop() == 0
    added, removed = of(service, "configuration.reloaded")
    assert (added["policies_added"], removed["policies_removed"]) == (["batch"], ["batch"])
    assert "policies_changed" not in added
    assert count(service.events(), "key.revoked") == 0
    assert record(installation.folder, "batch").current is not None
    assert {key["state"] for key in installation.simulator.keys(project=PROJECT)} == {"live"}


def test_what_is_wrong_is_told_with_file_line_and_field_and_changes_nothing(installation: Installation) -> None:
    """One service, one fault after the other: it goes on with the last good configuration, and takes up the next."""
    rotator = installation.rotator(include=["more.yaml"])
    more = installation.folder / "more.yaml"
    good_more = yaml.safe_dump({"policies": [installation.another()]})
    more.write_text(good_more)
    good = rotator.config.read_text()
    kept = 0
    with rotator.service() as service:
        service.wait_for_event("grace.started", policy="batch")

        def refused(file: Path, field: str, *, line: bool = True) -> dict[str, Any]:
            nonlocal kept
            kept += 1
            before = len(of(service, "configuration.fault"))
            hang_up(service)
            service.wait_for_event("configuration.kept", times=kept)
            faults = of(service, "configuration.fault")[before:]
            (fault,) = [one for one in faults if one["field"].startswith(field) and one["file"] == str(file)]
            assert bool(fault["line"]) == line
            return fault

        rotator.config.write_text(good[: len(good) // 2] + "\n  broken: [\n")
        refused(rotator.config, "")
        rotator.config.write_text(good + "colour: red\n")
        assert refused(rotator.config, "colour")["line"] == good.count("\n") + 1
        rotator.config.write_text(good)
        more.unlink()
        assert refused(rotator.config, "include[0]")["found"].endswith("more.yaml'")
        more.write_text(good_more.replace("batch", POLICY))
        refused(more, "policies[0]")
        more.write_text(good_more)
        rotator.config.unlink()
        refused(rotator.config, "", line=False)
        rotator.config.write_text(good.replace("instance: e2e", "instance: other"))
        assert refused(rotator.config, "instance", line=False)["allowed"] == "it needs a restart"
        secret = installation.by_hand.secret.reveal()
        rotator.config.write_text(good + f"colour: {secret}\n")
        kept += 1
        hang_up(service)
        service.wait_for_event("configuration.kept", times=kept)
        assert of(service, "configuration.reloaded") == []

        rotator.config.write_text(good)
        hang_up(service)
        hang_up(service)
        service.wait_for_event("configuration.reloaded")
        assert rotator.command("rotate", POLICY, "--reason", "it still works").returncode == 0
        service.wait_for_event("grace.started", policy=POLICY)
        assert service.stop() == 0
    assert all(secret not in line for line in service.lines)
    assert count(service.events(), "configuration.crashed") == count(service.events(), "look.crashed") == 0


def test_a_rotation_in_flight_ends_as_it_began_and_a_signal_at_the_end_changes_nothing(
    installation: Installation,
) -> None:
    rotator = installation.rotator(due_in=DUE)
    installation.simulator.fault("hang", delay=1.5, **CREATE)
    moved = policy(in_file(installation.folder / "moved.env"))
    with rotator.service() as service:
        until(lambda: installation.simulator.counters()["requests"].get("POST /v1/projects/{project_id}/api-keys"))
        backends = {"local": {"type": "dotenv"}}  # another lane
        moved["destinations"][0]["backend"] = "local"
        installation.write(rotator, policies=[moved], backends=backends)
        hang_up(service)
        service.wait_for_event("configuration.reloaded")
        service.wait_for_event("destination.published")
        until((installation.folder / "moved.env").exists)
        hang_up(service)
        assert service.stop() == 0
    published = of(service, "destination.published")
    assert str(installation.folder / ".env") in published[0]["destination"]
    assert count(service.events(), "look.crashed") == count(service.events(), "crashed") == 0
    assert len(ours(installation.simulator)) >= 1
