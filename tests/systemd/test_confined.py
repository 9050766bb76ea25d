"""The service under the restrictions of its unit, as far as a test can have them without systemd as process 1.

Another user without any capability, no new privileges, nothing in the environment but what systemd puts there, UMask
and LimitCORE as in the unit, every secret in a directory of credentials, and a state directory of its own.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tests.e2e.installation import FIELD, document, in_file, ours, policy, until
from tests.parts.rotator import COMMAND, Service, count
from tests.parts.simulator import Simulator
from tests.systemd.manager import feeds, manager

NOBODY = 65534  # as good as any number that no file of this machine belongs to


class Confined:
    """What systemd prepares for ``rotator.service``: the folders, the environment, and who it is."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.config = folder / "etc" / "rotator.yaml"
        self.state = folder / "state"
        self.credentials = folder / "credentials"
        self.served = folder / "srv"
        for made, mode in (
            (self.config.parent, 0o755),
            (self.state, 0o700),
            (self.credentials, 0o500),
            (self.served, 0o700),
        ):
            made.mkdir(mode=mode)
        configuration = document(self.state, simulator.base_url, [policy(in_file(self.served / ".env"))])
        configuration["providers"]["together"]["management_key"] = {"credential": "management-key"}
        self.config.write_text(yaml.safe_dump(configuration))
        credential = self.credentials / "management-key"
        credential.write_text(simulator.management_key.reveal())
        credential.chmod(0o400)
        if os.geteuid() == 0:
            for path in (self.state, self.credentials, credential, self.served):
                os.chown(path, NOBODY, NOBODY)
        self.environ = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "LANG": "C.UTF-8",
            "ROTATOR_CONFIG": str(self.config),
            "CREDENTIALS_DIRECTORY": str(self.credentials),
            "STATE_DIRECTORY": str(self.state),
        }

    def command(self, *arguments: str) -> list[str]:
        """The service's command line, behind what takes every privilege away."""
        return [*_without_privileges(), *COMMAND, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command to its end, confined."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environ,
            cwd=self.state,
            umask=0o077,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _without_privileges() -> Sequence[str]:
    setpriv = shutil.which("setpriv")
    assert setpriv, "setpriv is missing: install it (Debian: apt-get install util-linux)"
    command = [setpriv, "--no-new-privs"]
    if os.geteuid() != 0:
        return command
    nobody = [*command, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    bare = [*nobody, "--inh-caps=-all", "--bounding-set=-all"]
    if (
        subprocess.run(
            [*bare, sys.executable, "-c", "import rotator.bootstrap"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return bare
    # Python itself is installed where only root can read, as under /root: then this one capability has to stay.
    kept = "dac_read_search"
    return [*nobody, f"--inh-caps=-all,+{kept}", f"--ambient-caps=-all,+{kept}", f"--bounding-set=-all,+{kept}"]


@pytest.fixture
def confined(simulator: Simulator) -> Iterator[Confined]:
    # Not in tmp_path: pytest keeps its folders from other users.
    with tempfile.TemporaryDirectory(prefix="rotator-confined-") as folder:
        Path(folder).chmod(0o755)
        yield Confined(Path(folder), simulator)


def test_the_confined_service_rotates_and_writes_nowhere_but_into_its_state_and_its_destination(
    confined: Confined, simulator: Simulator
) -> None:
    with manager() as systemd:
        process = subprocess.Popen(
            confined.command(), env={**confined.environ, **systemd.environ()}, cwd=confined.state, umask=0o077,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        service = Service(process, None)
        try:
            systemd.hear(lambda message: "READY=1" in message)
            until(lambda: len(ours(simulator)) == 1 and (confined.served / ".env").exists())
            systemd.hear(feeds)
            status = Path(f"/proc/{process.pid}/status").read_text()
            limits = Path(f"/proc/{process.pid}/limits").read_text()
        finally:
            assert service.stop() == 0

    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert fields["NoNewPrivs"].strip() == "1"
    assert int(fields["CapPrm"], 16) & ~(1 << 2) == 0  # 2 is dac_read_search
    assert fields["Umask"].strip() == "0077"
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4:6] == [
        "0",
        "0",
    ]
    if os.geteuid() == 0:
        assert fields["Uid"].split() == [str(NOBODY)] * 4
    assert count(service.events(), "problem") == count(service.events(), "crashed") == 0
    written = {path.name: stat.S_IMODE(path.stat().st_mode) for path in confined.state.rglob("*") if path.is_file()}
    assert "state.db" in written
    assert set(written) <= {"state.db", "state.db-wal", "state.db-shm"}
    assert set(written.values()) == {0o600}
    assert [path.name for path in confined.served.iterdir() if not path.name.endswith(".lock")] == [".env"]
    assert f"{FIELD}=" in (confined.served / ".env").read_text()


def test_one_confined_pass_and_a_confined_status_work_too(confined: Confined, simulator: Simulator) -> None:
    once = confined.run("--run-once")
    assert (once.returncode, once.stderr) == (0, "")
    assert len(ours(simulator)) == 1
    status = confined.run("status")
    assert (status.returncode, status.stderr) == (0, "")
    assert "chat" in status.stdout


def test_a_credential_that_was_not_loaded_is_named_before_anything_is_done(
    confined: Confined, simulator: Simulator
) -> None:
    (confined.credentials / "management-key").unlink()
    done = confined.run()
    assert done.returncode == 2
    assert "management-key" in done.stderr
    assert list(confined.state.iterdir()) == []
