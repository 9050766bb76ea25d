"""Which plans are tried: every fault at every point of a rotation without faults, and pairs by lot."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.faults.installation import PLACES
from tests.faults.life import Plan, Run, live
from tests.faults.points import Fault, Point
from tests.faults.stage import Stage

_LATE_PART = 0.25


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one of several processes tries.

    :param number: which share, from 0.
    :param of: how many shares there are.
    :param pairs: how many pairs all of them try; a pair whose second fault is never met does not count.
    """

    number: int = 0
    of: int = 1
    singles: bool = True
    pairs: int = 0
    seed: int = 1

    @property
    def size(self) -> int:
        """How many pairs are its own."""
        return len(range(self.number, self.pairs, self.of))


def without_faults(stage: Stage, first: str) -> list[Point]:
    """The points of a rotation in which nothing goes wrong; the same in each, so a stage finds them out once.

    :raises AssertionError: it is not right, or not the same twice.
    """
    if first in stage.calm:
        return stage.calm[first]
    one, two = (live(stage, Plan(faults={}, first=first), f"calm-{number}")[0] for number in range(2))
    assert one.violations == two.violations == [], [*one.violations, *two.violations]
    assert one.points == two.points, "the order of effects is not the same in each run"
    stage.calm[first] = one.points
    return one.points


def explore(stage: Stage, share: Share) -> Iterator[Run]:
    """Try everything that is in the share."""
    points = {first: without_faults(stage, first) for first in PLACES}
    if share.singles:
        plans = [plan for first in PLACES for plan in singles(points[first], first)]
        for number, plan in enumerate(plans[share.number :: share.of]):
            yield live(stage, plan, f"single-{number}")[0]
    chance, both = random.Random(f"{share.seed} {share.number}/{share.of}"), 0
    number = 0
    while both < share.size:
        run, _ = live(stage, pair(points, chance), f"pair-{number}")
        number += 1
        both += run.struck == len(run.plan.faults)
        yield run


def singles(points: list[Point], first: str) -> list[Plan]:
    """Every fault of every point; with another place first only what is new then: its faults while no place has it."""
    if first != PLACES[0]:
        recorded = [point.number for point in points if point.place == "journal"]
        verified = next(point.number for point in points if point.what == "KeyVerified")
        published = next(number for number in recorded if number > verified)
        points = points[verified:published]
    return [Plan(faults={point.number: fault}, first=first) for point in points for fault in point.faults]


def pair(of_all: Mapping[str, list[Point]], chance: random.Random) -> Plan:
    """A fault anywhere, and another one after it: what is done then is no part of a run without faults.

    One pair of four is a request that outlives its process, and arrives in the middle of what the next one does.
    """
    first = chance.choice(PLACES)
    points = of_all[first]
    if chance.random() < _LATE_PART:
        one = chance.choice([point for point in points if Fault.KILL_LATE in point.faults])
        faults = (Fault.KILL_LATE, Fault.ARRIVAL)
    else:
        one = chance.choice(points)
        faults = (chance.choice(one.faults), chance.choice([fault for fault in Fault if fault is not Fault.ARRIVAL]))
    ahead = len(points) - one.number + 12
    return Plan(faults=dict(zip((one.number, one.number + chance.randint(1, ahead)), faults, strict=True)), first=first)
