"""``rotator audit`` on real parts: read-only, partial, honest about what it could not know, and without a secret."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from rotator.adapters.journal.sql import SqlJournal
from rotator.entrypoints.cli import cli
from tests.e2e.installation import FIELD, Places, document, in_file, policy, soon
from tests.e2e.test_dry_run_beside_others import Changes, put_by_hand, rotator_of, traces
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.simulator import OTHER_PROJECT, PROJECT, Simulator

DUE = -60


@pytest.fixture
def places(tmp_path: Path, openbao: OpenBao, kv_mount: str, aws: Aws) -> Places:
    return Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws)


@pytest.fixture(autouse=True)
def _log_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in this process, because a process of its own costs seconds; its log stays the tests'."""
    monkeypatch.setattr("rotator.telemetry.configure", lambda **_: None)


class Staff:
    """Security staff: a token that may read the one value, an auditor's key."""

    def __init__(self, folder: Path, configuration: dict, environ: dict[str, str], patch: pytest.MonkeyPatch) -> None:
        self.config = folder / "rotator.yaml"
        self.config.write_text(yaml.safe_dump(configuration, sort_keys=False))
        self.environ = environ
        for name, text in environ.items():
            patch.setenv(name, text)

    def audit(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["audit", "--config", str(self.config), *arguments])

    def json(self, *arguments: str) -> tuple[int, dict]:
        done = self.audit("--format", "json", *arguments)
        assert done.stdout, done.stderr
        return done.exit_code, json.loads(done.stdout)


def staff_of(
    folder: Path, simulator: Simulator, places: Places, patch: pytest.MonkeyPatch, *, nowhere: bool = False
) -> Staff:
    name = f"auditor-{places.mount}"
    right = f'path "{places.mount}/data/app" {{ capabilities = ["read"] }}'
    places.openbao.root.sys.create_or_update_policy(name, right)
    token = places.openbao.root.auth.token.create(policies=[name], ttl="1h")["auth"]["client_token"]
    backends = places.backends(openbao_url="http://127.0.0.1:9" if nowhere else "")
    backends["openbao"]["auth"] = {"method": "token", "token": {"env": "AUDITOR_TOKEN"}}
    policies = [policy(places.destinations()), policy(in_file(folder / "other.env"), name="other")]
    environ = {
        "MANAGEMENT_KEY": simulator.secret("key_auditor").reveal(),
        "AUDITOR_TOKEN": token,
        "AWS_ENDPOINT_URL_IAM": places.aws.url,
        "AWS_ENDPOINT_URL_STS": places.aws.url,
    }
    return Staff(folder, document(folder, simulator.base_url, policies, backends), environ, patch)


def ids(report: dict) -> list[str]:
    return [one["id"] for one in report["findings"]]


