"""The command line as a newcomer and a script meet it: help, clear one-line errors, exit codes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.e2e.installation import FIELD, credentials, document, in_file, policy, soon
from tests.parts.rotator import COMMAND, Rotator
from tests.parts.simulator import PROJECT, Simulator

NOWHERE = "http://127.0.0.1:9"


def call(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command without a configuration of its own."""
    without = {name: text for name, text in os.environ.items() if name != "ROTATOR_CONFIG"}
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**without, "COLUMNS": "200", **(environ or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def rotator(tmp_path: Path) -> Rotator:
    """A configuration that is right, of a provider that nobody can reach."""
    made = document(tmp_path, NOWHERE, [policy(in_file(tmp_path / ".env"))])
    return Rotator(tmp_path, made, {"MANAGEMENT_KEY": "made-up-key", "COLUMNS": "200"})


# --- help ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_says_what_it_is_where_to_start_and_what_the_exit_codes_mean(option: str) -> None:
    done = call(option)

    assert (done.returncode, done.stderr) == (0, "")
    for words in ("Keep project API keys fresh", "Start here:", "--dry-run", "--run-once", "Exit codes:", "75"):
        assert words in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "validate",
        "schema",
        "status",
        "history",
        "rotate",
        "hold",
        "release",
        "extend-grace",
        "adopt",
        "forget",
        "policy",
        "audit",
        "plan",
        "health",
        "simulator",
    ],
)
def test_every_command_has_help_and_the_overview_names_it(command: str) -> None:
    assert f"  {command} " in call("--help").stdout
    done = call(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: rotator {command}" in done.stdout


def test_version_is_that_of_the_package() -> None:
    done = call("--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"rotator {version('rotator')}\n", "")


# --- usage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say which configuration: --config FILE, or ROTATOR_CONFIG in the environment"),
        (["--run-once"], "say which configuration"),
        (["validate"], "say which configuration"),
        (["--run-once", "--dry-run"], "--run-once and --dry-run exclude each other"),
        (["--run-once", "status"], "--run-once and --dry-run go without a command"),
        (["--test-hooks", "--run-once"], "--test-hooks goes alone"),
        (["--test-notifications", "--test-hooks"], "--test-hooks goes alone"),
        (["--test-notifications", "status"], "--test-notifications goes without a command"),
        (["--test-hooks", "status"], "--test-hooks goes without a command"),
        (["--format", "xml"], "'xml' is not one of 'text', 'json'"),
        (["--format", "json", "--run-once"], "--format goes with --dry-run"),
        (["--format", "text", "status"], "--format goes with --dry-run"),
        (["--format", "json"], "--format goes with --dry-run"),
        (["--no-such-option"], "No such option '--no-such-option'"),
        (["no-such-command"], "No such command 'no-such-command'"),
        (["rotate", "chat"], "Missing option '--reason'"),
        (["simulator", "--seed", "/nowhere/seed.yaml"], "'/nowhere/seed.yaml' does not exist"),
        (["simulator", "--port", "99999"], "99999 is not in the range 0<=x<=65535"),
        (["simulator", "--port", "-1"], "-1 is not in the range 0<=x<=65535"),
    ],
)
def test_wrong_usage_exits_2_with_one_error_line(arguments: list[str], said: str) -> None:
    done = call(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert said in error
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", [["rotate", "caht", "--reason", "x"], ["hold", "caht", "--reason", "x"], ["release", "caht"]]
)
def test_an_unknown_policy_exits_2_and_records_nothing(rotator: Rotator, tmp_path: Path, command: list[str]) -> None:
    done = rotator.call(*command)

    assert done.returncode == 2
    assert "no policy 'caht' in " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state.db").exists()


# --- configuration ---------------------------------------------------------------------------------------

