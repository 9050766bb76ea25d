"""What stands between the rotator and the three servers: it numbers requests, breaks them, and notes every secret."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.backends.proxy import Answer, Request, Upstream
from tests.faults.points import CHANGING, LATE, Fault, Trace

_LONGEST_HANG = 60  # seconds: no client waits as long
_BROKEN = json.dumps(
    {
        "errors": ["internal error"],
        "error": {"message": "internal error", "type": "server_error", "param": None, "code": None},
        "__type": "InternalServiceError",
        "message": "internal error",
    }
).encode()
_KEYS = re.compile(r"/v1/projects/[^/]+/api-keys(?P<key>/[^/?]+)?(?:\?.*)?")


def name_of(place: str, request: Request) -> str:
    """Which effect a request is, without the names that change from run to run."""
    if place == "aws":
        return request.target
    path = request.path.partition("?")[0]
    keys = _KEYS.fullmatch(request.path)
    if keys:
        return f"{request.method} {'key' if keys['key'] else 'keys'}"
    parts = path.strip("/").split("/")
    if parts[2:3] in (["data"], ["metadata"]):
        return f"{request.method} {parts[2]}".replace("PUT", "POST")
    return f"{request.method} {parts[-1]}"


@dataclass(slots=True)
class Passing:
    """One pass of one run, as the gate sees it."""

    trace: Trace
    pid: int
    timeout: float
    on_revoke: Callable[[str], None]
    hanging: set[tuple[str, str]] = field(default_factory=set)
    out: dict[str, Fault] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)
    slowest: float = 0.0
    waiting: list[threading.Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Late:
    """A request of a killed process that is still on its way."""

    due: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class Gate:
    """The intercept of three proxies. Outside of a pass everything goes through.

    :ivar secrets: of keys, by key id, as they were created.
    :ivar tokens: of logins.
    """

    def __init__(self) -> None:
        self._passing: Passing | None = None
        self._late: list[_Late] = []
        self._overdue: list[_Late] = []
        self.secrets: dict[str, str] = {}
        self.tokens: set[str] = set()

    def open(self, passing: Passing) -> None:
        """A pass begins."""
        self._passing = passing

    def close(self) -> None:
        """The process has ended; what it left under way is carried out now."""
        passing, self._passing = self._passing, None
        passing.ended.set()
        for done in passing.waiting:
            done.wait(_LONGEST_HANG)
        self._arrive()
        self._overdue, self._late = self._late, []

    def _arrive(self) -> None:
        """What processes before this one had sent is carried out."""
        for late in self._overdue:
            late.due.set()
            late.done.wait(_LONGEST_HANG)
        self._overdue = []

    def through(self, place: str, request: Request, upstream: Upstream) -> Answer | None:
        """One request. ``None``: the connection ends without an answer."""
        passing = self._passing
        if passing is None:
            return upstream(request.body)
        what = name_of(place, request)
        fault = passing.trace.reach(place, what) or passing.out.get(place)
        if (place, what) in passing.hanging:
            fault = fault or Fault.HANG_BEFORE
        if fault is Fault.ARRIVAL:
            self._arrive()
        if fault in {None, Fault.ARRIVAL}:
            begun = time.monotonic()
            answer = self._forward(place, request, upstream, passing)
            passing.slowest = max(passing.slowest, time.monotonic() - begun)
            return answer
        return self._break(fault, place, request, lambda: self._forward(place, request, upstream, passing), passing)

    def _break(
        self, fault: Fault, place: str, request: Request, forward: Callable[[], Answer | None], passing: Passing
    ) -> Answer | None:
        what = name_of(place, request)
        if fault in LATE and what not in CHANGING:
            fault = Fault.HANG_AFTER if fault.hangs else Fault.KILL_BEFORE
        if fault is Fault.KILL_LATE:
            return self._kill_late(passing, forward)
        done = threading.Event()
        if fault is Fault.HANG_LATE:
            passing.waiting.append(done)
        if fault.lasts:
            passing.out |= {} if fault.hangs else {place: fault}
            passing.hanging |= {(place, what)} if fault.hangs else set()
        if fault.comes_after:
            forward()
        if fault.kills:
            _kill(passing.pid)
            return None
        if fault.hangs:
            passing.ended.wait(_LONGEST_HANG)
            if fault is Fault.HANG_LATE:
                forward()
                done.set()
            return None
        return None if fault in {Fault.RESET_BEFORE, Fault.RESET_AFTER} else Answer(500, _BROKEN, _JSON)

    def _kill_late(self, passing: Passing, forward: Callable[[], Answer | None]) -> None:
        late = _Late()
        self._late.append(late)
        _kill(passing.pid)
        late.due.wait(_LONGEST_HANG)
        forward()
        late.done.set()

    def _forward(self, place: str, request: Request, upstream: Upstream, passing: Passing) -> Answer | None:
        what = name_of(place, request)
        if what == "DELETE key":
            passing.on_revoke(request.path.rpartition("/")[2])
        answer = upstream(request.body)
        if what == "POST keys" and answer.status == 201:
            made = json.loads(answer.body)
            self.secrets[made["id"]] = made["key"]
        if what == "POST login" and answer.status == 200:
            self.tokens.add(json.loads(answer.body)["auth"]["client_token"])
        return answer


_JSON = (("Content-Type", "application/json"),)


def _kill(pid: int) -> None:
    """Returns when the process is dead: nothing that happens afterwards can reach it."""
    os.kill(pid, signal.SIGKILL)
    stat = Path(f"/proc/{pid}/stat")
    while True:
        try:
            state = stat.read_text(errors="replace").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in {"Z", "X"}:
            return
        time.sleep(0.0005)
