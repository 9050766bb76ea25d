"""What goes wrong on the way, over HTTP: lateness, cut answers, limits, an outage, a clock that is off."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest

from tests.parts.simulator import PROJECT, Simulator

KEYS = f"/v1/projects/{PROJECT}/api-keys"


@pytest.fixture
def manager(simulator: Simulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {simulator.management_key.reveal()}"}
    with httpx.Client(base_url=simulator.base_url, headers=headers, trust_env=False) as client:
        yield client


def until_asked(simulator: Simulator, *, done: bool) -> None:
    """Until a request has arrived, and was carried out or not."""
    deadline = time.monotonic() + 10
    while not any((step.done_at is not None) == done for step in simulator.requests()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


@pytest.mark.parametrize(("effect", "done"), [("hang", False), ("late_answer", True)])
def test_a_delay_is_before_the_effect_or_before_the_answer(
    simulator: Simulator, manager: httpx.Client, effect: str, *, done: bool
) -> None:
    simulator.fault(effect, delay=0.3)
    answers: list[int] = []
    sender = threading.Thread(target=lambda: answers.append(manager.post(KEYS, json={"name": "n"}).status_code))
    sender.start()
    until_asked(simulator, done=done)
    assert len(simulator.keys(project=PROJECT)) == int(done)
    assert answers == []
    sender.join(timeout=10)
    assert answers == [201]
    assert len(simulator.keys(project=PROJECT)) == 1


def test_json_is_cut_in_half_in_a_complete_answer(simulator: Simulator, manager: httpx.Client) -> None:
    simulator.fault("truncated_json")
    answer = manager.post(KEYS, json={"name": "n"})
    assert answer.status_code == 201
    assert int(answer.headers["content-length"]) == len(answer.content) > 0
    assert answer.text.startswith('{"id":"key_')
    assert not answer.text.endswith("}")
    assert manager.get(KEYS).json()["data"][0]["name"] == "n"


def test_an_answer_without_a_body_has_nothing_to_cut(simulator: Simulator, manager: httpx.Client) -> None:
    key = simulator.create_key_by_hand()
    simulator.fault("truncated_json")
    assert manager.delete(f"{KEYS}/{key.key_id}").status_code == 204


@pytest.mark.parametrize("seconds", ["3", 3])
def test_a_rate_limit_can_say_its_end_in_the_header_of_the_platform_alone(
    simulator: Simulator, manager: httpx.Client, seconds: object
) -> None:
    simulator.fault("status", status=429, ratelimit_reset=seconds)
    answer = manager.get(KEYS)
    assert (answer.status_code, answer.headers["x-ratelimit-reset"]) == (429, "3")
    assert "retry-after" not in answer.headers


def test_an_outage_refuses_every_key_for_a_while(simulator: Simulator, manager: httpx.Client) -> None:
    key = simulator.create_key_by_hand()
    simulator.refuse_all_keys(60)
    headers = {"Authorization": f"Bearer {key.secret.reveal()}"}
    for _ in range(2):
        answer = manager.get("/v3/whoami", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert manager.delete(f"{KEYS}/{key.key_id}").status_code == 401
    assert simulator.key(key.key_id)["state"] == "live"
    simulator.advance(60)
    assert manager.get("/v3/whoami", headers=headers).status_code == 200


def test_a_rule_can_begin_later(simulator: Simulator, manager: httpx.Client) -> None:
    simulator.fault("status", times=None, start=100, lasts=50)
    seen = [manager.get(KEYS).status_code]
    for seconds in (100, 49, 1):
        simulator.advance(seconds)
        seen.append(manager.get(KEYS).status_code)
    assert seen == [200, 503, 503, 200]


@pytest.mark.parametrize("skew", [-7200, 86400])
def test_only_the_date_header_is_off(simulator: Simulator, manager: httpx.Client, skew: int) -> None:
    simulator.settings(date_skew=skew)
    answer = manager.post(KEYS, json={"name": "n"})
    now = simulator.advance(0)
    off = parsedate_to_datetime(answer.headers["Date"]) - now - timedelta(seconds=skew)
    assert abs(off) < timedelta(seconds=5)
    assert abs(time.time() - now.timestamp()) < 5
    assert answer.json()["created_at"][:10] == now.date().isoformat()
    simulator.reset()
    assert abs(parsedate_to_datetime(manager.get(KEYS).headers["Date"]).timestamp() - time.time()) < 5


def test_the_whole_clock_can_be_behind(simulator: Simulator, manager: httpx.Client) -> None:
    now = simulator.advance(-86400)
    assert abs(now.timestamp() + 86400 - time.time()) < 5
    assert abs(parsedate_to_datetime(manager.get(KEYS).headers["Date"]) - now) < timedelta(seconds=5)
