"""A log that can't be written: keys are rotated all the same, people are told elsewhere, and the service heals."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import yaml

from tests.e2e.installation import FIELD, POLICY, credentials, document, in_file, ours, policy, record, soon, until
from tests.e2e.test_notifications import SIGNING
from tests.parts.forked import Forked
from tests.parts.receiver import receiver
from tests.parts.rotator import COMMAND, Rotator
from tests.parts.simulator import PROJECT, Simulator
from tests.systemd.manager import feeds, manager, status_of

LARGEST = 64 * 1024 * 1024
"""Bytes of a log on a full disk: no other file of the service grows so far."""


class Installation:
    """A rotator with one policy whose key is not due, and the document that it runs with."""

    def __init__(self, folder: Path, simulator: Simulator, **rest: Any) -> None:
        self.folder, self.simulator, self.log = folder, simulator, folder / "log"
        by_hand = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(3600))
        (folder / ".env").write_text(f"{FIELD}={by_hand.secret.reveal()}\n")
        self.document = document(folder, simulator.base_url, [policy(in_file(folder / ".env"))], **rest)
        self.rotator = Rotator(folder, self.document, {**credentials(simulator), "SIGNING": SIGNING})

    def write(self, **changed: Any) -> None:
        self.rotator.config.write_text(yaml.safe_dump(self.document | changed))

    def rotate(self) -> None:
        """Ask for a new key, and wait until it is there."""
        before = len(ours(self.simulator))
        assert self.rotator.command("rotate", POLICY, "--reason", "a test").returncode == 0
        until(lambda: len(ours(self.simulator)) > before)

    @contextmanager
    def service(self, stderr: int | IO[bytes]) -> Iterator[subprocess.Popen[str]]:
        process = Forked(
            ["--config", str(self.rotator.config)],
            env=self.rotator.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def fill(self, process: subprocess.Popen[str]) -> None:
        """The disk of the log is full; ``os.truncate`` makes room again. See prlimit(2)."""
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LARGEST, resource.RLIM_INFINITY))
        os.truncate(self.log, LARGEST)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_log_on_a_full_disk_stops_no_rotation_no_reload_and_no_notification_and_is_told_elsewhere(
    tmp_path: Path, simulator: Simulator
) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    with manager() as systemd, receiver() as hook:
        installation = Installation(
            tmp_path,
            simulator,
            http={"listen": f"127.0.0.1:{port}"},
            notifications={"ops": {"type": "webhook", "url": hook.url, "secret": {"env": "SIGNING"}}},
        )
        installation.rotator.environ |= systemd.environ()
        with installation.log.open("ab") as log, installation.service(log) as process:
            hook.wait(lambda it: "rotator.adopted" in it.kinds())
            installation.fill(process)
            hook.answers = [(500, {})]
            installation.rotate()
            until(lambda: not record(tmp_path).in_flight)
            hook.wait(lambda it: len(it.requests) > 1)
            installation.write(colour="red")
            process.send_signal(signal.SIGHUP)
            systemd.hear(lambda message: "the new configuration is wrong" in status_of(message))
            why = "the log can't be written: File too large"
            systemd.hear(lambda message: feeds(message) and why in status_of(message))
            ready = httpx.get(f"{url}/readyz")
            assert (ready.status_code, why in ready.json()["warnings"]) == (200, True)
            lost = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if "lines_lost_total" in line]
            assert float(lost[-1].split()[-1]) > 5

            os.truncate(installation.log, 0)
            another = policy(in_file(tmp_path / "batch.env"), name="batch")
            installation.write(policies=[*installation.document["policies"], another])
            process.send_signal(signal.SIGHUP)
            systemd.hear(lambda message: "the new configuration is in force" in status_of(message))
            until((tmp_path / "batch.env").exists)
            hook.wait(lambda it: "batch" in {body["data"]["policy"] for body in it.bodies()})
            systemd.hear(lambda message: feeds(message) and status_of(message).startswith("policies: 2"))
            assert "warnings" not in httpx.get(f"{url}/readyz").json()
            assert httpx.get(f"{url}/healthz").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    assert '"event": "log.lines_lost"' in installation.log.read_text()


def test_a_log_whose_reader_has_gone_stops_no_rotation_and_spoils_no_exit_code(
    tmp_path: Path, simulator: Simulator
) -> None:
    installation = Installation(tmp_path, simulator)
    reader, writer = os.pipe()
    with installation.service(writer) as process:
        os.close(writer)
        said = b""
        while b"key.adopted" not in said:
            said += os.read(reader, 4096)
        os.close(reader)
        installation.rotate()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_pass_whose_log_nobody_can_take_rotates_and_exits_0(tmp_path: Path, simulator: Simulator) -> None:
    installation = Installation(tmp_path, simulator)
    assert installation.rotator.run_once().returncode == 0
    assert installation.rotator.command("rotate", POLICY, "--reason", "a test").returncode == 0
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "--log-level", "debug", "--config", str(installation.rotator.config), "--run-once"],
            env=installation.rotator.environ,
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
            check=False,
        )
    assert (done.returncode, len(ours(simulator))) == (0, 1), done.stdout
