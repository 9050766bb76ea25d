"""What makes the simulator fit for rehearsals: faults, counters, the process itself."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.parts.simulator import PROJECT, Simulator

KEYS = f"/v1/projects/{PROJECT}/api-keys"


def statuses(simulator: Simulator, count: int, path: str = "/v1/models") -> list[int]:
    secret = simulator.create_key_by_hand().secret
    headers = {"Authorization": f"Bearer {secret.reveal()}"}
    with httpx.Client(base_url=simulator.base_url, headers=headers, trust_env=False) as client:
        return [client.get(path).status_code for _ in range(count)]


def test_a_rule_lets_some_pass_and_fires_so_many_times(simulator: Simulator) -> None:
    simulator.fault("status", path="^/v1/models$", skip=1, times=2, status=503)
    assert statuses(simulator, 5) == [200, 503, 503, 200, 200]


def test_a_rule_without_an_end_fires_until_it_is_cleared(simulator: Simulator) -> None:
    simulator.fault("error_before", method="get", times=None)
    assert statuses(simulator, 3) == [500, 500, 500]
    simulator.clear_faults()
    assert statuses(simulator, 1) == [200]


def test_a_rule_of_another_method_or_path_does_not_fire(simulator: Simulator) -> None:
    simulator.fault("error_before", method="POST", times=None)
    simulator.fault("error_before", path="/v3/", times=None)
    assert statuses(simulator, 2) == [200, 200]


def test_rules_fire_in_the_order_in_which_they_were_added(simulator: Simulator) -> None:
    simulator.fault("status", status=503)
    simulator.fault("status", status=429, retry_after="2")
    assert statuses(simulator, 3) == [503, 429, 200]


@pytest.mark.parametrize(
    "rule",
    [
        {"effect": "explode"},
        {},
        {"effect": "hang", "typo": 1},
        {"effect": "hang", "skip": -1},
        {"effect": "hang", "match": {"path_regex": "("}},
        {"effect": "hang", "match": {"path": "/"}},
    ],
)
def test_a_rule_that_can_not_work_is_refused(simulator: Simulator, rule: dict[str, object]) -> None:
    with pytest.raises(RuntimeError, match="422"):
        simulator.faults([rule])


def test_counters_count_changing_requests_but_no_inference_and_no_control(simulator: Simulator) -> None:
    headers = {"Authorization": f"Bearer {simulator.management_key.reveal()}"}
    with httpx.Client(base_url=simulator.base_url, headers=headers, trust_env=False) as client:
        client.get(KEYS)
        client.post(KEYS, json={"name": "x"})
        client.delete(f"{KEYS}/key_nowhere")
        client.post("/v1/chat/completions", json={})
        client.put("/v9/nothing")
    simulator.create_key_by_hand()
    counters = simulator.counters()
    assert counters["requests"] == {
        "GET /v1/projects/{project_id}/api-keys": 1,
        "POST /v1/projects/{project_id}/api-keys": 1,
        "DELETE /v1/projects/{project_id}/api-keys/{key_id}": 1,
        "POST /v1/chat/completions": 1,
        "PUT (no such path)": 1,
    }
    assert counters["changing_requests"] == 3
    simulator.clear_counters()
    assert simulator.counters()["requests"] == {}


def test_a_reset_forgets_keys_faults_counters_and_time(simulator: Simulator) -> None:
    before = simulator.advance(0)
    simulator.advance(86400)
    simulator.create_key_by_hand()
    simulator.fault("error_before", times=None)
    simulator.reset()
    assert simulator.keys(project=PROJECT) == []
    assert simulator.counters()["requests"] == {}
    assert (simulator.advance(0) - before).total_seconds() < 3600
    assert statuses(simulator, 1) == [200]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rotator.simulator", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_sigterm_ends_it_within_a_second_although_a_request_hangs() -> None:
    simulator = Simulator()
    with simulator:
        simulator.fault("hang", path="/v3/whoami")
        host, port = simulator.base_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /v3/whoami HTTP/1.1\r\nHost: simulator\r\n\r\n")
            deadline = time.monotonic() + 10
            while not simulator.counters()["requests"] and time.monotonic() < deadline:
                threading.Event().wait(0.01)
            began = time.monotonic()
            assert simulator.stop() == 0
            assert time.monotonic() - began < 1


def test_a_seed_file_is_planted_and_nothing_of_it_is_printed(tmp_path: Path) -> None:
    """Promise 3, for the rehearsal's own process: no secret in what it prints, whatever a client sends."""
    seed = {
        "organizations": [
            {
                "name": "A",
                "management_keys": [{"name": "m", "secret": "manager-secret"}],
                "projects": [{"id": "proj_a", "name": "A", "keys": [{"name": "k", "secret": "tgp_v1_planted"}]}],
            }
        ]
    }
    (tmp_path / "seed.json").write_text(json.dumps(seed))
    process = start("--seed", str(tmp_path / "seed.json"))
    assert process.stdout is not None
    base_url = process.stdout.readline().strip()
    with httpx.Client(base_url=base_url, trust_env=False) as client:
        client.headers["Authorization"] = "Bearer tgp_v1_planted"
        assert client.get("/v1/whoami").json()["project_id"] == "proj_a"
        client.headers["Authorization"] = "Bearer manager-secret"
        issued = client.post("/v1/projects/proj_a/api-keys", json={"name": "n"}).json()["key"]
        client.post("/v1/projects/proj_a/api-keys", content=b"tgp_v1_planted")
    with socket.create_connection(("127.0.0.1", int(base_url.rpartition(":")[2]))) as connection:
        connection.sendall(b"tgp_v1_planted is no HTTP\r\n\r\n")
        connection.recv(4096)
    process.terminate()
    output = "".join(process.communicate(timeout=10))
    assert not any(secret in output for secret in ("tgp_v1_planted", "manager-secret", issued))


@pytest.mark.parametrize("text", ["", "[]", '{"organisations": []}', '{"organizations": [{}]}'])
def test_a_seed_file_that_is_wrong_ends_it_with_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "seed.json").write_text(text)
    process = start("--seed", str(tmp_path / "seed.json"))
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (2, "")
    assert "Traceback" not in errors
    assert "error: " in errors
