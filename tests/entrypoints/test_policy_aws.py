"""``rotator policy aws`` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rotator.entrypoints.cli import cli

EXAMPLE = Path(__file__).parents[2] / "config" / "aws.yaml"
ROLE = "arn:aws:iam::123456789012:role/rotator"


def call(*arguments: str) -> tuple[int, str]:
    environ = {"TOGETHER_MANAGEMENT_KEY": "x", "AWS_EXTERNAL_ID": "x"}
    done = CliRunner(env=environ).invoke(cli, ["policy", "aws", "--config", str(EXAMPLE), *arguments])
    return done.exit_code, done.output


def test_the_policy_of_one_backend_names_its_secrets_only() -> None:
    code, output = call("--backend", "aws")
    assert code == 0
    resources = {resource for statement in json.loads(output)["Statement"] for resource in statement["Resource"]}
    arn = "arn:aws:secretsmanager:eu-central-1:*:secret:"
    assert resources == {f"{arn}prod/chat/together-??????", f"{arn}prod/batch/together-key-??????"}


def test_the_role_gets_what_creation_and_its_kms_key_need() -> None:
    code, output = call("--backend", "production")
    assert code == 0
    assert [statement["Sid"] for statement in json.loads(output)["Statement"]] == [
        "Look",
        "Write",
        "Tag",
        "Create",
        "Replicate",
        "Encrypt",
    ]


def test_whoever_takes_on_the_role_needs_nothing_else() -> None:
    code, output = call("--backend", "production", "--caller")
    assert code == 0
    assert [statement["Resource"] for statement in json.loads(output)["Statement"]] == [[ROLE]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say --backend, one of: aws, production"),
        (("--backend", "nothing"), "Invalid value for --backend: allowed: aws, production"),
        (("--backend", "aws", "--caller"), "backend 'aws' takes on no role"),
    ],
)
def test_a_call_that_can_not_be_answered_is_a_usage_error(arguments: tuple[str, ...], said: str) -> None:
    code, output = call(*arguments)
    assert code == 2
    assert said in output
