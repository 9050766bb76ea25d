"""Rotators as processes: one that is killed and started again, passes as cron makes them, one that is frozen."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.parts.rotator import Rotator, Service
from tests.soak.stage import GRACE, Stage

STEPS = (
    "rotation.intended",
    "key.issued",
    "key.verified",
    "destination.published",
    "grace.started",
    "revocation.intended",
    "key.revoked",
)
"""After each of these lines a kill or a freeze hits another step of a rotation."""

_POLICY = re.compile(r'"policy": "([^"]+)"')
_LONGEST_LIFE = 20.0  # seconds, where the step did not come


class Trigger:
    """Sends a signal, from the thread that reads the log, right after a chosen line was written.

    The line is one of a policy that uses a chosen kind of backend. Chosen among the lines of all, it would nearly
    always be one of the quickest backend's: a process whose life ends after two seconds does not even come to AWS,
    whose client takes as long to load, and the steps there would meet no kill and get no turn.

    :param number: the signal; ``None`` only sets ``due``.
    :param most: at which line of its kind at the latest.
    :param users: the policies that use a backend, by its kind.
    """

    def __init__(
        self, rng: random.Random, number: signal.Signals | None, *, most: int, users: Mapping[str, Collection[str]]
    ) -> None:
        self._rng, self._number, self._most, self._users = rng, number, most, users
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._event, self._among, self._left = "", frozenset[str](), 0
        self.due = threading.Event()

    def arm(self, process: subprocess.Popen[str]) -> None:
        """Choose a line, and wait for it."""
        with self._lock:
            self._event = f'"event": "{self._rng.choice(STEPS)}"'
            self._among = frozenset(self._users[self._rng.choice(sorted(self._users))])
            self._left = self._rng.randint(2, self._most)
            self._process = process
            self.due.clear()

    def watch(self, line: str) -> None:
        """One line of the log."""
        with self._lock:
            if self._process is None or self._event not in line:
                return
            policy = _POLICY.search(line)
            if policy is None or policy[1] not in self._among:
                return
            self._left -= 1
            if self._left <= 0:
                if self._number is not None:
                    self._process.send_signal(self._number)
                self._process = None
                self.due.set()

    def disarm(self) -> None:
        """From now on nothing happens."""
        with self._lock:
            self._process = None


class Crew:
    """Threads that each look after one process; what these wrote is in ``written``, what went wrong in ``failures``."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.written: dict[str, bytes] = {}
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process in order."""
        self.stopping.set()
        for thread in self._threads:
            thread.join()

    def steady(self, rotator: Rotator) -> None:
        """A service that nobody disturbs."""
        self._start(lambda: self._undisturbed(rotator))

    def restless(self, rotator: Rotator, rng: random.Random) -> None:
        """A service that is killed (or, now and then, told to stop) in the middle of a step, and started again."""

        def lives() -> None:
            while not self.stopping.is_set():
                self._one_life(rotator, rng, "restless service")

        self._start(lives)

    def cron(self, rotator: Rotator) -> None:
        """One pass after the other."""

        def passes() -> None:
            while not self.stopping.wait(0.3):
                with rotator.service(arguments=("--run-once", "--log-level", "debug")) as one:
                    while one.process.poll() is None and not self.stopping.wait(0.1):
                        pass
                    code = self._stopped(one)
                self._note("pass", code, [*one.output, *one.lines], expected=(0, 1, 75, -15))

        self._start(passes)

    def frozen(self, rotator: Rotator, rng: random.Random, lease: float) -> None:
        """A service that is stopped in the middle of a step for longer than its leases last, again and again."""

        trigger = Trigger(rng, signal.SIGSTOP, most=8, users=self._stage.users)

        def freezes() -> None:
            with rotator.service(trigger.watch, arguments=("--log-level", "debug")) as service:
                trigger.arm(service.process)
                try:
                    while not self.stopping.is_set() and service.process.poll() is None:
                        if trigger.due.wait(0.2):
                            self._count("freezes")
                            self.stopping.wait(lease * rng.uniform(1.3, 2))
                            _thaw(service.process)
                            self.stopping.wait(rng.uniform(0.5, 2))
                            trigger.arm(service.process)
                finally:
                    trigger.disarm()
                    _thaw(service.process)
                code = self._stopped(service)
            self._note("frozen service", code, [*service.output, *service.lines], expected=(0, -15))

        self._start(freezes)

    def _one_life(self, rotator: Rotator, rng: random.Random, name: str) -> None:
        gently = rng.random() < 0.1
        fate = Trigger(rng, None if gently else signal.SIGKILL, most=25, users=self._stage.users)
        with rotator.service(fate.watch, arguments=("--log-level", "debug")) as service:
            fate.arm(service.process)
            until = time.monotonic() + _LONGEST_LIFE
            while not (self.stopping.is_set() or fate.due.wait(0.1) or time.monotonic() > until):
                if service.process.poll() is not None:
                    break
            fate.disarm()
            if self.stopping.is_set() or gently:
                code = self._stopped(service)
                self._count("stops", when=gently)
            else:
                service.kill()
                code = service.process.returncode
                self._count("kills")
        self._note(name, code, [*service.output, *service.lines], expected=(0, -9, -15))

    def _undisturbed(self, rotator: Rotator) -> None:
        with rotator.service(arguments=("--log-level", "debug")) as service:
            while not self.stopping.wait(0.1) and service.process.poll() is None:
                pass
            code = self._stopped(service)
        self._note("steady service", code, [*service.output, *service.lines], expected=(0, -15))

    def _stopped(self, service: Service) -> int:
        """SIGTERM, and the exit code. A process that does not heed it tells where it hangs (faulthandler)."""
        service.process.terminate()
        try:
            service.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            state = _state(Path(f"/proc/{service.process.pid}"))
            service.process.send_signal(signal.SIGABRT)
            service.process.send_signal(signal.SIGCONT)
            service.wait()
            said = "".join(service.lines[-200:])
            self.failures.append(f"a service (state {state}) did not stop: {said[said.find('Fatal Python') :]}")
        return service.wait()

    def _start(self, work: Callable[[], object]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a thread's failure is the run's
                self.failures.append(f"{type(error).__name__}: {str(error)[:500]}")

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _count(self, name: str, *, when: bool = True) -> None:
        with self._lock:
            self.counts[name] += when

    def _note(self, name: str, code: int, texts: list[str], *, expected: tuple[int, ...]) -> None:
        """What a process wrote. One that is told to stop before it has begun ends by the signal itself: -15."""
        text = "".join(texts)
        with self._lock:
            self.counts[name] += 1
            self.counts["busy looks"] += text.count('"result": "busy"')
            self.written[f"{name} {self.counts[name]}"] = text.encode()
            if code not in expected:
                self.failures.append(f"{name} ended with {code}: {text[-500:]}")
            # APScheduler's own thread can end with one when it is shut down in the middle of its work.
            until_stopped = text.partition('"event": "service.stopping"')[0]
            for sign in ("look.crashed", "Traceback"):
                if sign in until_stopped:
                    at = until_stopped.find(sign)
                    self.failures.append(f"{name} crashed: {text[max(0, at - 200) : at + 1500]}")


def _thaw(process: subprocess.Popen[str]) -> None:
    """Let a frozen process go on, and wait until every thread of it does."""
    process.send_signal(signal.SIGCONT)
    tasks = Path(f"/proc/{process.pid}/task")
    while process.poll() is None and any(_state(task) == "T" for task in tasks.iterdir()):
        time.sleep(0.01)


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return ""


class Consumers:
    """The process of the consumers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.counts: Counter[str] = Counter()
        self.refused: list[dict[str, Any]] = []

    def stop(self) -> None:
        """Count what they have seen; ``RuntimeError`` where they had ended by themselves."""
        self._process.terminate()
        said = [json.loads(line) for line in self._process.communicate(timeout=120)[0].splitlines()]
        if not said or said[-1].pop("what") != "counts":
            raise RuntimeError("the consumers have ended by themselves; their error is above")
        self.counts.update(said.pop())
        self.refused = said


@contextmanager
def consumers(stage: Stage) -> Iterator[Consumers]:
    """Consumers of every place, until the end of the block or ``stop``."""
    task = {
        "base_url": stage.simulator.base_url,
        "vault": {"url": stage.openbao.url, "mount": stage.mount, "token": stage.openbao.token.reveal()},
        "aws": {"url": stage.aws.url, "region": stage.aws.region},
        "grace": GRACE,
        "places": [{"policy": p.policy, "kind": p.kind, "where": p.where, "name": p.name} for p in stage.places],
    }
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.consumer"],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(task))
        process.stdin.close()
        process.stdin = None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the consumers did not start; their error is above")
        yield Consumers(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close() if process.stdout else None
