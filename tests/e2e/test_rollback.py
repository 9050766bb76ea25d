"""``rotator rollback`` on real parts: all places hold the former key again, and it ends when it would have ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.domain.secret import SecretValue
from tests.e2e.installation import FIELD, Places, credentials, document, policy
from tests.parts.aws import CREDENTIALS, Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator
from tests.parts.simulator import PROJECT, Simulator

LONG = {"lifetime": "30d", "renew_before": "7d", "grace": "24h"}
ENDS = datetime.now(UTC).replace(microsecond=0) + timedelta(days=60)


class Installed:
    """A policy whose key was adopted and replaced a moment ago."""

    def __init__(self, rotator: Rotator, places: Places, simulator: Simulator) -> None:
        self.rotator, self.places, self.simulator = rotator, places, simulator
        key = simulator.create_key_by_hand(PROJECT, "made by hand", expires_at=ENDS)
        self.former, self.former_id = key.secret.reveal(), key.key_id
        places.put(self.former)
        rotator.call("--run-once")
        rotator.call("rotate", "chat", "--reason", "test")
        rotator.call("--run-once")
        (self.newer,) = places.held()
        assert self.newer != self.former

    def expiration(self) -> datetime:
        (row,) = [key for key in self.simulator.keys(project=PROJECT) if key["id"] == self.former_id]
        return datetime.fromisoformat(row["expires_at"])


@pytest.fixture
def installed(tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws) -> Installed:
    places = Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws)
    configuration = document(tmp_path, simulator.base_url, [policy(places.destinations(), **LONG)], places.backends())
    environ = {**CREDENTIALS, **credentials(simulator), **places.least_credentials()}
    return Installed(Rotator(tmp_path, configuration, environ), places, simulator)


def test_the_former_key_is_put_back_into_every_place_by_the_command_itself(installed: Installed) -> None:
    assert installed.expiration() < ENDS, "it was to end soon after its grace"

    done = installed.rotator.call("rollback", "chat", "--reason", "requests fail")

    assert done.returncode == 0
    assert f"chat: {installed.former_id} is to be put back" in done.stdout
    assert f"{installed.former_id} everywhere again" in done.stdout
    assert done.stderr == ""
    assert all(line.startswith("chat: ") for line in done.stdout.splitlines()), "no log is among what it prints"
    assert installed.places.held() == {installed.former}
    assert installed.expiration() == ENDS
    assert {hints["key_id"] for hints in installed.places.hints().values()} == {installed.former_id}
    assert installed.simulator.chat(SecretValue(installed.former)) == 200
    assert installed.simulator.chat(SecretValue(installed.newer)) == 200, "consumers may hold it: it has a grace"
    assert installed.rotator.call("--run-once").stdout.count("not due") >= 1
    assert installed.places.held() == {installed.former}


def test_a_second_rollback_and_one_without_a_rotation_are_refused_clearly(installed: Installed) -> None:
    installed.rotator.call("rollback", "chat", "--reason", "requests fail")
    again = installed.rotator.call("rollback", "chat", "--reason", "again")
    assert "can't be rolled back: there is no rotation to take back" in again.stderr
    unknown = installed.rotator.call("rollback", "chta", "--reason", "a typing error")
    assert "no policy 'chta'" in unknown.stderr
    silent = installed.rotator.call("rollback", "chat")
    assert "--reason" in silent.stderr
    assert [call.returncode for call in (again, unknown, silent)] == [1, 2, 2]
    assert installed.places.held() == {installed.former}


def test_a_policy_with_nothing_but_dotenv_files_says_that_they_keep_no_value(
    tmp_path: Path, simulator: Simulator
) -> None:
    file = tmp_path / ".env"
    key = simulator.create_key_by_hand(PROJECT, "made by hand")
    file.write_text(f"{FIELD}={key.secret.reveal()}\n")
    destinations = [{"backend": "dotenv", "path": str(file), "field": FIELD}]
    configuration = document(tmp_path, simulator.base_url, [policy(destinations, **LONG)])
    rotator = Rotator(tmp_path, configuration, credentials(simulator))
    rotator.call("--run-once")
    rotator.call("rotate", "chat", "--reason", "test")
    rotator.call("--run-once")
    before = file.read_text()

    refused = rotator.call("rollback", "chat", "--reason", "requests fail")

    assert refused.returncode == 1
    assert "a dotenv file keeps none" in refused.stdout
    assert file.read_text() == before
    assert "rollback" not in rotator.call("status").stdout


def test_a_rollback_of_a_policy_on_hold_says_that_it_waits_and_an_extended_grace_moves_the_old_keys_end(
    installed: Installed,
) -> None:
    """One installation for both, because setting it up takes longer than all of this."""
    rotator, before = installed.rotator, installed.expiration()
    refused = rotator.call("extend-grace", "chat", "--by", "100d", "--reason", "a slow consumer")
    assert refused.returncode == 1
    assert f"{installed.former_id} ends by itself at" in refused.stderr

    longer = rotator.call("extend-grace", "chat", "--by", "10d", "--reason", "a slow consumer")
    assert (longer.returncode, longer.stderr) == (0, "")
    assert f"chat: {installed.former_id} stays valid until " in longer.stdout
    assert f"{installed.former_id} retiring until " in rotator.call("status").stdout
    rotator.call("--run-once")
    assert installed.expiration() == before + timedelta(days=7), "11 days, and an hour, instead of 4"
    assert installed.simulator.chat(SecretValue(installed.former)) == 200

    assert rotator.call("hold", "--all", "--for", "8h", "--reason", "a freeze").stdout.startswith(
        "chat: on hold until "
    )
    assert "on hold until " in rotator.call("status").stdout
    waits = rotator.call("rollback", "chat", "--reason", "requests fail")
    assert waits.returncode == 75
    assert f"{installed.former_id} is put back when the policy is released" in waits.stdout
    assert installed.places.held() == {installed.newer}
    rotator.call("release", "--all")
    rotator.call("--run-once")
    assert installed.places.held() == {installed.former}
