"""A process that has everything imported, and forks one real rotator process for each pass.

Starting Python with boto3, hvac and SQLAlchemy takes a second; forking takes milliseconds. The nursery has made
passes of its own first, so what is read, imported or compiled on first use is there as well; it keeps no connection,
no file and no second thread from them, so each child begins as a new process would.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import botocore.session
import botocore.useragent
from botocore.config import Config

from rotator.adapters.backends import aws_session
from tests.faults.child import CRASHED, Order
from tests.parts.once import compile_statements_once, read_certificates_once

_NEEDED = {"HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ"}


class Nursery:
    """A context manager around the process.

    :param environ: beside what every process needs. No more: clients read all of it for each request.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        needed = {name: text for name, text in os.environ.items() if name in _NEEDED or name.startswith("PYTHON")}
        self._environ = {**needed, **environ}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=self._environ,
            start_new_session=True,
        )
        if self._line() != "ready":
            raise RuntimeError("the nursery did not start; see its errors above")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(30)
            self._process.stdout.close()

    def run(self, order: Order, started: Callable[[int], None]) -> int:
        """Run one pass to its end; returns its exit code, negative for a signal.

        :param started: called with the process id; the process begins when it returns.
        """
        self._send("fork", order)
        started(int(self._line()))
        self._process.stdin.write("go\n")
        return int(self._line())

    def warm_up(self, order: Order) -> None:
        """Make a pass in the nursery itself."""
        self._send("stay", order)
        if self._line() != "0":
            raise RuntimeError("the nursery can't make a pass; see its output")

    def _send(self, how: str, order: Order) -> None:
        self._process.stdin.write(f"{how} {json.dumps(asdict(order))}\n")

    def _line(self) -> str:
        return self._process.stdout.readline().strip()


class _Clients:
    """botocore's clients, made before the children are: that takes longer than all that a pass asks of AWS.

    None of them has a connection while there is no pass, and the timeouts are all that differs between passes.
    """

    def __init__(self) -> None:
        self._make = botocore.session.Session.create_client
        self._made: dict[tuple[object, ...], Any] = {}

    def client(self, session: botocore.session.Session, service: str, *, endpoint_url: str, config: Config) -> Any:
        """In place of ``botocore.session.Session.create_client``."""
        options = dict(config._user_provided_options)
        key = (session, service, endpoint_url, json.dumps(options, sort_keys=True))
        if key not in self._made:
            self._made[key] = self._make(session, service, endpoint_url=endpoint_url, config=config)
        return self._made[key]

    def be_ready(self, timeout: float) -> None:
        """A pass with this timeout comes."""
        for session, service, endpoint_url, options in list(self._made):
            timeouts = {"connect_timeout": timeout, "read_timeout": timeout}
            self.client(
                session, service, endpoint_url=endpoint_url, config=Config(**{**json.loads(options), **timeouts})
            )


_clients = _Clients()


def _prepare() -> None:
    """What is the same for all processes is made once: statements, root certificates, and what reads service models.

    botocore also writes its name, with all versions and features, twice for each request.
    """
    compile_statements_once()
    read_certificates_once()

    def client(session: botocore.session.Session, service: str, **options: Any) -> Any:
        return _clients.client(session, service, **options)

    botocore.session.Session.create_client = client
    botocore.useragent.UserAgentString.to_string = lambda _: "rotator"
    aws_session._bare = functools.cache(aws_session._bare)


def _stay(order: Order) -> int:
    """A pass without faults in this very process."""
    from tests.faults.child import one_pass  # noqa: PLC0415

    code = _writing_to(order.output, lambda: one_pass(order))
    assert threading.active_count() == 1, "a process with threads can't be forked safely"
    gc.collect()
    gc.freeze()
    return code


def _fork(order: Order) -> int:
    """A pass in a child; tells its process id, and lets it begin when it is told to."""
    _clients.be_ready(order.timeout)
    go, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        os.read(go, 1)
        os._exit(_born(order))
    os.close(go)
    _tell(pid)
    sys.stdin.readline()
    os.close(ready)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _born(order: Order) -> int:
    """A child's whole life."""
    from tests.faults.child import run  # noqa: PLC0415

    try:
        return _writing_to(order.output, lambda: run(order))
    except BaseException:  # noqa: BLE001 -- whatever it is, the test sees it in the output and in the exit code
        return CRASHED


def _writing_to(path: str, do: Callable[[], int]) -> int:
    """Standard output and error go to the file meanwhile."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.close(output)
    try:
        code = do()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, old in enumerate(kept, 1):
            os.dup2(old, descriptor)
            os.close(old)
    return code


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _serve() -> None:
    _prepare()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := sys.stdin.readline():
        how, _, order = line.partition(" ")
        _tell((_stay if how == "stay" else _fork)(Order.read(order)))


if __name__ == "__main__":
    import tests.faults.child

    time.sleep = tests.faults.child.sleep
    _serve()
