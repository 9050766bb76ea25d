"""This process among others: who it is, whether another one is dead, and that it leaves no core dump."""

from __future__ import annotations

import os
import resource
import socket
import uuid
from pathlib import Path


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
    return "" if state in {"Z", "X"} else fields[18]
