"""One run: a key made by hand is adopted, replaced and revoked, while faults strike; then what must be true."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from rotator.domain.record import KeyState, PolicyRecord
from tests.faults.checks import at_the_end
from tests.faults.child import CRASHED, Order
from tests.faults.gate import Passing
from tests.faults.installation import PLACES, Installation
from tests.faults.points import Fault, Point, Trace
from tests.faults.stage import Stage

MOST_PASSES = 16
"""How many looks it takes at most until nothing is left to do; two without a fault."""

_QUICK, _CALM = 0.3, 20.0  # seconds until a client gives up, with a hang in the plan and without
_TRIES = 5
_IN_PAST = 30  # seconds until cron comes again, where the policy is due already


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What shall go wrong.

    :param faults: by the number of the point.
    :param first: which place is written first.
    """

    faults: Mapping[int, Fault]
    first: str = PLACES[0]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of one plan.

    :param points: all effects of the run.
    :param struck: how many faults of the plan were met.
    :param made: how many keys were created.
    """

    plan: Plan
    points: list[Point]
    struck: int
    passes: int
    made: int
    violations: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The points and faults, for people."""
        named = {point.number: f"{point.place} {point.what}" for point in self.points}
        return ", ".join(
            f"{number} {named.get(number, 'not reached')}: {fault}" for number, fault in self.plan.faults.items()
        )

    @property
    def again(self) -> str:
        """The command that repeats it."""
        options = " ".join(f"--point {number} --fault {fault}" for number, fault in self.plan.faults.items())
        return f".venv/bin/python -m tests.faults --first {self.plan.first} {options}"

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        """The inverse."""
        faults = {int(number): Fault(fault) for number, fault in given["plan"]["faults"].items()}
        plan = Plan(faults=faults, first=given["plan"]["first"])
        return cls(**{**given, "plan": plan, "points": [Point(**point) for point in given["points"]]})


class Life:
    """One run on a stage."""

    def __init__(self, stage: Stage, plan: Plan, name: str, patience: int = 1) -> None:
        self._stage = stage
        self._plan = plan
        self._at = Installation(stage, name, plan.first)
        self._trace = Trace(self._at.control / "trace", plan.faults)
        self._timeout = _QUICK * patience if any(fault.hangs for fault in plan.faults.values()) else _CALM
        self._passes = 0
        self.disturbed = False
        self._violations: list[str] = []

    def run(self) -> Run:
        """From the first look until nothing is left to do; then the checks."""
        while self._passes < MOST_PASSES:
            code = self._pass()
            self._between(code)
            record, look = self._at.journal()
            if _at_rest(record):
                break
            wait = _IN_PAST if look is None or code < 0 else (look.next_at - self._at.now()).total_seconds() + 0.01
            self._at.skip(wait if wait > 0 else _IN_PAST)
        else:
            self._violations.append(f"not at rest after {MOST_PASSES} passes: {_told(record)}")
        faults = sum(fault is not Fault.ARRIVAL for fault in self._plan.faults.values())
        self._violations += at_the_end(self._at, faults)
        made = len(self._at.ours(self._stage.simulator.keys()))
        points, struck = self._trace.points(), self._trace.struck()
        self._trace.close()
        return Run(
            plan=self._plan,
            points=points,
            struck=struck,
            passes=self._passes,
            made=made,
            violations=list(dict.fromkeys(self._violations)),
        )

    def clean(self) -> None:
        """Remove every trace."""
        for folder in (self._at.folder, self._at.control):
            shutil.rmtree(folder)

    def output(self) -> str:
        """What the rotator wrote, for a person who looks at one run."""
        return "".join(path.read_text() for path in sorted(self._at.folder.glob("output-*.log")))

    def warm_up(self) -> None:
        """The same two looks without faults, made by the nursery itself."""
        for _ in range(2):
            self._stage.nursery.warm_up(self._order())
            self._at.skip((self._at.journal()[1].next_at - self._at.now()).total_seconds() + 0.01)

    def _order(self) -> Order:
        self._passes += 1
        return Order(
            folder=str(self._at.folder),
            control=str(self._at.control),
            environ={**self._at.environ, "TMPDIR": str(self._at.folder / "tmp")},
            simulator=self._stage.simulator.base_url.removeprefix("http://"),
            plan=self._plan.faults,
            timeout=self._timeout,
            output=str(self._at.folder / f"output-{self._passes:02}.log"),
        )

    def _pass(self) -> int:
        order = self._order()
        opened: list[Passing] = []

        def started(pid: int) -> None:
            opened.append(Passing(self._trace, pid, self._timeout, self._on_revoke))
            self._stage.gate.open(opened[0])

        try:
            code = self._stage.nursery.run(order, started)
        finally:
            self._stage.gate.close()
        self.disturbed |= opened[0].slowest > self._timeout / 2
        self._at.catch_up()
        return code

    def _on_revoke(self, key_id: str) -> None:
        """A revocation is about to be carried out: promise 2, at the very moment."""
        holders = [place for place, held in self._at.held().items() if held == key_id]
        if holders:
            self._violations.append(f"a key was revoked that {', '.join(holders)} held (promise 2)")

    def _between(self, code: int) -> None:
        """After each pass: every destination holds a key that the provider accepts (promise 1)."""
        if code == CRASHED or "look.crashed" in self.output():
            self._violations.append("a pass crashed: see its traceback")
        live = {key["id"] for key in self._stage.simulator.keys(state="live")}
        for place, held in self._at.held().items():
            if held not in live:
                self._violations.append(f"after pass {self._passes} {place} held no key that is accepted (promise 1)")


def live(stage: Stage, plan: Plan, name: str) -> tuple[Run, str]:
    """Carry out one plan; returns its run and the rotator's output.

    Where the machine was so busy that a client may have given up on a request that nobody broke, it is repeated
    with more patience.
    """
    if not stage.is_warm:
        _warm_up(stage)
    for attempt in range(_TRIES):
        life = Life(stage, plan, f"{name}-{attempt}", patience=2**attempt)
        try:
            run, output = life.run(), life.output()
        finally:
            life.clean()
        if not life.disturbed:
            break
    return run, output


def _warm_up(stage: Stage) -> None:
    """Once for a stage, before its first run."""
    life = Life(stage, Plan(faults={}), "warm-up")
    life.warm_up()
    life.clean()
    stage.is_warm = True


def _at_rest(record: PolicyRecord) -> bool:
    states = [key.state for key in record.keys]
    return states == [KeyState.CURRENT] and not record.in_flight and not record.open_intents and _replaced(record)


def _replaced(record: PolicyRecord) -> bool:
    """The key made by hand is due from the beginning, so a current key without a rotation is not the end."""
    return bool(record.current and record.current.rotation_id)


def _told(record: PolicyRecord) -> str:
    phases = [str(rotation.phase) for rotation in record.rotations]
    return f"keys {[str(key.state) for key in record.keys]}, rotations {phases}, intents {len(record.open_intents)}"
