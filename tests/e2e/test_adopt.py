"""``rotator adopt POLICY`` as a person uses it, beside a running service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.installation import FIELD, credentials, document, in_file, policy, record, soon
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
        wrong = rotator.call("adopt", "chat", "--expires", "never")
        assert wrong.returncode == 1
        assert "the provider says that it ends at" in wrong.stderr

        done = rotator.call("adopt", "chat", "--expires", f"{end:%Y-%m-%d}")

        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert f"chat: {second.key_id} is the current key; it ends at {end:%Y-%m-%d}" in done.stdout
        service.wait_for_event("looked", check="NothingDue", times=2, seconds=6)
        assert "is the current key already" in rotator.call("adopt", "chat").stdout
        assert service.stop() == 0
    (current,) = record(tmp_path).keys
    assert current.key_id == second.key_id
    assert json.loads(rotator.call("status", "--json").stdout)["policies"][0]["keys"][0]["expires_at"]


def test_what_can_not_be_adopted_is_refused_in_a_sentence(
    tmp_path: Path, simulator: Simulator, rotator: Rotator
) -> None:
    foreign = simulator.create_key_by_hand(OTHER_PROJECT, "theirs")
    (tmp_path / ".env").write_text(f"{FIELD}={foreign.secret.reveal()}\n")
    done = rotator.call("adopt", "chat")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"chat: can't be adopted: dotenv:{tmp_path}/.env#{FIELD}: holds {foreign.key_id} of project" in done.stderr
    for arguments, said in ((["chta"], "no policy 'chta'"), (["chat", "--expires", "soon"], "like 2026-12-24")):
        done = rotator.call("adopt", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
