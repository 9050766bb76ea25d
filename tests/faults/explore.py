"""Which plans are tried: every fault at every point of a rotation without faults, and pairs by lot."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.faults.life import Run, live
from tests.faults.points import Fault, Point
from tests.faults.stage import Stage

Plan = Mapping[int, Fault]


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


def without_faults(stage: Stage) -> list[Point]:
    """The points of a rotation in which nothing goes wrong; the same in each.

    :raises AssertionError: it is not right, or not the same twice.
    """
    first, second = (live(stage, {}, f"calm-{number}")[0] for number in range(2))
    assert first.violations == second.violations == [], [*first.violations, *second.violations]
    assert first.points == second.points, "the order of effects is not the same in each run"
    return first.points


def explore(stage: Stage, share: Share) -> Iterator[Run]:
    """Try everything that is in the share."""
    points = without_faults(stage)
    if share.singles:
        for number, plan in enumerate(singles(points)[share.number :: share.of]):
            yield live(stage, plan, f"single-{number}")[0]
    chance, both = random.Random(f"{share.seed} {share.number}/{share.of}"), 0  # noqa: S311 -- repeatable by its seed
    number = 0
    while both < share.size:
        run, _ = live(stage, pair(points, chance), f"pair-{number}")
        number += 1
        both += run.struck == len(run.plan)
        yield run


def singles(points: list[Point]) -> list[Plan]:
    """Every fault of every point."""
    return [{point.number: fault} for point in points for fault in point.faults]


def pair(points: list[Point], chance: random.Random) -> Plan:
    """A fault anywhere, and another one after it: what is done then is no part of a run without faults."""
    first = chance.choice(points)
    ahead = len(points) - first.number + 12
    return {
        first.number: chance.choice(first.faults),
        first.number + chance.randint(1, ahead): chance.choice(list(Fault)),
    }
