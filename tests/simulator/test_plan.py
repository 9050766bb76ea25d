"""Plans of faults: chance that can be repeated, and files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from tests.parts.simulator import PROJECT, Simulator

KEYS = f"/v1/projects/{PROJECT}/api-keys"
FLAKY = {
    "seed": 7,
    "rules": [{"match": {"path_regex": "^/v1/models$"}, "effect": "status", "skip": 1}],
    "random": [
        {"match": {"method": "GET"}, "effect": "error_before", "probability": 0.3, "status": 500},
        {"match": {"method": "GET"}, "effect": "status", "probability": 0.3, "status": 429, "retry_after": 1},
    ],
}


def statuses(simulator: Simulator, count: int = 60) -> list[int]:
    headers = {"Authorization": f"Bearer {simulator.management_key.reveal()}"}
    with httpx.Client(base_url=simulator.base_url, headers=headers, trust_env=False) as client:
        return [client.get(KEYS).status_code for _ in range(count)]


def test_the_same_seed_and_the_same_requests_make_the_same_faults(simulator: Simulator) -> None:
    runs = []
    for seed in (7, 7, 8):
        simulator.reset()
        simulator.plan(FLAKY | {"seed": seed})
        runs.append(statuses(simulator))
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 500, 429}


def test_another_rule_beside_it_leaves_the_chance_of_a_rule_as_it_was(simulator: Simulator) -> None:
    first, second = FLAKY["random"]
    simulator.plan({"seed": 7, "random": [first]})
    alone = statuses(simulator)
    simulator.reset()
    simulator.plan({"seed": 7, "rules": [{"effect": "status", "times": 3}], "random": [first, second]})
    together = statuses(simulator)
    assert together[:3] == [503, 503, 503]
    assert [status == 500 for status in together][3:] == [status == 500 for status in alone][3:]


@pytest.mark.parametrize(("probability", "seen"), [(0, {200}), (1, {503})])
def test_a_probability_can_be_never_or_always(simulator: Simulator, probability: float, seen: set[int]) -> None:
    simulator.chance(1, "status", probability)
    assert set(statuses(simulator, 20)) == seen


def test_a_random_rule_can_have_an_end(simulator: Simulator) -> None:
    simulator.chance(1, "status", 1, skip=1, times=2)
    assert statuses(simulator, 5) == [200, 503, 503, 200, 200]
    assert simulator.fault_report() == [{"effect": "status", "matched": 5, "fired": 2, "probability": 1}]


BAD = [
    ({"rules": [{"effect": "status"}, {"effect": "explode"}]}, "rules[1].effect"),
    ([{"effect": "explode"}], "rules[0].effect"),
    ({"rules": {}}, "rules"),
    ({"rules": ["status"]}, "rules[0]"),
    ({"rule": []}, "rule"),
    ({"random": [{"effect": "status", "probability": 0.5}]}, "seed"),
    ({"seed": 1.5, "random": [{"effect": "status", "probability": 0.5}]}, "seed"),
    ({"seed": "x"}, "seed"),
    ({"seed": 1, "random": [{"effect": "status"}]}, "random[0].probability"),
    ({"seed": 1, "random": [{"effect": "status", "probability": 2}]}, "random[0].probability"),
    ({"rules": [{"effect": "status", "probability": 0.5}]}, "rules[0].probability"),
    ({"rules": [{"effect": "status", "match": {"method": 1}}]}, "rules[0].match.method"),
    ({"rules": [{"effect": "status", "match": {"path": "/"}}]}, "rules[0].match.path"),
    ({"rules": [{"effect": "status", "status": 99}]}, "rules[0].status"),
    ({"rules": [{"effect": "status", "headers": {"a": 1}}]}, "rules[0].headers.a"),
    ({"rules": [{"effect": "status", "headers": {"a\n": "1"}}]}, "rules[0].headers"),
    ({"rules": [{"effect": "status", "retry_after": "\n"}]}, "rules[0].retry_after"),
    ({"rules": [{"effect": "status", "ratelimit_reset": True}]}, "rules[0].ratelimit_reset"),
    ({"rules": [{"effect": "late_answer"}]}, "rules[0].delay"),
    ({"rules": [{"effect": "status", "age": 1}]}, "rules[0].age"),
    ({"rules": [{"effect": "status", "name": "n"}]}, "rules[0].name"),
    ({"rules": [{"effect": "status", "lasts": -1}]}, "rules[0].lasts"),
]


@pytest.mark.parametrize(("plan", "field"), BAD)
def test_a_plan_that_can_not_work_is_refused_as_a_whole(simulator: Simulator, plan: object, field: str) -> None:
    answer = httpx.post(f"{simulator.base_url}/_simulator/faults", json=plan, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, field)
    assert simulator.fault_report() == []


# --- files ---------------------------------------------------------------------------------------------------

MODULE = [sys.executable, "-m", "rotator.simulator"]
COMMAND = [sys.executable, "-m", "rotator", "simulator", "--port", "0"]


@pytest.mark.parametrize("command", [MODULE, COMMAND])
@pytest.mark.parametrize("name", ["faults.yaml", "faults.json"])
def test_a_file_of_faults_is_in_force_from_the_first_request(tmp_path: Path, command: list[str], name: str) -> None:
    file = tmp_path / name
    file.write_text(json.dumps(FLAKY) if name.endswith(".json") else yaml.safe_dump(FLAKY))
    process = subprocess.Popen([*command, "--faults", str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        base_url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=base_url, trust_env=False) as client:
            client.get("/v1/models")
            assert client.get("/v1/models").status_code == 503
            assert [rule["matched"] for rule in client.get("/_simulator/faults").json()] == [2, 2, 2]
    finally:
        process.terminate()
        process.communicate(timeout=10)


def refused(file: Path) -> str:
    done = subprocess.run([*MODULE, "--faults", str(file)], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {file}: ")
    return line.removeprefix(f"error: {file}: ")


@pytest.mark.parametrize(
    ("plan", "field"), [*BAD[:2], ({"rules": [{"effect": "status", 7: 1}]}, "rules[0].7"), (None, "the top level")]
)
def test_a_file_that_is_wrong_is_refused_in_one_line_that_names_the_field(
    tmp_path: Path, plan: object, field: str
) -> None:
    (tmp_path / "faults.yaml").write_text(yaml.safe_dump(plan))
    assert refused(tmp_path / "faults.yaml").startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("faults.yaml", b"", "a JSON object is wanted"),
        ("faults.yaml", b"rules:\n  - {effect: status\n", "line 3: "),
        ("faults.json", b"{rules: []}", "line 1"),
        ("faults.yaml", b"\xff\xfe\xff", "UTF-8"),
        ("faults.yaml", b"a: \x00", "characters"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in refused(tmp_path / name)


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "faults.yaml")


def test_the_command_refuses_a_bad_file_as_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_text("rules: [{effect: explode}]")
    done = subprocess.run(
        [*COMMAND, "--faults", str(tmp_path / "faults.yaml")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {tmp_path / 'faults.yaml'}: rules[0].effect: ")
