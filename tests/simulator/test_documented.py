"""``docs/rehearsal.md``: its example runs as it stands (only the port is another), and its table is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rotator.simulator.faults import Effect

PAGE = (Path(__file__).parents[2] / "docs" / "rehearsal.md").read_text()
PLACE = "http://127.0.0.1:8555"


def consoles() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    return [[line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")] for block in blocks]


@pytest.fixture
def environ() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def base_url(tmp_path: Path, environ: dict[str, str]) -> Iterator[str]:
    """The platform, as the first terminal starts it; port 8555 may be taken here."""
    files = dict(re.findall(r"`([a-z]+\.(?:json|yaml))`[^`]*?\n\n```[a-z]+\n(.*?)```", PAGE, re.DOTALL))
    assert sorted(files) == ["faults.yaml", "rotator.yaml", "seed.json"]
    for name in ("seed.json", "faults.yaml"):
        (tmp_path / name).write_text(files[name])
    (command,) = consoles()[0]
    words = command.replace("--port 8555", "--port 0").split()
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        assert said.startswith("listening on ")
        url = said.removeprefix("listening on ")
        (tmp_path / "rotator.yaml").write_text(files["rotator.yaml"].replace(PLACE, url))
        yield url
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert errors == "", "a fault that was asked for is nothing to complain of"


def test_the_example_finds_what_a_lost_answer_left_and_ends_with_a_good_key(
    tmp_path: Path, environ: dict[str, str], base_url: str
) -> None:
    lines = consoles()[1]
    script = "\n".join(f'{line}\necho "[exit $?]"' for line in lines)
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=90, check=False
    )

    exits = [int(code) for code in re.findall(r"^\[exit (\d+)\]$", done.stdout, re.MULTILINE)]
    assert exits == [0, 3, 1, 0, 0], done.stdout + done.stderr
    assert re.search(r"found (key_\w+), whose secret is lost; first key .* revoked \1", done.stdout)

    reports = [httpx.get(line.split()[2].replace(PLACE, base_url), trust_env=False).json() for line in consoles()[2]]
    requests, state, faults = reports
    assert next(step["effect"] for step in requests if step["method"] == "POST") == "reset_after"
    assert [key["state"] for key in state["keys"] if key["project_id"] == "proj_chat"] == ["revoked", "live"]
    assert faults[0]["fired"] == 1
    (secret,) = re.findall(r"^TOGETHER_API_KEY=['\"]?([\w-]+)", (tmp_path / "chat.env").read_text(), re.MULTILINE)
    accepted = httpx.get(f"{base_url}/v1/whoami", headers={"Authorization": f"Bearer {secret}"}, trust_env=False)
    assert accepted.json()["project_id"] == "proj_chat"


def test_every_effect_stands_once_in_the_table() -> None:
    assert re.findall(r"^\| `(\w+)` \| (?:yes|no|after)", PAGE, re.MULTILINE) == list(Effect)
