"""This process among others: who it is, whom it has to bury, whether another one is dead; and no core dump of it."""

from __future__ import annotations

import os
import resource
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_waited_for: set[int] = set()
_lock = threading.Lock()


def holder_name() -> str:
    """Who takes leases: ``host/boot-and-namespace/pid/start/random``. Unique, and readable for people."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{_machine()}/{pid}/{_start_of(pid)}/{uuid.uuid4().hex[:6]}"


def on_this_host(who: str) -> str:
    """Who records something, and where: ``service@HOST``."""
    return f"{who}@{socket.gethostname()}"


def is_dead(holder: str) -> bool:
    """Whether a holder is a process of this machine that does not run any more. ``False`` where nobody can know."""
    host, _, rest = holder.partition("/")
    parts = rest.split("/")
    if host != socket.gethostname() or len(parts) != 4 or parts[0] != _machine():  # noqa: PLR2004 - see holder_name
        return False
    return not parts[1].isdigit() or _start_of(int(parts[1])) != parts[2]


def forbid_core_dumps() -> None:
    """A core dump would hold every secret in memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def child(start: Callable[[], int]) -> Iterator[int]:
    """A process that whoever calls this waits for, so that ``bury_orphans`` does not. ``start`` answers its id."""
    with _lock:
        pid = start()
        _waited_for.add(pid)
    try:
        yield pid
    finally:
        with _lock:
            _waited_for.discard(pid)


def bury_orphans() -> None:
    """Reap what has ended, is a child of ours, and was started by somebody else: process 1 inherits such children.

    What a library here has started is in our session, and left to that library.
    """
    with _lock:
        for pid, (state, parent, _, session) in _processes():
            is_heir = state == "Z" and int(parent) == os.getpid() and int(session) != os.getsid(0)
            if is_heir and pid not in _waited_for:
                os.waitpid(pid, os.WNOHANG)


def is_group_alive(group: int) -> bool:
    """Whether a process of that group runs; one that has ended and was not reaped does not."""
    return any(int(fields[2]) == group and fields[0] not in _ENDED for _, fields in _processes())


_ENDED = {"Z", "X"}


def _processes() -> Iterator[tuple[int, list[str]]]:
    """All that we can see: id, and its state, parent, group and session. Source: proc_pid_stat(5)."""
    for one in Path("/proc").iterdir():
        if one.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):
                stat = (one / "stat").read_text(encoding="ascii", errors="replace")
                yield int(one.name), stat.rpartition(")")[2].split()[:4]


def _machine() -> str:
    """This boot and this process namespace: pids of another one say nothing here. Source: proc(5)."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    return f"{boot[:8]}-{namespace}"


def _start_of(pid: int) -> str:
    """When the process started, in clock ticks since boot; empty when it does not run. Source: proc_pid_stat(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in _ENDED else fields[18]
