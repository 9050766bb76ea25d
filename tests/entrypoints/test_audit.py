"""``rotator audit`` where something on this machine is in the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from rotator.entrypoints.cli import cli


def test_a_journal_that_lies_where_nobody_may_look_is_a_finding_and_the_rest_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here because of its name, which the system refuses; for another user because of a private directory."""
    monkeypatch.setattr("rotator.telemetry.configure", lambda **_: None)  # the log stays the tests'
    place = {"backend": "dotenv", "path": "a.env", "field": "KEY"}
    document = {
        "version": 1,
        "instance": "prod",
        "state": {"url": f"sqlite:///{'x' * 300}/state.db"},
        "providers": {"together": {"type": "together", "issuance": "assisted"}},
        "policies": [{"name": "chat", "provider": "together", "project": "proj_a", "destinations": [place]}],
    }
    file = tmp_path / "rotator.yaml"
    file.write_text(yaml.safe_dump(document))

    done = CliRunner().invoke(cli, ["audit", "--config", str(file), "--format", "json"])

    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert {"ROT-A03", "ROT-D07"} <= {one["id"] for one in report["findings"]}
    assert not report["journal"]
