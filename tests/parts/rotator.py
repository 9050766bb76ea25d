"""The rotator as a process of its own, on a configuration that a test writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.parts.forked import Forked, run

COMMAND = [sys.executable, "-m", "rotator"]


class Rotator:
    """One installation: a configuration, its environment, and the calls on it.

    :param fresh: each call starts a new interpreter, for what is decided by that: which packages are installed.
    """

    def __init__(
        self, folder: Path, document: Mapping[str, Any], environ: Mapping[str, str], *, fresh: bool = False
    ) -> None:
        self._fresh = fresh
        self.folder = folder
        self.config = folder / "rotator.yaml"
        self.config.write_text(yaml.safe_dump(dict(document), sort_keys=False))
        self.environ = {**os.environ, **environ}

    def call(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with the configuration and these options."""
        return self._run("--config", str(self.config), *arguments, timeout=timeout)

    def command(self, name: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one of its commands to its end."""
        return self._run(name, *arguments, "--config", str(self.config), timeout=timeout)

    def _run(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        if not self._fresh:
            return run([*arguments], env=self.environ, timeout=timeout)
        return subprocess.run(
            [*COMMAND, *arguments], env=self.environ, capture_output=True, text=True, timeout=timeout, check=False
        )

    def run_once(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """One pass, as cron would."""
        return self.call("--run-once", *arguments, timeout=timeout)

    @contextmanager
    def service(
        self, on_line: Callable[[str], None] | None = None, *, arguments: Sequence[str] = ()
    ) -> Iterator[Service]:
        """The service, stopped at the end."""
        assert not self._fresh, "nobody needs it yet"
        process = Forked(
            ["--config", str(self.config), *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        service = Service(process, on_line)
        try:
            yield service
        finally:
            service.stop()


class Service:
    """A running service, what it has logged (``lines``) and what it has printed (``output``)."""

    def __init__(self, process: subprocess.Popen[str], on_line: Callable[[str], None] | None) -> None:
        self.process = process
        self.lines: list[str] = []
        self.output: list[str] = []
        self._on_line = on_line
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_log, self._read_output)]
        for reader in self._readers:
            reader.start()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if self._on_line:
                self._on_line(line)

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)

    def events(self) -> list[dict[str, Any]]:
        """The log as dictionaries; lines that are no JSON are passed over."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def wait_for(self, wanted: Callable[[list[dict[str, Any]]], bool], *, seconds: float = 40) -> None:
        """Until the log fulfils ``wanted``; fails with the log when it does not."""
        deadline = time.monotonic() + seconds
        while not wanted(self.events()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError("the service did not get there; its log:\n" + "".join(self.lines))
            time.sleep(0.02)

    def wait_for_event(self, name: str, *, times: int = 1, seconds: float = 40, **fields: str) -> None:
        """Until an event of this name, with these fields, was logged so often."""
        self.wait_for(lambda events: count(events, name, **fields) >= times, seconds=seconds)

    def stop(self, *, seconds: float = 40) -> int:
        """SIGTERM, as systemd would; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds=seconds)

    def kill(self) -> None:
        """SIGKILL, as the kernel would when memory runs out."""
        self.process.kill()
        self.wait()

    def wait(self, *, seconds: float = 40) -> int:
        """Until the process has ended and its log is read to the end; returns the exit code."""
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        for reader in self._readers:
            reader.join(timeout=5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code


def count(events: list[dict[str, Any]], name: str, **fields: str) -> int:
    """How many events have this name and these fields."""
    return sum(event.get("event") == name and fields.items() <= event.items() for event in events)