WRONG = {
    "an unknown field": ("policies:", "polices: []\npolicies:", "polices"),
    "a bad duration": ("grace: 2s", "grace: 2 seconds", "policies[0].grace"),
    "renew_before not below lifetime": ("renew_before: 30m", "renew_before: 2h", "policies[0].renew_before"),
    "an unknown provider": ("provider: together", "provider: apart", "policies[0].provider"),
    "a missing environment variable": (
        "management_key:\n      env: MANAGEMENT_KEY",
        "management_key:\n      env: NOT_SET_ANYWHERE",
        "providers.together.management_key",
    ),
}


@pytest.mark.parametrize(
    "way", [["validate"], ["--run-once"], ["--dry-run"], []], ids=["validate", "once", "dry", "service"]
)
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_bad_configuration_exits_2_naming_file_line_and_field(
    rotator: Rotator, tmp_path: Path, wrong: tuple[str, str, str], way: list[str]
) -> None:
    """Promise 10."""
    right, changed, field = wrong
    text = rotator.config.read_text()
    assert right in text
    rotator.config.write_text(text.replace(right, changed, 1))
    line = next(
        number
        for number, line in enumerate(rotator.config.read_text().splitlines(), 1)
        if changed.split("\n")[0] in line
    )

    done = rotator.call(*way)

    assert (done.returncode, done.stdout) == (2, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"{rotator.config}:{line}: "), said
    assert field in said
    assert "; allowed: " in said
    assert not (tmp_path / "state.db").exists()


@pytest.mark.parametrize(
    "content", ["", "- a list\n", "version: 1\n  wrong: indent\n", "\x00"], ids=["empty", "list", "no YAML", "binary"]
)
def test_a_file_that_is_no_configuration_exits_2_without_a_traceback(rotator: Rotator, content: str) -> None:
    """Promise 10."""
    rotator.config.write_text(content)

    done = rotator.call("validate")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(str(rotator.config))
    assert "Traceback" not in done.stderr


def test_a_configuration_that_does_not_exist_exits_2_naming_it(tmp_path: Path) -> None:
    done = call("--config", str(tmp_path / "nowhere.yaml"), "--run-once")

    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_right_configuration_is_fine_offline(rotator: Rotator, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())

    done = rotator.call("validate")

    assert (done.returncode, done.stderr) == (0, "")
    (said,) = done.stdout.splitlines()
    assert said.startswith(f"{rotator.config}: fine")
    assert sorted(tmp_path.iterdir()) == before


def test_the_configuration_is_also_found_by_the_environment_and_after_the_command(rotator: Rotator) -> None:
    known = {"MANAGEMENT_KEY": "made-up-key"}
    by_environment = call("validate", environ={"ROTATOR_CONFIG": str(rotator.config), **known})
    after_the_command = call("validate", "--config", str(rotator.config), environ=known)

    assert by_environment.returncode == after_the_command.returncode == 0


def test_schema_prints_a_json_schema_that_the_configuration_fulfils(rotator: Rotator) -> None:
    done = call("schema")

    assert (done.returncode, done.stderr) == (0, "")
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    configuration: dict[str, Any] = yaml.safe_load(rotator.config.read_text())
    jsonschema.validate(configuration, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**configuration, "polices": []}, schema)


# --- status and the journal ------------------------------------------------------------------------------


def test_status_is_a_table_of_every_policy(tmp_path: Path, simulator: Simulator) -> None:
    by_hand = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(3600))
    (tmp_path / ".env").write_text(f"{FIELD}={by_hand.secret.reveal()}\n")
    made = document(tmp_path, simulator.base_url, [policy(in_file(tmp_path / ".env"))])
    rotator = Rotator(tmp_path, made, {**credentials(simulator), "COLUMNS": "200"})

    before = rotator.call("status")
    assert (before.returncode, before.stderr) == (0, "")
    assert "none yet" in before.stdout
    assert "never looked at" in before.stdout
    assert not (tmp_path / "state.db").exists(), "asking creates no journal"

    assert rotator.run_once().returncode == 0
    simulator.clear_counters()
    after = rotator.call("status")
    assert after.returncode == 0
    for words in ("policy", "current key", "next look", "chat", by_hand.key_id):
        assert words in after.stdout
    assert simulator.counters()["requests"] == {}


