"""What can go wrong on purpose, and when.

A ``Fault`` says what goes wrong with one exchange; ``wire`` carries it out. *When* it does is decided by a
``FaultPlan``: ``ScriptedFaults`` here counts matching requests; another plan needs only ``choose``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from rotator.simulator.fields import Fields


class Effect(StrEnum):
    """What goes wrong; "before" and "after" say whether the request was carried out meanwhile."""

    ERROR_BEFORE = "error_before"  # an error answer (``status``, default 500); not carried out
    ERROR_AFTER = "error_after"  # carried out, then an error answer (``status``, default 500)
    STATUS = "status"  # the same as error_before, default 503: with ``retry_after`` a rate limit
    HANG = "hang"  # no answer for ``delay`` seconds, then carried out (a late effect); without delay never
    HANG_AFTER = "hang_after"  # carried out at once, then never an answer
    RESET_BEFORE = "reset_before"  # the connection breaks; not carried out
    RESET_AFTER = "reset_after"  # carried out, then the connection breaks
    HTML = "html"  # a page of some proxy (``status``, default 200); not carried out
    TRUNCATED = "truncated"  # carried out; the connection breaks in the middle of the answer's body, if it has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    :param status: of an error answer or a page; 0 takes the effect's default.
    :param headers: of an error answer: ``Retry-After``, ``x-ratelimit-reset``, ...
    :param delay: seconds to wait before anything else happens; ``None`` for none (``hang``: for ever).
    """

    effect: Effect
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float | None = None


class FaultPlan(Protocol):
    """Decides, for each request in turn, what goes wrong with it."""

    def choose(self, method: str, path: str) -> Fault | None:
        """The fault of this request, or ``None``. Called once a request, in the order of arrival."""
        ...


@dataclass(slots=True)
class _Rule:
    method: str
    path: re.Pattern[str]
    skip: int
    times: int | None
    fault: Fault
    matched: int = 0
    fired: int = 0

    def fires(self, method: str, path: str) -> bool:
        """Count the request if it matches, and say whether it is one of those that go wrong."""
        if self.method not in ("", method) or not self.path.search(path):
            return False
        self.matched += 1
        if self.matched <= self.skip or (self.times is not None and self.fired >= self.times):
            return False
        self.fired += 1
        return True


class ScriptedFaults:
    """Rules in the order in which they were added; the first one that fires decides."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def add(self, wish: Fields) -> None:
        """Add one rule, as the control API writes it; ``BadField`` names what is wrong with it."""
        match = wish.object("match")
        rule = _Rule(
            method=match.text("method", "").upper(),
            path=match.pattern("path_regex", ""),
            skip=int(wish.number("skip", 0)),
            times=None if wish.is_null("times") else int(wish.number("times", 1)),
            fault=Fault(
                effect=wish.choice("effect", Effect),
                status=int(wish.number("status", 0)),
                headers=_headers(wish),
                delay=wish.number("delay", 0) if wish.has("delay") else None,
            ),
        )
        match.nothing_else()
        wish.nothing_else()
        self._rules.append(rule)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._rules.clear()

    def choose(self, method: str, path: str) -> Fault | None:
        """See ``FaultPlan``."""
        return next((rule.fault for rule in self._rules if rule.fires(method, path)), None)

    def report(self) -> list[dict[str, object]]:
        """How often each rule matched and fired."""
        return [{"effect": rule.fault.effect, "matched": rule.matched, "fired": rule.fired} for rule in self._rules]


def _headers(wish: Fields) -> dict[str, str]:
    headers = wish.texts("headers")
    if wish.has("retry_after"):
        headers["Retry-After"] = wish.text("retry_after")
    return headers
