"""Hooks on real parts: a program that fails keeps the old key, one that succeeds lets it go, and a trial is alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
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
            [policy(in_file(self.place), grace="1s", hooks=["reload"])],
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


def test_promises_2_and_3_the_old_key_stays_until_the_hook_succeeds_which_gets_no_secret(hooked: Hooked) -> None:
    hooked.broken.touch()
    first = hooked.rotator.run_once()
    remembered = record(hooked.folder)
    (new, over) = remembered.current, max(key.grace_until for key in remembered.keys if key.grace_until)
    assert new is not None
    assert (first.returncode, new.hooks_due) == (1, ("reload",))
    assert "hook reload: it ended with 1" in first.stdout
    assert "hooks still to run: reload" in hooked.rotator.command("status").stdout

    until(lambda: datetime.now(UTC) > over)
    hooked.pass_now("20s")
    assert hooked.state() == "live", "its grace is over, and its consumers were not told"

    hooked.broken.unlink()
    assert f"ran hook reload for {new.key_id}" in hooked.pass_now("10s")
    until(lambda: at_rest(hooked.folder) or not hooked.rotator.run_once())
    assert hooked.state() == "revoked"
    assert hooked.told.read_text().splitlines() == [f"chat {new.key_id}"] * 3
    key = hooked.place.read_text().partition(f"{FIELD}=")[2].splitlines()[0]
    secrets = [hooked.old.secret.reveal(), key, hooked.simulator.management_key.reveal()]
    written = {name: (hooked.folder / name).read_bytes() for name in ("environ", "told")}
    assert written["environ"].count(b"ROTATOR_KEY_ID=") == 3
    assert search(secrets, written) == []


def test_promise_6_a_trial_runs_the_hooks_alone_and_a_dry_run_only_names_them(hooked: Hooked) -> None:
    asked = len(hooked.simulator.requests())
    fine = hooked.rotator.call("--test-hooks")
    hooked.broken.touch()
    failed = hooked.rotator.call("--test-hooks")

    assert (fine.returncode, fine.stdout) == (0, "chat: hook reload: fine\n1 hook run as a test, 0 failed\n")
    assert (failed.returncode, failed.stdout) == (
        1,
        "chat: hook reload: it ended with 1\n1 hook run as a test, 1 failed\n",
    )
    assert hooked.told.read_text().splitlines() == ["chat test test"] * 2
    assert not (hooked.folder / "state.db").exists()
    assert len(hooked.simulator.requests()) == asked
    assert hooked.place.read_text() == f"{FIELD}={hooked.old.secret.reveal()}\n"

    hooked.place.write_text("")
    plan = hooked.rotator.call("--dry-run", "--format", "json")
    (action,) = json.loads(plan.stdout)["policies"][0]["actions"]
    assert action["what"].endswith("; then run hooks: reload")
    assert len(hooked.told.read_text().splitlines()) == 2