@pytest.mark.parametrize(
    "arguments", [["status"], ["--run-once"], ["--dry-run"], ["hold", "chat", "--reason", "x"], []]
)
def test_a_journal_that_is_no_database_exits_1_with_one_line(
    rotator: Rotator, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "state.db").write_text("this is no database, and is long enough to be taken for one" * 100)

    done = rotator.call(*arguments)

    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith("rotator: the journal sqlite:///")
    assert str(tmp_path / "state.db") in said


def test_a_journal_in_a_place_that_is_no_folder_exits_1_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    made = document(tmp_path / "a-file", NOWHERE, [policy(in_file(tmp_path / ".env"))])
    rotator = Rotator(tmp_path, made, {"MANAGEMENT_KEY": "made-up-key"})

    done = rotator.run_once()

    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith("rotator: the journal ")


def test_hold_and_release_are_recorded_with_who_and_why(rotator: Rotator) -> None:
    done = rotator.call("hold", "chat", "--reason", "a change freeze")
    assert (done.returncode, done.stdout, done.stderr) == (0, "chat: on hold\n", "")
    assert "on hold: a change freeze (" in rotator.call("status").stdout

    done = rotator.call("release", "chat")
    assert (done.returncode, done.stdout, done.stderr) == (0, "chat: released\n", "")
    assert "on hold" not in rotator.call("status").stdout

    before = rotator.call("history").stdout
    done = rotator.call("release", "chat")
    assert (done.returncode, done.stdout, done.stderr) == (0, "chat: was not on hold\n", "")
    assert rotator.call("history").stdout == before


# --- simulator -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_simulator_command_serves_until_it_is_stopped(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rotator", "simulator", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 20)[0], "it said nothing"
        said = process.stdout.readline()
        assert said.startswith("listening on http://127.0.0.1:")
        url = said.removeprefix("listening on ").strip()
        with urllib.request.urlopen(f"{url}/_simulator/state", timeout=10) as answer:  # noqa: S310 -- loopback http
            assert json.load(answer)["keys"] == []
        process.send_signal(number)
        assert process.wait(timeout=10) in {0, 130, 128 + number, -number}
    finally:
        process.kill()
        process.communicate()


def test_the_simulator_command_says_in_one_line_that_its_port_is_taken(simulator: Simulator) -> None:
    done = call("simulator", "--port", simulator.base_url.rpartition(":")[2])

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("Error: ")


WRONG_STEERING = {
    "neither a policy nor all": (["hold", "--reason", "x"], 2, "say one POLICY, or --all"),
    "a policy and all": (["release", "chat", "--all"], 2, "say one POLICY, or --all"),
    "two ends": (["hold", "chat", "--reason", "x", "--for", "8h", "--until", "2999-01-01T00:00Z"], 2, "and not both"),
    "a past end": (["hold", "chat", "--reason", "x", "--until", "2001-01-01T00:00Z"], 2, "is past"),
    "no zone": (["hold", "chat", "--reason", "x", "--until", "2999-01-01T00:00"], 2, "no time with a zone"),
    "no duration": (["hold", "chat", "--reason", "x", "--for", "8 hours"], 2, "is no duration"),
    "too long": (["hold", "chat", "--reason", "x", "--for", "9999d"], 2, "is too long; allowed: a duration of at most"),
    "no end of the grace": (["extend-grace", "chat", "--reason", "x"], 2, "say --by or --until"),
    "no grace": (["extend-grace", "chat", "--reason", "x", "--by", "1h"], 1, "no key is in its grace"),
}


@pytest.mark.parametrize(("command", "code", "said"), WRONG_STEERING.values(), ids=WRONG_STEERING.keys())
def test_an_order_that_makes_no_sense_is_refused_with_a_sentence(
    rotator: Rotator, command: list[str], code: int, said: str
) -> None:
    done = rotator.call(*command)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
