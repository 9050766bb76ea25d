"""Inside the process that is put to the test: its clock, and the faults of its own effects (commits and files)."""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from rotator import telemetry
from rotator.adapters.journal.sql import SqlJournal
from rotator.bootstrap import application
from rotator.clock import SystemClock
from rotator.config import AwsSettings, Settings, VaultSettings, load
from rotator.entrypoints.once import run_once
from rotator.errors import RotatorError
from tests.faults.points import Fault, Trace

_LONGEST_SKIP = 4 * 3600  # seconds: a pass that waits longer than this does not end
CRASHED = 70
"""The exit code of a pass that an unexpected exception ended (``EX_SOFTWARE``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One pass to make.

    :param folder: of the installation: ``rotator.yaml`` and the journal are in it.
    :param control: a folder of the test's own: the trace and the time.
    :param environ: what the configuration refers to.
    :param simulator: host and port of the simulator's control API: time passes there too.
    :param timeout: of every client, in seconds.
    :param output: where standard output and error go.
    """

    folder: str
    control: str
    environ: Mapping[str, str]
    simulator: str
    plan: Mapping[int, Fault]
    timeout: float
    output: str

    @classmethod
    def read(cls, line: str) -> Order:
        """From one line of JSON."""
        given = json.loads(line)
        given["plan"] = {int(number): Fault(fault) for number, fault in given["plan"].items()}
        return cls(**given)


class DrivenClock(SystemClock):
    """Real time and what was skipped. A wait is a skip: here, and on the simulated platform."""

    def __init__(self, control: Path, simulator: str) -> None:
        super().__init__()
        self._file = control / "offset"
        self._simulator = simulator
        self._offset = float(self._file.read_text())
        self._left = float(_LONGEST_SKIP)

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._offset)

    def sleep(self, duration: timedelta) -> None:
        super().sleep(timedelta(0))
        self.skip(duration.total_seconds())

    def skip(self, seconds: float) -> None:
        """Let time pass at once."""
        if seconds <= 0:
            return
        self._left -= seconds
        assert self._left > 0, "a pass waits without end"
        self._offset += seconds
        self._file.write_text(repr(self._offset))
        connection = http.client.HTTPConnection(self._simulator, timeout=30)
        connection.request("POST", "/_simulator/clock", json.dumps({"advance": seconds}))
        assert connection.getresponse().status == http.client.OK
        connection.close()


class _Sleep:
    """``time.sleep`` of this process, put in place before any library takes it for a default argument."""

    def __init__(self) -> None:
        self.skip: Callable[[float], None] = time.sleep

    def __call__(self, seconds: float) -> None:
        self.skip(seconds)


sleep = _Sleep()


def die() -> None:
    """As by the kernel: nothing is closed, flushed or given back."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


class Local:
    """The fault points of this process, until one of a place lasts."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._lasting: set[str] = set()

    @contextmanager
    def point(self, place: str, what: str, error: Callable[[], Exception]) -> Iterator[None]:
        """An effect is about to be carried out in the block."""
        fault = self._trace.reach(place, what)
        if fault is not None and fault.lasts:
            self._lasting.add(place)
        if place in self._lasting:
            raise error()
        if fault in {None, Fault.ARRIVAL}:
            yield
            return
        if not fault.comes_after:
            if fault.kills:
                die()
            raise error()
        yield
        if fault.kills:
            die()
        raise error()


def watch_journal(local: Local) -> None:
    """Each commit of a transaction that changed something is a point; it is named by what was recorded."""
    doing = ["other"]
    changes: dict[int, int] = {}
    commit = DefaultDialect.do_commit

    def do_commit(self: DefaultDialect, connection: Any) -> None:
        raw = connection.dbapi_connection
        if raw.total_changes == changes.get(id(raw), 0):
            commit(self, connection)
            return
        with local.point("journal", doing[0], lambda: sqlite3.OperationalError("database or disk is full")):
            commit(self, connection)
        changes[id(raw)] = raw.total_changes

    DefaultDialect.do_commit = do_commit

    def named(name: str) -> None:
        plain = getattr(SqlJournal, name)

        def call(self: SqlJournal, *args: Any, **kwargs: Any) -> Any:
            events = args[1] if name == "append" else ()
            doing[0] = "+".join(type(event).__name__ for event in events) or name
            try:
                return plain(self, *args, **kwargs)
            finally:
                doing[0] = "other"

        setattr(SqlJournal, name, call)

    for name in ("acquire", "release", "append", "note_look", "request"):
        named(name)


def watch_files(local: Local, folder: str) -> None:
    """Each effect on files below the folder is a point."""

    def watched(
        plain: Callable[..., Any], path_of: Callable[..., object], name_of: Callable[..., str], number: int
    ) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            path = path_of(*args)
            if not (isinstance(path, str | os.PathLike) and os.fspath(path).startswith(folder)):
                return plain(*args, **kwargs)
            with local.point("dotenv", name_of(*args), lambda: OSError(number, os.strerror(number))):
                return plain(*args, **kwargs)

        return call

    def opening(_path: object, flags: int, *_mode: int) -> str:
        return "create" if flags & os.O_CREAT else "lock" if flags & os.O_DIRECTORY else "read"

    def behind(descriptor: int) -> Path:
        return Path(f"/proc/self/fd/{descriptor}").readlink()

    os.open = watched(os.open, lambda path, *_: path, opening, errno.EIO)
    os.fsync = watched(
        os.fsync, behind, lambda file: "fsync directory" if behind(file).is_dir() else "fsync", errno.ENOSPC
    )
    os.replace = watched(os.replace, lambda _, target: target, lambda *_: "replace", errno.ENOSPC)
    os.unlink = watched(os.unlink, lambda path, *_: path, lambda *_: "unlink", errno.EIO)


def run(order: Order) -> int:
    """A pass with its faults; returns the exit code."""
    local = Local(Trace(Path(order.control) / "trace", order.plan))
    watch_journal(local)
    watch_files(local, f"{order.folder}/chat")
    return one_pass(order)


def one_pass(order: Order) -> int:
    """``rotator --run-once --log-level debug``, as the command line does it; returns the exit code."""
    clock = DrivenClock(Path(order.control), order.simulator)
    sleep.skip = clock.skip
    settings = _patient(load(Path(order.folder) / "rotator.yaml", order.environ), order.timeout)
    telemetry.configure(level="debug", style="json")
    try:
        with application(settings, order.environ, clock=clock) as wired:
            return run_once(wired)
    except RotatorError as error:
        sys.stderr.write(f"rotator: {error}\n")
        return 1


def _patient(settings: Settings, seconds: float) -> Settings:
    """Every client gives up after so long; the configuration itself allows no less than a second."""
    timeout = timedelta(seconds=seconds)
    return replace(
        settings,
        providers={name: replace(one, timeout=timeout) for name, one in settings.providers.items()},
        backends={
            name: replace(one, timeout=timeout) if isinstance(one, VaultSettings | AwsSettings) else one
            for name, one in settings.backends.items()
        },
    )
