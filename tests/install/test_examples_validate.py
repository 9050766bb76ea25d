"""Every configuration that an installation begins with is accepted by ``rotator validate`` itself."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from rotator.config import schema
from tests.parts.rotator import COMMAND

ROOT = Path(__file__).parents[2]


def of_the_units() -> str:
    return (ROOT / "systemd" / "rotator.yaml").read_text()


def of_the_map() -> str:
    return yaml.safe_load((ROOT / "config" / "kubernetes" / "configmap.yaml").read_text())["data"]["rotator.yaml"]


@pytest.mark.parametrize("text", [of_the_units(), of_the_map()], ids=["systemd", "kubernetes"])
def test_rotator_validate_accepts_it_where_its_secrets_are(text: str, tmp_path: Path) -> None:
    for name in re.findall(r"\{credential: ([\w-]+)\}|\{file: /run/secrets/rotator/([\w-]+)\}", text):
        (tmp_path / "".join(name)).write_text("x")
    config = tmp_path / "rotator.yaml"
    config.write_text(text.replace("/run/secrets/rotator", str(tmp_path)))
    jsonschema.validate(yaml.safe_load(text), schema(), cls=jsonschema.Draft202012Validator)
    done = subprocess.run(
        [*COMMAND, "validate", "--config", config],
        env={**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "fine; policies: 1, backends: dotenv, vault, providers: together" in done.stdout
