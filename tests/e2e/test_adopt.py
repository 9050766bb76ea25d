"""``rotator adopt POLICY`` and ``rotator forget POLICY`` as a person uses them, beside a running service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.installation import FIELD, credentials, document, in_file, policy, record, soon
from tests.parts.here import here
from tests.parts.rotator import Rotator
from tests.parts.simulator import OTHER_PROJECT, PROJECT, Simulator


@pytest.fixture
def rotator(tmp_path: Path, simulator: Simulator) -> Rotator:
    """A policy that leaves alone what others have changed, with a key that is not due."""
    first = simulator.create_key_by_hand(PROJECT, "first", expires_at=soon(3600))
    (tmp_path / ".env").write_text(f"{FIELD}={first.secret.reveal()}\n")
    made = document(tmp_path, simulator.base_url, [{**policy(in_file(tmp_path / ".env")), "drift": "alert"}])
    return Rotator(tmp_path, made, {**credentials(simulator), "COLUMNS": "200"})


def test_a_service_goes_on_with_the_adopted_key_within_seconds(
    tmp_path: Path, simulator: Simulator, rotator: Rotator
) -> None:
    with rotator.service(arguments=["--log-level", "debug"]) as service:
        service.wait_for_event("key.adopted")
        end = datetime.now(UTC) + timedelta(days=3)
        second = simulator.create_key_by_hand(PROJECT, "second", expires_at=end)
        (tmp_path / ".env").write_text(f"{FIELD}={second.secret.reveal()}\n")
        wrong = here(rotator, "adopt", "chat", "--expires", "never")
        assert wrong.exit_code == 1
        assert "the provider says that it ends at" in wrong.stderr

        done = here(rotator, "adopt", "chat", "--expires", f"{end:%Y-%m-%d}")

        assert (done.exit_code, done.stderr) == (0, ""), done.stderr
        assert f"chat: {second.key_id} is the current key; it ends at {end:%Y-%m-%d}" in done.stdout
        assert all(line.startswith("chat: ") for line in done.stdout.splitlines()), "no log is among what it prints"
        service.wait_for_event("looked", check="NothingDue", times=2, seconds=20)
        assert "is the current key already" in here(rotator, "adopt", "chat").stdout
        assert service.stop() == 0
    (current,) = record(tmp_path).keys
    assert current.key_id == second.key_id
    assert json.loads(here(rotator, "status", "--json").stdout)["policies"][0]["keys"][0]["expires_at"]


def test_what_can_not_be_adopted_is_refused_in_a_sentence(
    tmp_path: Path, simulator: Simulator, rotator: Rotator
) -> None:
    foreign = simulator.create_key_by_hand(OTHER_PROJECT, "theirs")
    (tmp_path / ".env").write_text(f"{FIELD}={foreign.secret.reveal()}\n")
    done = here(rotator, "adopt", "chat")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"chat: can't be adopted: dotenv:{tmp_path}/.env#{FIELD}: holds {foreign.key_id} of project" in done.stderr
    for arguments, said in ((["chta"], "no policy 'chta'"), (["chat", "--expires", "soon"], "like 2026-12-24")):
        done = here(rotator, "adopt", *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr


def test_a_policy_that_left_the_configuration_is_shown_and_forgotten_with_a_reason(
    tmp_path: Path, simulator: Simulator, rotator: Rotator
) -> None:
    assert here(rotator, "adopt", "chat").exit_code == 0
    assert here(rotator, "--run-once").exit_code == 0
    (current,) = record(tmp_path).keys
    why = ["--reason", "sold"]
    done = here(rotator, "forget", "chat", *why, "--even-so")
    assert done.exit_code == 1
    assert "it is in the configuration" in done.stderr
    without = document(tmp_path, simulator.base_url, [policy(in_file(tmp_path / "other.env"), name="other")])
    rotator = Rotator(tmp_path, without, {**credentials(simulator), "COLUMNS": "200"})

    assert f"chat: not configured any more; keys that nobody renews or revokes: {current.key_id}" in (
        here(rotator, "status").stdout
    )
    done = here(rotator, "forget", "chat", *why)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"  - {current.key_id} is the current key, and is held by dotenv:{tmp_path}/.env#{FIELD}" in done.stderr
    done = here(rotator, "forget", "chat", *why, "--even-so")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"{current.key_id} 'first': current, project {PROJECT}, ends at" in done.stdout

    assert here(rotator, "forget", "chat", *why).stdout == "chat: forgotten already\n"
    assert "chat" not in here(rotator, "status").stdout
    assert simulator.key(current.key_id)["state"] == "live"
    wrong = here(rotator, "forget", "chta", *why)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "the journal has no policy 'chta'" in wrong.stderr
