"""The trail of requests, from which a test proves what did not happen."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from rotator.simulator.trail import Trail
from tests.parts.simulator import PROJECT, Simulator

KEYS = f"/v1/projects/{PROJECT}/api-keys"


@pytest.fixture
def manager(simulator: Simulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {simulator.management_key.reveal()}"}
    with httpx.Client(base_url=simulator.base_url, headers=headers, trust_env=False) as client:
        yield client


def test_the_trail_tells_who_asked_for_what_and_what_was_answered(simulator: Simulator, manager: httpx.Client) -> None:
    made = manager.post(KEYS, json={"name": "n"}).json()
    manager.get("/v3/whoami", headers={"Authorization": f"Bearer {made['key']}"})
    manager.delete(f"{KEYS}/{made['id']}")
    manager.get("/v3/whoami", headers={"Authorization": f"Bearer {made['key']}"})
    manager.get("/v9/nothing", headers={"Authorization": "Bearer nobody"})

    trail = simulator.requests()

    assert [step.n for step in trail] == [1, 2, 3, 4, 5]
    assert [(step.method, step.template, step.project_id, step.key_id) for step in trail] == [
        ("POST", "/v1/projects/{project_id}/api-keys", PROJECT, None),
        ("GET", "/v3/whoami", None, None),
        ("DELETE", "/v1/projects/{project_id}/api-keys/{key_id}", PROJECT, made["id"]),
        ("GET", "/v3/whoami", None, None),
        ("GET", "(no such path)", None, None),
    ]
    assert [(step.credential, step.status, step.effect) for step in trail] == [
        ("key_management", 201, None),
        (made["id"], 200, None),
        ("key_management", 204, None),
        (made["id"], 401, None),
        (None, 404, None),
    ]
    times = [moment for step in trail for moment in (step.at, step.done_at)]
    assert times == sorted(times)
    assert made["key"] not in json.dumps([vars(step) for step in trail], default=str)


@pytest.mark.parametrize(
    ("effect", "more", "status", "carried_out"),
    [
        ("error_before", {}, 500, False),
        ("error_after", {}, 500, True),
        ("refuse_keys", {}, 401, False),
        ("html", {}, 200, False),
        ("reset_before", {}, None, False),
        ("reset_after", {}, None, True),
        ("hang", {}, None, False),
        ("hang_after", {}, None, True),
        ("truncated", {}, 201, True),
        ("truncated_json", {}, 201, True),
        ("late_answer", {"delay": 0.01}, 201, True),
        ("other_name", {}, 201, True),
    ],
)
def test_the_trail_tells_which_fault_met_a_request_and_whether_it_was_carried_out(
    simulator: Simulator,
    manager: httpx.Client,
    effect: str,
    more: dict[str, object],
    status: int | None,
    *,
    carried_out: bool,
) -> None:
    simulator.fault(effect, **more)
    try:
        manager.post(KEYS, json={"name": "n"}, timeout=0.2)
    except httpx.TransportError:
        assert status is None or effect == "truncated"
    (step,) = simulator.requests()
    assert (step.effect, step.status, step.done_at is not None) == (effect, status, carried_out)
    assert len(simulator.keys(project=PROJECT)) == int(carried_out)


def test_the_answer_to_somebody_who_is_gone_is_none(simulator: Simulator, manager: httpx.Client) -> None:
    simulator.fault("hang", delay=0.2)
    with pytest.raises(httpx.ReadTimeout):
        manager.post(KEYS, json={"name": "n"}, timeout=0.05)
    while not (step := simulator.requests()[0]).done_at:
        threading.Event().wait(0.01)
    assert step.status is None
    assert len(simulator.keys(project=PROJECT)) == 1


def test_a_person_and_the_rehearsal_leave_no_trail(simulator: Simulator) -> None:
    simulator.revoke_by_hand(simulator.create_key_by_hand().key_id)
    assert simulator.requests() == []


def test_the_trail_can_be_read_on_from_a_number_and_begun_anew(simulator: Simulator, manager: httpx.Client) -> None:
    for _ in range(3):
        manager.get(KEYS)
    assert [step.n for step in simulator.requests(after=2)] == [3]
    simulator.clear_requests()
    manager.get(KEYS)
    assert [step.n for step in simulator.requests()] == [1]
    simulator.reset()
    assert simulator.requests() == []


def test_revocations_are_those_that_reached_the_platform(simulator: Simulator, manager: httpx.Client) -> None:
    key = simulator.create_key_by_hand()
    simulator.fault("error_before", method="DELETE")
    manager.delete(f"{KEYS}/{key.key_id}")
    assert simulator.revocations() == []
    manager.delete(f"{KEYS}/{key.key_id}")
    assert [step.key_id for step in simulator.revocations()] == [key.key_id]


def test_the_trail_forgets_the_oldest_beyond_its_bound(simulator: Simulator) -> None:
    trail, now = Trail(), simulator.advance(0)
    for _ in range(20_001):
        trail.begin(at=now, method="GET", template="/", path={}, credential=None, effect=None)
    kept = trail.report()
    assert (len(kept), kept[0]["n"], kept[-1]["n"]) == (20_000, 2, 20_001)
