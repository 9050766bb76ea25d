"""Weeks of a fleet on simulated time: what it holds, what it grows to, and whether every promise held."""

from __future__ import annotations

import gc
import heapq
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from rotator.domain.chain import Head, read_object
from rotator.domain.events import Held, RotationRequested
from rotator.domain.model import Destination, Policy
from rotator.domain.secret import secrets_in_memory
from rotator.domain.verify import Anchor, Verification
from tests.domain.build import DAY, HOUR, NOW
from tests.fakes.backend import FakeBackend
from tests.fakes.provider import FakeProvider
from tests.model.faults import Crash
from tests.week.process import Process
from tests.week.weather import Exposed, Weather

SETTLE = timedelta(minutes=10)
PROJECTS = 5
BACKENDS = ("vault", "aws", "files")


MOST_LOOKS = 1000
"""Of one policy in a day: many more than a backoff allows."""


class TooOften(AssertionError):
    """A policy asks to be looked at at once, for ever: simulated time would stand still."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process and its journal have grown to."""

    rss: int
    objects: int
    files: int
    threads: int
    secrets: int
    events: int
    pages: int


@dataclass
class Report:
    samples: list[Sample] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


class Week:
    """:param retention: of the journal's events."""

    def __init__(self, folder: Path, *, seed: int, policies: int, retention: timedelta) -> None:
        self.current, self.weather = NOW, Weather(seed)
        self.dice, self.report = self.weather.dice, Report()
        self.provider = FakeProvider(now=self.now)
        self.backends = {name: FakeBackend() for name in BACKENDS}
        self.path, self.dead, self._births = folder / "week.db", set(), count(1)
        self.anchors: list[str] = []
        self.upkeep = {"places": (self,), "every": HOUR, "retention": retention}
        self.policies = {f"policy-{number}": self._policy(number) for number in range(policies)}
        self.often = min(0.2, 0.003 * policies)  # how likely somebody gives an order in an hour
        self.queue: list[tuple[datetime, str]] = []
        self.scheduled: dict[str, datetime] = {}
        self.looks: Counter[str] = Counter()
        self.process = self._start()
        for name in self.policies:
            self._at(self.current + self.dice.random() * HOUR, name)

    # --- ports: the clock, and a place for anchors ----------------------------------------------------------------

    def now(self) -> datetime:
        return self.current

    def sleep(self, duration: timedelta) -> None:
        self.current += duration

    def put(self, line: str) -> None:
        self.anchors = [*self.anchors[-200:], line]

    # --- the run --------------------------------------------------------------------------------------------------

    def run(self, days: int, say: Callable[[str], None] = lambda _text: None) -> Report:
        for day in range(1, days + 1):
            self.looks.clear()
            for _ in range(24):
                self._hour()
            self._housekeeping()
            self.report.samples.append(self._sample())
            if day % 10 == 0 or day == days:
                self._verify()
            say(f"day {day} of {days}, {self.report.samples[-1]}")
        self._calm()
        self.process.close()
        self.report.counts["faults"] = self.weather.struck
        return self.report

    def _hour(self) -> None:
        self.weather.turn()
        self._people()
        end = self.current + HOUR
        while self.queue and self.queue[0][0] <= end:
            at, name = heapq.heappop(self.queue)
            self.current = max(self.current, at)
            self._look(name)
        self.current = max(self.current, end)
        self.process.upkeep.run(self.current)
        if self.current.hour % 6 == 0:
            self._consumers()

    def _look(self, name: str) -> None:
        policy = self.policies.get(name)
        if policy is None or self.scheduled.get(name, self.current) > self.current:
            return  # it has left, or an earlier look has moved its moment
        self.report.counts["looks"] += 1
        self.looks[name] += 1
        if self.looks[name] == MOST_LOOKS:
            self.report.violations.append(f"{self.current}: {name} is looked at again and again")
            raise TooOften(self.report.violations[-1])
        try:
            outcome = self.process.reconciler.reconcile(policy)
        except Crash:
            self.report.counts["crashes"] += 1
            self._restart()
            self._at(self.current, name)
            return
        self.report.counts[outcome.result] += 1
        self.report.violations += [p for p in outcome.problems if p.startswith("unexpected")]
        self._at(outcome.next_at, name)

    def _people(self) -> None:
        """Restarts, reloads, orders."""
        if self.dice.random() < 0.03:
            self._restart()
        if self.dice.random() < 0.03:
            self._reload()
        if self.dice.random() < self.often:
            name = self.dice.choice(list(self.policies))
            leak = self.dice.random() < 0.2
            self._order(name, RotationRequested(reason="by hand", compromised=leak))
        if self.dice.random() < self.often / 2:
            name = self.dice.choice(list(self.policies))
            self._order(name, Held(reason="holiday", until=self.current + 5 * HOUR))

    def _order(self, name: str, event: Held | RotationRequested) -> None:
        self.process.journal.request(name, event, self.current)
        self.report.counts["orders"] += 1
        self._at(self.current, name)

    def _reload(self) -> None:
        name = self.dice.choice(list(self.policies))
        grace = self.dice.choice((2, 6, 12)) * HOUR
        self.policies[name] = replace(self.policies[name], grace=grace, grace_limit=2 * grace, digest=f"{grace}")
        self.process.configure(tuple(self.policies.values()))
        self.report.counts["reloads"] += 1
        self._at(self.current, name)

    def _start(self) -> Process:
        weather = {name: Exposed(backend, self.weather) for name, backend in self.backends.items()}
        process = Process(
            f"process {next(self._births)}",
            url=f"sqlite:///{self.path}",
            dead=self.dead,
            clock=self,
            provider=Exposed(self.provider, self.weather),
            backends=weather,
            upkeep=self.upkeep,
        )
        process.configure(tuple(self.policies.values()))
        return process

    def _restart(self) -> None:
        self.report.counts["restarts"] += 1
        self.process.close()
        self.dead = {self.process.name}
        self.process = self._start()

    def _at(self, at: datetime, name: str) -> None:
        self.scheduled[name] = at
        heapq.heappush(self.queue, (at, name))

    # --- what must hold -------------------------------------------------------------------------------------------

    def _consumers(self) -> None:
        """Promise 1: what a consumer reads is accepted, whatever goes on."""
        for policy in self.policies.values():
            for destination in policy.destinations:
                held = self._held(destination)
                if held and held not in self._accepted(policy.project):
                    self.report.violations.append(f"{self.current}: {destination.name} holds {held}, refused")
                self.report.counts["calls of consumers"] += 1

    def _calm(self) -> None:
        """Promise 4: at the end every policy has one key, everywhere, and no other key of ours lives."""
        self.weather.clear()
        self.process.configure(tuple(self.policies.values()))
        end = self.current + 3 * DAY
        while self.current < end:
            self._quiet_hour()
        for policy in self.policies.values():
            record = self.process.journal.load(policy.name)
            held = {self._held(destination) for destination in policy.destinations}
            current = record.current.key_id if record.current else ""
            if held != {current} or current not in self._accepted(policy.project):
                self.report.violations.append(f"{policy.name} holds {held}, the journal says {current}")
        known = {key.key_id for record in self.process.journal.records().values() for key in record.keys}
        for number in range(PROJECTS):
            leaked = set(self.provider.live(f"proj_{number}")) - known
            self.report.violations += [f"{key_id} lives, and nobody knows it" for key_id in leaked]
        self._verify()

    def _quiet_hour(self) -> None:
        end = self.current + HOUR
        while self.queue and self.queue[0][0] <= end:
            at, name = heapq.heappop(self.queue)
            self.current = max(self.current, at)
            self._look(name)
        self.current = max(self.current, end)
        self._consumers()

    def _verify(self) -> None:
        history = self.process.journal.history
        lines = [read_object(line) for line in self.anchors]
        anchors = [Anchor(at=line["at"], head=Head(line["number"], line["hash"])) for line in lines]
        verification = Verification(anchors)
        with history.at_one_moment() as chains:
            for chain in sorted(chains.names()):
                verification.feed(chains.entries(chain))
            report = verification.report(chains.remembered())
        self.report.violations += report.faults
        self.report.counts["verifications"] += 1
        self.report.counts["pruned chains"] = sum("were pruned" in note for note in report.notes)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _policy(self, number: int) -> Policy:
        name, lifetime = f"policy-{number}", (6 + 2 * (number % 6)) * DAY
        places = [BACKENDS[(number + step) % 3] for step in range(1 + number % 2)]
        return Policy(
            name=name,
            instance="prod",
            provider="together",
            project=f"proj_{number % PROJECTS}",
            destinations=tuple(
                Destination(backend=one, name=f"{one}:{name}#KEY", options=(("field", "KEY"), ("path", name)))
                for one in places
            ),
            lifetime=lifetime,
            renew_before=lifetime / 3,
            grace=6 * HOUR,
            grace_limit=12 * HOUR,
            check_every=12 * HOUR,
            settle=SETTLE,
            digest="d",
            hooks=("reload",),
        )

    def _held(self, destination: Destination) -> str:
        value = self.backends[destination.backend].read(destination).value
        return self.provider._ids_by_fingerprint.get(value.fingerprint(), "garbage") if value else ""

    def _accepted(self, project: str) -> set[str]:
        return set(self.provider.live(project))

    def _housekeeping(self) -> None:
        """The fakes remember every key and call; the real ones don't do that in our memory."""
        gone = [
            key_id
            for key_id, key in self.provider._keys.items()
            if (key.revoked_at or key.facts.expires_at or self.current) < self.current - 2 * DAY
        ]
        for key_id in gone:
            del self.provider._keys[key_id]
        ids = self.provider._ids_by_fingerprint
        for fingerprint in [one for one, key_id in ids.items() if key_id not in self.provider._keys]:
            del ids[fingerprint]
        self.report.counts["keys gone"] += len(gone)
        self.provider.calls.clear()
        for backend in self.backends.values():
            backend.changes.clear()
        self.queue = [(at, name) for at, name in self.queue if self.scheduled.get(name) == at]
        heapq.heapify(self.queue)

    def _sample(self) -> Sample:
        gc.collect()
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        with self.process.journal._reading() as connection:
            (events,) = connection.exec_driver_sql("SELECT count(*) FROM event").one()
            (pages_used,) = connection.exec_driver_sql("PRAGMA page_count").one()
        return Sample(
            rss=int(pages) * os.sysconf("SC_PAGE_SIZE"),
            objects=len(gc.get_objects()),
            files=len(list(Path("/proc/self/fd").iterdir())),
            threads=threading.active_count(),
            secrets=len(secrets_in_memory()),
            events=events,
            pages=pages_used,
        )


def growth(report: Report, name: str) -> float:
    """Of the last quarter of the days over the third one: 1.0 is flat, and 1.4 is what grows from the first day on."""
    values = [getattr(sample, name) for sample in report.samples]
    quarter = len(values) // 4
    third, last = values[2 * quarter : 3 * quarter], values[-quarter:]
    return (sum(last) / len(last)) / (sum(third) / len(third))


def week(folder: Path, *, seed: int, policies: int, days: int, retention: timedelta,
         say: Callable[[str], None] = lambda _text: None) -> Report:  # fmt: skip
    return Week(folder, seed=seed, policies=policies, retention=retention).run(days, say)