def test_promise_6_an_audit_changes_nothing_anywhere_and_read_only_credentials_are_enough(
    tmp_path: Path, simulator: Simulator, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rotation, with its old key not revoked yet: every format."""
    key = put_by_hand(simulator, places, due_in=DUE)
    simulator.create_user("Bo", id_="user_bo")
    shadow = simulator.create_key_by_hand(PROJECT, "test", created_by="user_bo")
    simulator.remove_user("user_bo")
    copied = simulator.create_key_by_hand(OTHER_PROJECT, "batch of the night")
    (tmp_path / "other.env").write_text(f"{FIELD}={copied.secret.reveal()}\n")
    (tmp_path / "other.env").chmod(0o644)
    rotator = rotator_of(tmp_path, simulator, places)
    for name, text in rotator.environ.items():
        monkeypatch.setenv(name, text)
    CliRunner().invoke(cli, ["--config", str(rotator.config), "--run-once"], catch_exceptions=False)
    staff = staff_of(tmp_path, simulator, places, monkeypatch)
    used = simulator.key(key.key_id)["last_used_at"]
    simulator.clear_counters()
    changes, before = Changes(simulator, places), traces(tmp_path)
    seen = places.openbao.requests()

    code, report = staff.json("--fail-on", "critical")

    assert code == 0
    assert report["complete"]
    assert report["journal"]
    assert simulator.counters()["requests"]["GET /v1/projects/{project_id}/api-keys"] == 1, "for two policies"
    assert [one for one in places.openbao.sent(seen) if "/data/" in one] == [f"read {places.mount}/data/app"]
    assert {"ROT-D02", "ROT-D09", "ROT-K05", "ROT-K13", "ROT-K14"} <= set(ids(report))
    (left,) = [one for one in report["findings"] if one["id"] == "ROT-K13"]
    assert left["key_id"] == shadow.key_id
    states = {one["key_id"]: one["state"] for one in report["keys"]}
    assert states[key.key_id] == "retiring"
    texts = [staff.audit("--format", style) for style in ("table", "sarif", "csv", "html")]
    assert [done.exit_code for done in texts] == [0, 0, 0, 0]
    secrets = [one.reveal() for one in (key.secret, shadow.secret, copied.secret, simulator.secret("key_auditor"))]
    secrets += [*places.held(), staff.environ["AUDITOR_TOKEN"]]
    for text in (json.dumps(report), *(done.stdout + done.stderr for done in texts)):
        assert not [secret for secret in secrets if secret in text]
    assert simulator.key(key.key_id)["last_used_at"] == used, "a key in its grace was not made to look used"
    assert changes.none()
    assert traces(tmp_path) == before


def test_a_place_that_nobody_reaches_is_a_finding_and_exits_1_and_the_rest_is_reported(
    tmp_path: Path, simulator: Simulator, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_by_hand(simulator, places, due_in=DUE)
    staff = staff_of(tmp_path, simulator, places, monkeypatch, nowhere=True)

    code, report = staff.json()

    assert code == 1
    assert not report["complete"]
    (gap,) = [one for one in report["findings"] if one["id"] == "ROT-A01"]
    assert gap["subject"] == f"openbao:{places.mount}/app#{FIELD}"
    assert {"ROT-D07"} <= set(ids(report)), "the other policy's file is empty"
    (missing,) = [one for one in report["findings"] if one["id"] == "ROT-A03"]
    assert missing["seen"].startswith(f"there is no journal sqlite:///{tmp_path}/state.db")
    assert any(gap.startswith("without the journal: ") for gap in report["unknown"])
    assert staff.json("--allow-incomplete", "--fail-on", "high")[0] == 3
    assert not (tmp_path / "state.db").exists()


def test_findings_that_are_accepted_narrowed_or_mild_enough_fail_nothing(
    tmp_path: Path, simulator: Simulator, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.create_key_by_hand(PROJECT, "the mailer's")
    put_by_hand(simulator, places, due_in=DUE)
    staff = staff_of(tmp_path, simulator, places, monkeypatch)
    _, report = staff.json("--no-journal")
    entries = [
        {
            "finding": one["id"],
            "subject": one["subject"],
            "severity": one["severity"],
            "reason": "known",
            "until": "2999-01-01",
        }
        for one in report["findings"]
        if one["severity"] in {"high", "critical"}
    ]
    baseline = tmp_path / "accepted.yaml"
    baseline.write_text(yaml.safe_dump({"accepted": entries}))

    assert entries
    assert staff.json("--no-journal", "--fail-on", "high")[0] == 3
    assert staff.json("--no-journal", "--fail-on", "high", "--baseline", str(baseline))[0] == 0
    assert staff.json("--no-journal", "--fail-on", "medium", "--policy", "other")[0] == 0
    code, narrowed = staff.json("--no-journal", "--policy", "other")
    assert {one["policy"] for one in narrowed["findings"]} <= {"other"}
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "pdf"], "'pdf' is not one of"),
        (["--policy", "chta"], "Invalid value for --policy: no policy 'chta'"),
        (["--project", "proj_x"], "no policy is of project 'proj_x'"),
        (["--fail-on", "severe"], "'severe' is not one of"),
        (["--baseline", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--unused-after", "soon"], "'soon' is no duration"),
        (["--output", "/nowhere/x.html"], "/nowhere/x.html"),
    ],
    ids=lambda given: given[-1] if isinstance(given, list) else "",
)
def test_wrong_input_ends_with_one_clear_line(
    tmp_path: Path, simulator: Simulator, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = document(tmp_path, simulator.base_url, [policy(in_file(tmp_path / "a.env"))])
    key = {"MANAGEMENT_KEY": simulator.secret("key_auditor").reveal()}
    done = Staff(tmp_path, configuration, key, monkeypatch).audit(*arguments)
    assert done.exit_code == (1 if arguments[0] == "--output" else 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_goes_to_a_private_file_and_a_file_in_a_git_work_tree_is_told(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    key = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(3600))
    env = tmp_path / "a.env"
    env.write_text(f"{FIELD}={key.secret.reveal()}\n")
    env.chmod(0o600)
    configuration = document(tmp_path, simulator.base_url, [policy(in_file(env))])
    auditor = {"MANAGEMENT_KEY": simulator.secret("key_auditor").reveal()}
    staff = Staff(tmp_path, configuration, auditor, monkeypatch)
    out = tmp_path / "report.json"
    out.write_text("an older report, which everybody may read")
    out.chmod(0o644)

    done = staff.audit("--format", "json", "--no-journal", "--output", str(out))

    assert done.exit_code == 0
    assert done.stdout.endswith(f"nothing was changed; written to {out}\n")
    assert out.stat().st_mode & 0o777 == 0o600
    assert [one["subject"] for one in json.loads(out.read_text())["findings"] if one["id"] == "ROT-D10"] == [str(env)]
    assert json.loads(staff.audit("--format", "json", "--output", "-").stdout)["findings"]
    (tmp_path / ".gitignore").write_text("*.env\n")
    assert "ROT-D10" not in ids(staff.json()[1])


def test_a_journal_that_is_not_there_is_empty_or_can_not_be_looked_at_is_a_finding_and_no_report_is_complete_without_it(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"MANAGEMENT_KEY": simulator.secret("key_auditor").reveal()}
    configuration = document(tmp_path, simulator.base_url, [policy(in_file(tmp_path / "a.env"))])
    SqlJournal.open(f"sqlite:///{tmp_path}/empty.db", is_dead=lambda _holder: True).close()
    for file, said in (
        ("gone.db", "there is no journal"),
        ("empty.db", "is empty: nothing was ever recorded"),
        (f"{'x' * 300}/state.db", "File name too long"),
    ):
        configuration["state"]["url"] = f"sqlite:///{tmp_path}/{file}"
        code, report = Staff(tmp_path, configuration, key, monkeypatch).json()
        assert (code, report["complete"], report["journal"]) == (1, False, False)
        (found,) = [one for one in report["findings"] if one["id"] == "ROT-A03"]
        assert said in found["seen"]
