"""Hooks on real parts: a program that fails keeps the old key, one that succeeds lets it go, and a trial is alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.installation import FIELD, at_rest, credentials, document, in_file, policy, record, soon, states, until
from tests.parts.rotator import Rotator
from tests.parts.secret_search import search
from tests.parts.simulator import PROJECT, Simulator

SCRIPT = """#!/bin/sh
echo "$ROTATOR_POLICY $ROTATOR_KEY_ID${ROTATOR_TEST:+ test}" >> told
/usr/bin/env >> environ
test ! -e broken
"""


class Hooked:
    """A policy with one dotenv file and two hooks, whose key is to be replaced now."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder, self.simulator = folder, simulator
        self.script, self.broken, self.told = folder / "hook", folder / "broken", folder / "told"
        self.script.write_text(SCRIPT.replace("#!/bin/sh", f"#!/bin/sh\ncd {folder}"))
        self.script.chmod(0o755)
        self.old = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon())
        self.place = folder / ".env"
        self.place.write_text(f"{FIELD}={self.old.secret.reveal()}\n")
        self.rotator = Rotator(folder, self.document("30s"), credentials(simulator))

    def document(self, timeout: str) -> dict[str, Any]:
        hook = {"type": "command", "command": [str(self.script)], "timeout": timeout}
        return document(
            self.folder,
            self.simulator.base_url,
            [policy(in_file(self.place), hooks=["reload"])],
            hooks={"reload": hook},
        )

    def pass_now(self, timeout: str) -> str:
        """One pass after the hook was changed: that makes its policies due at once."""
        self.rotator.config.write_text(yaml.safe_dump(self.document(timeout)))
        done = self.rotator.run_once()
        return done.stdout + done.stderr

    def state(self) -> str:
        return states(self.simulator)[self.old.key_id]


@pytest.fixture
def hooked(tmp_path: Path, simulator: Simulator) -> Hooked:
    return Hooked(tmp_path, simulator)


def test_promise_2_the_old_key_stays_until_the_hook_has_succeeded(hooked: Hooked) -> None:
    hooked.broken.touch()
    first = hooked.rotator.run_once()
    new = record(hooked.folder).current
    assert new is not None
    assert (first.returncode, new.hooks_due) == (1, ("reload",))
    assert "hook reload: it ended with 1" in first.stdout

    until(lambda: "ConsumersNotTold" in hooked.rotator.call("--dry-run", "--format", "json").stdout)
    hooked.pass_now("20s")
    assert hooked.state() == "live", "its grace is over, and its consumers were not told"

    hooked.broken.unlink()
    assert f"ran hook reload for {new.key_id}" in hooked.pass_now("10s")
    until(lambda: hooked.rotator.run_once().returncode == 0 and at_rest(hooked.folder))
    assert hooked.state() == "revoked"
    assert set(hooked.told.read_text().splitlines()) == {f"chat {new.key_id}"}
    assert len(hooked.told.read_text().splitlines()) == 3


def test_promise_6_a_dry_run_says_which_hooks_would_run_and_runs_none(hooked: Hooked) -> None:
    hooked.place.write_text("")
    done = hooked.rotator.call("--dry-run", "--format", "json")
    (action,) = json.loads(done.stdout)["policies"][0]["actions"]
    assert action["what"].endswith("; then run hooks: reload")
    assert not hooked.told.exists()


def test_promise_3_a_hook_gets_neither_a_key_nor_a_credential(hooked: Hooked) -> None:
    hooked.rotator.run_once()
    new = hooked.place.read_text().partition(f"{FIELD}=")[2].splitlines()[0]
    secrets = [hooked.old.secret.reveal(), new, hooked.simulator.management_key.reveal()]
    written = {name: (hooked.folder / name).read_bytes() for name in ("environ", "told")}
    assert b"ROTATOR_KEY_ID=" in written["environ"]
    assert search(secrets, written) == []


def test_a_trial_runs_the_hooks_alone_and_touches_nothing_else(hooked: Hooked) -> None:
    asked = len(hooked.simulator.requests())
    fine = hooked.rotator.call("--test-hooks")
    hooked.broken.touch()
    failed = hooked.rotator.call("--test-hooks")

    assert (fine.returncode, fine.stdout) == (0, "chat: hook reload: fine\n1 hooks run as a test, 0 failed\n")
    assert (failed.returncode, failed.stdout) == (
        1,
        "chat: hook reload: it ended with 1\n1 hooks run as a test, 1 failed\n",
    )
    assert hooked.told.read_text().splitlines() == ["chat test test"] * 2
    assert not (hooked.folder / "state.db").exists()
    assert len(hooked.simulator.requests()) == asked
    assert hooked.place.read_text() == f"{FIELD}={hooked.old.secret.reveal()}\n"
