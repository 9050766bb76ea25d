"""``rotator status``: for people, for programs, and live on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import document, in_file, policy
from tests.parts.rotator import COMMAND, Rotator


@pytest.fixture
def rotator(tmp_path: Path) -> Rotator:
    """Two policies that were never looked at, of a provider that nobody can reach."""
    policies = [policy(in_file(tmp_path / f"{name}.env"), name=name) for name in ("chat", "batch")]
    return Rotator(tmp_path, document(tmp_path, "http://127.0.0.1:9", policies), {"MANAGEMENT_KEY": "made-up-key"})


def test_a_program_reads_the_status_as_json(rotator: Rotator) -> None:
    assert rotator.call("hold", "chat", "--reason", "a freeze", "--until", "2999-12-24T18:00Z").returncode == 0

    done = rotator.call("status", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["version"] == 1
    chat, batch = said["policies"]
    assert (chat["policy"], batch["policy"]) == ("chat", "batch")
    assert chat["hold"]["reason"].startswith("a freeze (")
    assert chat["hold"]["until"].startswith("2999-12-24")
    assert (batch["hold"], batch["keys"], batch["next_rotation"]) == (None, [], None)


@pytest.mark.parametrize("leak", [[], ["--compromised"]], ids=["rotation", "leak"])
def test_what_is_asked_for_on_a_policy_on_hold_is_told_and_waits(rotator: Rotator, leak: list[str]) -> None:
    assert rotator.call("rotate", "batch", "--reason", "new team", *leak).returncode == 0
    assert rotator.call("hold", "chat", "--reason", "a freeze").returncode == 0
    held = rotator.call("rotate", "chat", "--reason", "found it on a page", *leak)
    assert held.returncode == 75
    assert "chat: on hold (a freeze (" in held.stdout
    shown = rotator.call("status").stdout
    assert ("told to have leaked" if leak else "asked for") in " ".join(shown.split())
    chat, _ = json.loads(rotator.call("status", "--json").stdout)["policies"]
    assert chat["requested"]["reason"].startswith("found it on a page (")
    assert chat["requested"]["compromised"] is bool(leak)
    assert chat["next_rotation"] is not None
    *_, asked = json.loads(rotator.call("history", "chat", "--json").stdout)["events"]
    assert asked["why"].startswith("compromised: found it" if leak else "found it")


def test_one_policy_is_shown_alone(rotator: Rotator) -> None:
    assert rotator.call("release", "chat").returncode == 0  # there is a journal from here on

    done = rotator.call("status", "batch")

    assert done.returncode == 0
    assert "batch" in done.stdout
    assert "chat" not in done.stdout


@pytest.fixture
def as_at_a_terminal() -> Iterator[None]:
    """Whoever runs the tests in the background has Ctrl-C ignored, by them and by what they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("as_at_a_terminal")
def test_on_a_terminal_the_status_is_live_until_it_is_interrupted(rotator: Rotator) -> None:
    assert rotator.call("hold", "chat", "--reason", "before").returncode == 0
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--config", str(rotator.config), "status", "--watch"],
        env={**os.environ, "MANAGEMENT_KEY": "made-up-key", "COLUMNS": "200", "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        os.close(theirs)
        assert _reads(terminal, b"before")
        assert rotator.call("hold", "chat", "--reason", "later").returncode == 0
        assert _reads(terminal, b"later")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def _reads(terminal: int, wanted: bytes) -> bool:
    """Whether the words come within half a minute."""
    said = b""
    while wanted not in said:
        if not select.select([terminal], [], [], 30)[0]:
            return False
        said += os.read(terminal, 65536)
    return True


WRONG = {
    "live, and no terminal": (["status", "--watch"], "--watch needs a terminal"),
    "live, and for programs": (["status", "--watch", "--json"], "exclude each other"),
    "an unknown policy": (["status", "chta"], "chta"),
}


@pytest.mark.parametrize(("command", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_question_is_refused_with_a_sentence(rotator: Rotator, command: list[str], said: str) -> None:
    done = rotator.call(*command)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
