"""The main job: a key that a person put into three places is adopted, replaced, and revoked after its grace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from rotator.domain.naming import key_name
from tests.e2e.installation import (
    FIELD,
    INSTANCE,
    NEIGHBOUR,
    POLICY,
    Places,
    at_rest,
    credentials,
    document,
    ours,
    policy,
    record,
    soon,
    until,
)
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator, count
from tests.parts.simulator import OTHER_PROJECT, PROJECT, HandMadeKey, Simulator


@dataclass(frozen=True)
class Installation:
    """A rotator, its three places, the key that a person put there, and the keys of others as they were."""

    rotator: Rotator
    places: Places
    simulator: Simulator
    by_hand: HandMadeKey
    foreign: list[dict[str, Any]]


@pytest.fixture
def installation(tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws) -> Installation:
    places = Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws)
    # Adopted at the first look, and due a moment later.
    by_hand = simulator.create_key_by_hand(PROJECT, "made by hand", expires_at=soon(12))
    other_instance = key_name("prod", POLICY, datetime.now(UTC), b"12345")
    other_policy = key_name(INSTANCE, "batch", datetime.now(UTC), b"12345")
    for project, name in ((PROJECT, "someone's"), (PROJECT, other_instance), (PROJECT, other_policy)):
        simulator.create_key_by_hand(project, name, expires_at=soon(12))
    simulator.create_key_by_hand(OTHER_PROJECT, key_name(INSTANCE, POLICY, datetime.now(UTC), b"12345"))
    foreign = [key for key in simulator.keys() if key["id"] not in (by_hand.key_id, "key_management")]
    places.put(by_hand.secret.reveal())
    configuration = document(tmp_path, simulator.base_url, [policy(places.destinations())], places.backends())
    rotator = Rotator(tmp_path, configuration, {**credentials(simulator), **places.least_credentials()})
    return Installation(rotator, places, simulator, by_hand, foreign)


def by_the_service(installation: Installation) -> None:
    with installation.rotator.service() as service:
        service.wait_for_event("key.adopted", key_id=installation.by_hand.key_id)
        # Nothing is rotated merely because the rotator was just installed.
        assert installation.places.held() == {installation.by_hand.secret.reveal()}
        assert ours(installation.simulator) == []
        service.wait_for_event("grace.started")
        assert installation.simulator.key(installation.by_hand.key_id)["state"] == "live"
        service.wait_for_event("key.closed", key_id=installation.by_hand.key_id)
        assert service.stop() == 0
    events = service.events()
    assert count(events, "key.issued") == count(events, "key.verified") == count(events, "grace.started") == 1
    assert count(events, "destination.published") == 3
    assert count(events, "key.revoked", key_id=installation.by_hand.key_id) == 1
    assert count(events, "problem") == 0


def by_cron(installation: Installation) -> None:
    said: list[str] = []

    def a_pass_leaves_nothing_to_do() -> bool:
        done = installation.rotator.run_once()
        assert (done.returncode, done.stderr) == (0, ""), done
        said.append(done.stdout)
        return at_rest(installation.rotator.folder) and bool(ours(installation.simulator))

    until(a_pass_leaves_nothing_to_do)
    story = "".join(said)
    by_hand = installation.by_hand.key_id
    assert f"adopted {by_hand}" in said[0]
    assert "replaced" not in said[0], "nothing is rotated merely because the rotator was just installed"
    assert story.count(f"{by_hand} replaced by ") == story.count(f"revoked {by_hand}") == 1
    assert "refused by the provider: 401 invalid_api_key" in story


@pytest.mark.parametrize("run", [by_the_service, by_cron])
def test_a_key_made_by_hand_is_adopted_replaced_and_revoked_in_all_three_places(
    run: Callable[[Installation], None], installation: Installation
) -> None:
    """Promises 1, 2 and 7, with an AppRole of the least rights."""
    run(installation)

    simulator, places = installation.simulator, installation.places
    (new,) = ours(simulator)
    assert simulator.key(installation.by_hand.key_id)["state"] == "revoked"
    assert simulator.key(new)["state"] == "live"
    contents = places.contents()
    (secret,) = places.held()
    assert chat(simulator, secret) == 200
    assert chat(simulator, installation.by_hand.secret.reveal()) == 401
    assert contents == {
        "dotenv": {NEIGHBOUR: "kept", FIELD: secret, "MODEL": "big"},
        "openbao": {NEIGHBOUR: "kept", FIELD: secret},
        "aws": {NEIGHBOUR: "kept", FIELD: secret},
    }
    assert places.dotenv.read_text().startswith("# the chat service reads this\n")
    (current,) = record(installation.rotator.folder).keys
    assert current.key_id == new
    for hints in places.hints().values():
        assert hints["key_id"] == new
        assert hints["previous_key_id"] == installation.by_hand.key_id
        assert hints["rotation_id"] == current.rotation_id
        assert hints["fingerprint"] == current.fingerprint
        assert (hints["instance"], hints["policy"], hints["project"]) == (INSTANCE, POLICY, PROJECT)
    untouched = {key["id"] for key in installation.foreign}
    assert [key for key in simulator.keys() if key["id"] in untouched] == installation.foreign
    live = {key["id"] for key in simulator.keys(project=PROJECT, state="live")}
    assert live - untouched == {new}


def chat(simulator: Simulator, secret: str) -> int:
    """The status of a consumer's call."""
    body = {"model": "demo/model", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.post(f"{simulator.base_url}/v1/chat/completions", json=body, headers=headers).status_code
