"""The rotator as a process of its own, forked from one that has everything imported.

Starting Python with boto3, hvac, pydantic and SQLAlchemy takes most of a second of work, and the tests start it
hundreds of times. What a child inherits are imported modules: it has its own arguments, environment, folder, signals
and standard streams, and is killed like any other. Whatever is about starting itself is tested with ``sys.executable``.
"""

from __future__ import annotations

import array
import atexit
import functools
import gc
import io
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_MOST = 1024 * 1024  # bytes of an order


class Forked(subprocess.Popen):
    """``subprocess.Popen`` for the rotator. ``args`` are those of its command line, without the program.

    The methods that start a process and look for its end are replaced; how they are called is the same in 3.11 to 3.14.
    """

    def _execute_child(self, args: Any, _executable: Any, *rest: Any) -> None:
        cwd, env, streams, new_session = rest[3], rest[4], rest[8:14], rest[19]
        theirs = (streams[0], streams[3], streams[5])
        order = {
            "args": list(map(str, args)),
            "cwd": os.fspath(cwd or Path.cwd()),
            "environ": dict(os.environ if env is None else env),
            "new_session": bool(new_session),
        }
        self._birth = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._birth.connect(_nursery())
        given = [number if theirs[number] == -1 else theirs[number] for number in range(3)]
        self._birth.sendmsg(
            [json.dumps(order).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))]
        )
        self.pid = int(self._birth.recv(64))
        self._child_created = True
        self._close_pipe_fds(*streams)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        with self._waitpid_lock:
            if self.returncode is None:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        self._birth.setblocking(not wait_flags & os.WNOHANG)
        try:
            said = self._birth.recv(64)
        except BlockingIOError:
            return 0, 0
        self._birth.close()
        return self.pid, int(said or 0)


def run(
    args: list[str], *, given: str | None = None, timeout: float, **options: Any
) -> subprocess.CompletedProcess[str]:
    """To its end, like ``subprocess.run``, with its output.

    :param given: to its standard input.
    """
    piped = {"stdin": subprocess.PIPE if given is not None else subprocess.DEVNULL}
    with Forked(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **piped, **options) as process:
        try:
            output, errors = process.communicate(given, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(args, process.returncode, output, errors)


@functools.cache
def _nursery() -> str:
    """The address of this test process' own; it ends with it."""
    folder = tempfile.mkdtemp(prefix="nursery-")
    address = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.parts.forked", address], stdin=subprocess.PIPE, start_new_session=True
    )

    def end() -> None:
        process.stdin.close()
        process.wait(30)
        os.unlink(address)  # noqa: PTH108 - nothing but the address is known
        os.rmdir(folder)  # noqa: PTH106 - likewise

    atexit.register(end)
    while not os.path.exists(address):  # noqa: PTH110 - likewise
        assert process.poll() is None, "the nursery did not start; see its errors above"
        time.sleep(0.02)
    return address


def _serve(address: str) -> None:
    """Fork a child for each connection, and tell there its process id, then how it ended."""
    waking, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    born: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening, selectors.DefaultSelector() as selector:
        listening.bind(f"{address}.new")
        listening.listen(64)
        Path(f"{address}.new").rename(address)
        for file in (listening, waking, sys.stdin):
            selector.register(file, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is waking:
                    waking.recv(4096)
                    _bury(born)
                    continue
                connection, _ = listening.accept()
                order, streams, _, _ = socket.recv_fds(connection, _MOST, 3)
                pid = os.fork()
                if pid == 0:
                    # All that is the nursery's is closed here; then the child goes its own way, and never returns.
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    selector.close()
                    for file in (listening, waking, woken, connection, *born.values()):
                        file.close()
                    _live(json.loads(order), streams)
                for descriptor in streams:
                    os.close(descriptor)
                born[pid] = connection
                connection.send(str(pid).encode())


def _bury(born: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with born.pop(pid) as connection, suppress(OSError):  # whoever started it may be gone
                connection.send(str(status).encode())


def _live(order: dict[str, Any], streams: list[int]) -> None:
    """A child's whole life."""
    if order["new_session"]:
        os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for descriptor in streams:
        os.close(descriptor)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = _writer(1, line_buffering=os.isatty(1), errors="strict")
    sys.stderr = _writer(2, line_buffering=True, errors="backslashreplace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    sys.argv = ["rotator", *order["args"]]
    code: object = 0
    try:
        runpy.run_module("rotator", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(_finish(code))


def _finish(code: object) -> int:
    """What the interpreter does at its end."""
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = 120
    return code or 0


def _writer(descriptor: int, *, line_buffering: bool, errors: str) -> io.TextIOWrapper:
    file: Any = io.FileIO(descriptor, "w", closefd=False)
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    return io.TextIOWrapper(
        file if unbuffered else io.BufferedWriter(file),
        encoding="utf-8",
        errors=errors,
        line_buffering=line_buffering,
        write_through=unbuffered,
    )


def _prepare() -> None:
    """Import what any command may need. Nothing is opened, asked or configured by that."""
    import pkgutil  # noqa: PLC0415 - the nursery alone needs these
    from importlib import import_module  # noqa: PLC0415

    import rotator  # noqa: PLC0415

    for module in pkgutil.walk_packages(rotator.__path__, "rotator."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:  # these begin to work
            import_module(module.name)
    for name in ("alembic.command", "psycopg", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg"):
        import_module(name)
    import_module("rotator.adapters.journal.codec")._record()
    assert threading.active_count() == 1, "a process with threads can't be forked safely"
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _prepare()
    _serve(sys.argv[1])
