"""The example of ``docs/plugins.md``, as its author would run it, and as an operator would."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from rotator.plugins import CONTRACT
from tests.e2e.installation import CALM, FIELD, INSTANCE, credentials, ours
from tests.parts.rotator import Rotator
from tests.parts.simulator import PROJECT, Simulator
from tests.plugins.conftest import EXAMPLE, Example

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "instance": INSTANCE,
    "log": {"format": "json"},
    "backends": {"table": {"type": "sqlite-table", "file": "secrets.db"}},
}


def an_installation(folder: Path, example: Example, simulator: Simulator) -> Rotator:
    with closing(sqlite3.connect(folder / "secrets.db")) as database:
        database.execute(
            "CREATE TABLE secrets (name, field, value, previous, hints, version, PRIMARY KEY (name, field))"
        )
    gateway = {"type": "gateway", "base_url": simulator.base_url, "token": {"env": "MANAGEMENT_KEY"}}
    place = {"backend": "table", "name": "chat", "field": FIELD, "beside": {"KEY_ID": "key_id"}}
    place["expect"] = {"file": str(folder / "secrets.db")}
    policy = {"name": "chat", "provider": "gate", "project": PROJECT, **CALM, "destinations": [place]}
    document = {**DOCUMENT, "state": {"url": f"sqlite:///{folder}/state.db"}, "providers": {"gate": gateway}}
    return Rotator(
        folder, {**document, "policies": [policy]}, {**credentials(simulator), **example.environ}, fresh=True
    )


def rows(folder: Path) -> dict[str, str]:
    with closing(sqlite3.connect(folder / "secrets.db")) as database:
        return dict(database.execute("SELECT field, value FROM secrets WHERE name = 'chat'").fetchall())


def test_its_own_tests_run_the_contract_suites_and_pass(example: Example) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "."]
    done = subprocess.run(
        command, cwd=example.source, env={**os.environ, **example.environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"contract {CONTRACT} (rotator.testing)" in done.stdout, "the plugin of pytest is there"
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def test_a_rotation_through_both_plug_ins(tmp_path: Path, example: Example, simulator: Simulator) -> None:
    rotator = an_installation(tmp_path, example, simulator)
    validated = rotator.command("validate")
    assert validated.returncode == 0, validated.stderr
    planned = rotator.call("--dry-run", "--format", "json")
    assert planned.returncode == 3, planned.stderr
    assert json.loads(planned.stdout)
    assert (rows(tmp_path), ours(simulator)) == ({}, [])
    done = rotator.run_once()
    assert done.returncode == 0, done.stderr
    (key_id,) = ours(simulator)
    assert rows(tmp_path)["KEY_ID"] == key_id
    assert rows(tmp_path)[FIELD].startswith("tgp_v1_")
    assert rows(tmp_path)[FIELD] not in done.stdout + done.stderr


def test_where_it_is_not_installed_the_configuration_says_so(
    tmp_path: Path, example: Example, simulator: Simulator
) -> None:
    rotator = an_installation(tmp_path, example, simulator)
    del rotator.environ["PYTHONPATH"]
    for done in (rotator.command("validate"), rotator.call("--dry-run"), rotator.run_once(), rotator.call()):
        assert done.returncode == 2
        assert "backends.table.type: found 'sqlite-table'; allowed: a type of backend, built in or of an" in done.stderr
        assert "providers.gate.type: found 'gateway'; allowed: a type of provider, built in or of an" in done.stderr


def test_the_guide_shows_the_example_as_it_is() -> None:
    guide = (EXAMPLE.parent / "plugins.md").read_text()
    for line in (EXAMPLE / "pyproject.toml").read_text().splitlines():
        if "rotator_table:" in line:
            assert line in guide
