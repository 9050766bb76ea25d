"""When what goes wrong: rules that count requests, and rules that a seeded chance decides.

::

    {"seed": 7,
     "rules":  [{"match": {"method": "DELETE", "path_regex": "api-keys"}, "effect": "reset_after", "times": 2}],
     "random": [{"match": {"method": "POST"}, "effect": "late_answer", "delay": 3, "probability": 0.05}]}

A rule looks at the requests that match: its ``match`` (all, without), and an effect that makes a wrong answer
only where it can be told. Of these the first ``skip`` (0) pass; the next ``times`` go wrong (in ``rules`` 1; null
for all; in ``random`` all). ``start`` is when the rule begins, in seconds after it was added, by the platform's
clock, and ``lasts`` for how many seconds it goes on (for ever, without). A request outside that time does not count.

A random rule makes a request go wrong with its ``probability``, drawn from ``seed``: the same seed and the same
sequence of requests make the same faults. Each rule has draws of its own, one for each request that matches, so
that another rule beside it changes nothing. Rules come before random rules; the first one that fires decides.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import yaml

from rotator.simulator.faults import Fault, fault
from rotator.simulator.fields import Fields
from rotator.simulator.lies import LIES

_LARGEST_SEED = 2**63 - 1
_FOREVER = timedelta.max


@dataclass(slots=True, kw_only=True)
class _Rule:
    """``chance`` is the probability and where it is drawn; ``None`` for a rule that only counts."""

    fault: Fault
    method: str
    path: re.Pattern[str]
    skip: int
    times: int | None
    start: datetime
    lasts: timedelta
    chance: tuple[float, random.Random] | None = None
    matched: int = 0
    fired: int = 0

    def matches(self, method: str, template: str, path: str) -> bool:
        """Whether the request is of the kind that this rule is about."""
        lie = LIES.get(self.fault.effect)
        told = lie is None or (method, template) in lie.of
        return told and self.method in ("", method) and self.path.search(path) is not None

    def fires(self, now: datetime) -> bool:
        """Count a request that matches, and say whether it is one of those that go wrong."""
        if not timedelta(0) <= now - self.start < self.lasts:
            return False
        self.matched += 1
        drawn = self.chance is None or self.chance[1].random() < self.chance[0]
        return drawn and self.matched > self.skip and (self.times is None or self.fired < self.times)

    def report(self) -> dict[str, object]:
        """How often the rule matched and fired."""
        counts: dict[str, object] = {"effect": self.fault.effect, "matched": self.matched, "fired": self.fired}
        return counts if self.chance is None else counts | {"probability": self.chance[0]}


class FaultPlan:
    """All rules there are, in the order in which they were added.

    :param now: the platform's clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._rules: list[_Rule] = []
        self._random: list[_Rule] = []

    def add(self, found: object) -> None:
        """Add a plan, or a bare list of its ``rules``: all of it or, where ``BadField`` is raised, nothing."""
        plan = Fields({"rules": found} if isinstance(found, list) else found)
        now = self._now()
        rules = [_rule(wish, now) for wish in plan.objects("rules")]
        chances = plan.objects("random")
        seed = plan.whole("seed", _LARGEST_SEED) if chances or plan.has("seed") else 0
        drawn = [_random_rule(wish, now, seed, number) for number, wish in enumerate(chances)]
        plan.nothing_else()
        self._rules += rules
        self._random += drawn

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._rules.clear()
        self._random.clear()

    def choose(self, method: str, template: str, path: str) -> Fault | None:
        """What goes wrong with this request, or nothing. Called once a request, in the order of arrival."""
        now = self._now() if self._rules or self._random else None
        if now is None:
            return None
        chosen = next((r for r in self._rules if r.matches(method, template, path) and r.fires(now)), None)
        # Every random rule draws, whether or not another one has fired: its draws depend on nothing else.
        drawn = [rule for rule in self._random if rule.matches(method, template, path) and rule.fires(now)]
        chosen = chosen or next(iter(drawn), None)
        if chosen is None:
            return None
        chosen.fired += 1
        return chosen.fault

    def report(self) -> list[dict[str, object]]:
        """How often each rule matched and fired; random ones last, with their ``probability``."""
        return [rule.report() for rule in (*self._rules, *self._random)]


def read_plan(path: Path) -> object:
    """The content of a file, to be given to ``FaultPlan.add``: YAML, or JSON where its name ends so.

    :raises OSError: it can't be read.
    :raises ValueError: it is no YAML, or no JSON; in one line.
    """
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem or 'no YAML'}") from None
    except yaml.YAMLError:
        raise ValueError("characters that YAML does not allow") from None


def _rule(wish: Fields, now: datetime, chance: tuple[float, random.Random] | None = None) -> _Rule:
    match = wish.object("match")
    rule = _Rule(
        fault=fault(wish),
        method=match.text("method", "").upper(),
        path=match.pattern("path_regex", ""),
        skip=int(wish.number("skip", 0)),
        times=_times(wish, None if chance else 1),
        start=now + timedelta(seconds=wish.between("start", 0, 1e9, 0)),
        lasts=timedelta(seconds=wish.between("lasts", 0, 1e9)) if wish.has("lasts") else _FOREVER,
        chance=chance,
    )
    match.nothing_else()
    wish.nothing_else()
    return rule


def _times(wish: Fields, default: int | None) -> int | None:
    if wish.has("times"):
        return int(wish.number("times"))
    return None if wish.is_null("times") else default


def _random_rule(wish: Fields, now: datetime, seed: int, number: int) -> _Rule:
    draws = random.Random(f"{seed}/{number}")  # noqa: S311 - to be repeatable is the point
    return _rule(wish, now, (wish.between("probability", 0, 1), draws))
