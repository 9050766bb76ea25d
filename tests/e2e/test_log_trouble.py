"""A log or a report can't be written: keys are rotated all the same, people are told elsewhere, the service heals."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import yaml

from rotator.adapters.journal.sql import SqlJournal
from tests.e2e.installation import FIELD, POLICY, credentials, document, in_file, ours, policy, record, soon, until
from tests.e2e.test_cli import NOWHERE
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


# --- what is printed ---------------------------------------------------------------------------------------

UNWRITTEN = {
    "full disk": (">/dev/full", "rotator: the output can't be written: No space left on device\n"),
    "no output": (">&-", "rotator: the output can't be written: Bad file descriptor\n"),
    "reader gone": ("| true", ""),
    "nothing at all": (">/dev/full 2>/dev/full", ""),
    "neither": (">&- 2>&-", ""),
}


def shell(rotator: Rotator, arguments: str, where: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """As an operator calls it; the exit code is the command's, whatever it is piped into."""
    return subprocess.run(
        ["bash", "-c", f"{shlex.join(COMMAND)} {arguments} {where}; exit ${{PIPESTATUS[0]}}"],
        env={**rotator.environ, "ROTATOR_CONFIG": str(rotator.config)},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("where", "said"), UNWRITTEN.values(), ids=UNWRITTEN.keys())
def test_a_pass_whose_report_can_not_be_written_does_all_its_work_and_exits_1(
    tmp_path: Path, simulator: Simulator, where: str, said: str
) -> None:
    """One policy is not due: its line comes before any work."""
    with receiver() as hook:
        channel = {"type": "webhook", "url": hook.url, "secret": {"env": "SIGNING"}}
        installation = Installation(tmp_path, simulator, notifications={"ops": channel})
        assert installation.rotator.run_once().returncode == 0
        installation.write(policies=[*installation.document["policies"], policy(in_file(tmp_path / "b"), name="batch")])
        done = shell(installation.rotator, "--run-once", where)
        assert (done.returncode, done.stderr) == (1, said)
        assert (tmp_path / "b").exists()
        assert "batch" in {body["data"].get("policy") for body in hook.bodies()}


def test_a_pass_that_failed_or_found_another_at_work_says_so_by_its_code_whatever_becomes_of_its_report(
    tmp_path: Path, simulator: Simulator
) -> None:
    installation = Installation(tmp_path, simulator)
    assert installation.rotator.run_once().returncode == 0
    assert installation.rotator.command("rotate", POLICY, "--reason", "a test").returncode == 0
    journal = SqlJournal.open(f"sqlite:///{tmp_path}/state.db", is_dead=lambda _holder: False)
    lease = journal.acquire(POLICY, "another", datetime.now(UTC), timedelta(minutes=5))
    assert shell(installation.rotator, "--run-once", ">/dev/full").returncode == 75
    journal.release(lease)
    journal.close()


COMMANDS = (
    "--help",
    "status",
    "status --json",
    "schema",
    "audit",
    "audit --format html",
    "plan --until 1d",
    "history",
    "history --verify",
    "history --export -",
    "policy vault",
    "requests",
    "validate",
    "--dry-run",
    "--dry-run --format json",
    "rotate chat --reason why",
)


def test_output_that_can_not_be_written_is_told_in_one_line_by_every_command(
    tmp_path: Path, simulator: Simulator
) -> None:
    vault = {"type": "vault", "url": NOWHERE, "auth": {"method": "token", "token": {"env": "SIGNING"}}}
    installation = Installation(tmp_path, simulator, backends={"vault": vault})
    assert installation.rotator.run_once().returncode == 0
    environ = {**installation.rotator.environ, "ROTATOR_CONFIG": str(installation.rotator.config)}

    def printed(command: str, where: int) -> tuple[int, list[str]]:
        with Forked(command.split(), env=environ, stdout=where, stderr=subprocess.PIPE, text=True) as process:
            _, errors = process.communicate(timeout=60)
        # An export tells the number of its events there.
        return process.returncode, [line for line in errors.splitlines() if not line.startswith("-: ")]

    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full:
        on_a_full_disk = {command: printed(command, full.fileno()) for command in COMMANDS}
    to_nobody = {command: printed(command, writer) for command in COMMANDS}
    os.close(writer)
    why = "rotator: the output can't be written: No space left on device"
    assert on_a_full_disk == dict.fromkeys(COMMANDS, (1, [why]))
    assert to_nobody == dict.fromkeys(COMMANDS, (1, []))


def test_an_order_is_carried_out_as_a_whole_whatever_becomes_of_its_output(
    tmp_path: Path, simulator: Simulator
) -> None:
    installation = Installation(tmp_path, simulator)
    policies = [policy(in_file(tmp_path / name), name=name) for name in ("one", "two")]
    installation.write(policies=policies)
    assert shell(installation.rotator, "hold --all --reason why", ">/dev/full").returncode == 1
    held = json.loads(installation.rotator.command("status", "--json").stdout)["policies"]
    assert all(one["hold"] for one in held)


def test_a_key_is_taken_as_a_whole_whatever_becomes_of_the_output(tmp_path: Path, simulator: Simulator) -> None:
    installation = Installation(tmp_path, simulator)
    assisted = {"type": "together", "issuance": "assisted", "base_url": simulator.base_url}
    by_people = policy(in_file(tmp_path / ".env")) | {"lifetime": "30d", "renew_before": "7d"}
    installation.write(providers={"together": assisted}, policies=[by_people])
    (tmp_path / ".env").unlink()
    made = simulator.create_key_by_hand(PROJECT, "new", expires_at=soon(3600))
    done = shell(installation.rotator, f"submit {POLICY} --expires never", ">/dev/full", made.secret.reveal())
    assert (done.returncode, done.stderr) == (1, UNWRITTEN["full disk"][1])
    assert made.secret.reveal() in (tmp_path / ".env").read_text()
    current = record(tmp_path).current
    assert current is not None
    assert current.key_id == made.key_id


def test_status_that_is_watched_ends_with_its_terminal(tmp_path: Path, simulator: Simulator) -> None:
    installation = Installation(tmp_path, simulator)
    assert installation.rotator.run_once().returncode == 0
    here, theirs = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "status", "--watch", "--config", str(installation.rotator.config)],
        env=installation.rotator.environ,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    said = b""
    while POLICY.encode() not in said:
        said += os.read(here, 4096)
    os.close(here)
    assert process.wait(20) == 1
