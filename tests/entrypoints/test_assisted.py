"""The least rights for inboxes, and the dry run of a policy that has one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rotator.domain.model import Destination
from rotator.domain.planner import plan
from rotator.entrypoints import dry, exits
from rotator.entrypoints.cli import cli
from tests.domain.build import NOW, key, record, world
from tests.domain.test_assisted import WITH_INBOX

CONFIGURATION = """\
version: 1
instance: prod
providers:
  one: {type: together, issuance: assisted, assisted: {inbox: {backend: v, path: "inbox/{policy}", field: key}}}
  two: {type: together, issuance: assisted, assisted: {inbox: {backend: a, secret_id: "inbox/{policy}"}}}
backends:
  v: {type: vault, url: "https://v", auth: {method: token, token: {env: T}}}
  a: {type: aws-secrets-manager, region: eu-central-1}
policies:
  - {name: chat, provider: one, project: p, destinations: [{backend: v, path: apps/chat, field: KEY}]}
  - {name: batch, provider: two, project: p, destinations: [{backend: a, secret_id: batch, field: KEY}]}
"""


def printed(folder: Path, *arguments: str) -> str:
    (folder / "rotator.yaml").write_text(CONFIGURATION)
    done = CliRunner().invoke(cli, ["policy", *arguments, "--config", str(folder / "rotator.yaml")])
    assert done.exit_code == 0
    return done.output


def test_an_inbox_in_vault_is_read_and_destroyed_and_nothing_else(tmp_path: Path) -> None:
    text = printed(tmp_path, "vault")
    for path, right in (("data", "read"), ("destroy", "update")):
        assert f'path "secret/{path}/inbox/chat" {{\n  capabilities = ["{right}"]' in text
    assert "metadata/inbox" not in text
    assert "inbox" not in printed(tmp_path, "vault", "--read-only").replace("rotator.yaml", "")


def test_an_inbox_in_aws_is_read_and_deleted_and_nothing_else(tmp_path: Path) -> None:
    statements = json.loads(printed(tmp_path, "aws"))["Statement"]
    of_inbox = {
        action.removeprefix("secretsmanager:")
        for statement in statements
        if any("inbox/batch" in resource for resource in statement["Resource"])
        for action in statement["Action"]
    }
    assert of_inbox == {"DescribeSecret", "GetSecretValue", "DeleteSecret"}


class _Application:
    """What a dry run needs of one."""

    def __init__(self) -> None:
        self.reconciler = self.settings = self.service = self.clock = self
        self.policies, self.workers = [WITH_INBOX], 1

    def preview(self, policy: Destination):
        return plan(policy, world("a", "a").beside(record(key("a"))), NOW)


def test_that_an_inbox_is_looked_into_is_no_work_for_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert dry.dry_run(_Application(), "text") == exits.OK
    assert "look into the inbox vault:secret/inbox/chat#key" in " ".join(
        capsys.readouterr().out.replace("│", "").split()
    )
