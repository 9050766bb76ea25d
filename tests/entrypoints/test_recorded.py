"""Promise 3 for what people tell: a reason is recorded for ever, so that none with a key in it is taken; and what an
older journal holds is masked wherever it is shown, however narrow the terminal is."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from icalendar import Calendar

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.events import Held, KeyAdopted
from rotator.entrypoints.cli import cli
from rotator.telemetry import MASK
from tests.domain.build import NOW, key

KEY = "tgp_v1_" + "Ab3dEfGh1jKlMn0pQrStUvWxYz0123456789_-abcdEFGH"
ORDERS = [
    ("hold", "chat"),
    ("hold", "--all"),
    ("release", "chat"),
    ("rotate", "chat"),
    ("rollback", "chat"),
    ("extend-grace", "chat", "--by", "1h"),
    ("forget", "chat"),
    ("forget", "chat", "--key", "key_a"),
]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One policy with a key."""
    place = {"backend": "dotenv", "path": "a.env", "field": "KEY"}
    policy = {"name": "chat", "provider": "together", "project": "proj_a", "destinations": [place]}
    document = {
        "version": 1,
        "instance": "prod",
        "state": {"url": "sqlite:///state.db"},
        "providers": {"together": {"type": "together", "issuance": "assisted"}},
        "policies": [policy],
    }
    file = tmp_path / "rotator.yaml"
    file.write_text(yaml.safe_dump(document))
    monkeypatch.setattr("rotator.clock.SystemClock.now", lambda _clock: NOW)
    monkeypatch.setattr("rotator.telemetry.configure", lambda **_: None)
    journal = SqlJournal.open(f"sqlite:///{tmp_path}/state.db", is_dead=lambda _holder: True)
    lease = journal.acquire("chat", "test", NOW, timedelta(minutes=5))
    journal.append(lease, [KeyAdopted(key=key("a"), grace_until=NOW, grace_limit=NOW)], NOW)
    journal.release(lease)
    journal.close()
    return file


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--config", str(config)])


def held_long_ago(config: Path, reason: str) -> None:
    """As a journal has it that was written before reasons were looked through."""
    journal = SqlJournal.open(f"sqlite:///{config.parent}/state.db", is_dead=lambda _holder: True)
    journal.request("chat", Held(reason=reason), NOW)
    journal.close()


def in_one(text: str) -> str:
    """Without what a layout puts between the pieces of a word."""
    return re.sub(r"[^\w-]", "", re.sub(r"\x1b\[[0-9;]*m", "", text))


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("secret", [KEY, "postgresql://rotator:hunter2@db/state", "hvs." + 24 * "A1"])
def test_promise_3_an_order_whose_reason_holds_a_credential_is_refused_and_not_recorded(
    config: Path, order: tuple[str, ...], secret: str
) -> None:
    done = run(config, *order, "--reason", f"leaked: {secret}, see the chat")

    assert done.exit_code == 2
    assert "takes no key" in done.stderr
    assert secret not in done.output
    assert secret not in run(config, "history", "--export", "-").stdout


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize(
    ("reason", "said"),
    [("", "can't be blank"), (" \t\n", "can't be blank"), (501 * "x", "501 characters; 500 at most are recorded")],
    ids=["empty", "blank", "long"],
)
def test_an_order_whose_reason_says_nothing_or_too_much_is_refused_and_not_recorded(
    config: Path, order: tuple[str, ...], reason: str, said: str
) -> None:
    before = run(config, "history", "--export", "-").stdout

    done = run(config, *order, "--reason", reason)

    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert run(config, "history", "--export", "-").stdout == before


def test_a_reason_may_have_500_characters(config: Path) -> None:
    assert run(config, "hold", "chat", "--reason", 500 * "x").exit_code == 0
    assert json.loads(run(config, "status", "--json").stdout)["policies"][0]["hold"]["reason"].startswith(500 * "x")


def test_a_reason_about_keys_is_no_key(config: Path) -> None:
    assert run(config, "hold", "chat", "--reason", "tgp_v1 keys of https://example.com are moved").exit_code == 0


def test_promise_3_a_key_in_an_old_reason_is_in_no_report_and_in_no_piece_of_one(config: Path) -> None:
    held_long_ago(config, f"the key of the team for the reports of the night, which has leaked: {KEY} (ada)")

    shown = {
        "status": run(config, "status"),
        "status as json": run(config, "status", "--json"),
        "plan": run(config, "plan"),
        "calendar": run(config, "plan", "--format", "ical"),
        "history": run(config, "history"),
        **{style: run(config, "audit", "--format", style) for style in ("table", "json", "csv", "html", "sarif")},
    }

    for name, done in shown.items():
        told = in_one(done.output)
        assert KEY[20:32] not in told, name
        assert "redacted" in told, name
    events = Calendar.from_ical(shown["calendar"].stdout).walk("VEVENT")
    assert any(MASK in event["description"] for event in events)


@pytest.mark.parametrize("command", [("audit",), ("status",), ("plan",), ("history",)], ids=" ".join)
def test_on_a_narrow_terminal_neither_a_key_nor_what_a_terminal_would_obey(
    config: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    held_long_ago(config, f"\x1b[2J\x1b]0;owned\x07\u202e leaked: {KEY}")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", screen)
    cli.main([*command, "--config", str(config)], standalone_mode=False)

    text = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    columns = zip(*(line.split("│") for line in text.splitlines() if line.count("│") > 3), strict=False)
    told = ["".join(cell.strip() for cell in column) for column in columns]
    assert any(MASK[:4] in one for one in told), "a narrow column cuts it off"
    assert not [one for one in told if KEY[20:32] in one]
    assert not set(text) & set("\x1b\x07\u202e")


def test_an_acceptance_whose_reason_holds_a_key_is_refused(config: Path) -> None:
    baseline = config.parent / "accepted.yaml"
    entry = {"finding": "ROT-K05", "subject": "key_s", "reason": f"it is {KEY}", "until": "2099-01-01"}
    baseline.write_text(yaml.safe_dump({"accepted": [entry]}))
    done = run(config, "audit", "--baseline", str(baseline))
    assert done.exit_code == 2
    assert KEY not in done.output
    assert json.loads(run(config, "audit", "--format", "json").stdout)["accepted"] == []
