"""All that is looked for: this tuple is the documentation. ``docs/audit.md`` says the same in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rotator.domain.audit.finding import Finding, Rule
from rotator.domain.audit.hygiene import HYGIENE
from rotator.domain.audit.journal import CHAIN, JOURNAL, NO_JOURNAL, NOT_ASKED, SKEW, UNREADABLE
from rotator.domain.audit.key_ends import KEY_ENDS
from rotator.domain.audit.key_lives import KEY_LIVES
from rotator.domain.audit.places import PLACES
from rotator.domain.audit.policies import POLICIES
from rotator.domain.audit.seen import Seen

CHECKS: tuple[tuple[Rule, Callable[[Seen], Iterator[Finding]]], ...] = (
    *KEY_LIVES,
    *KEY_ENDS,
    *PLACES,
    *POLICIES,
    *HYGIENE,
    *JOURNAL,
)
"""One fault, one check."""

RULES: tuple[Rule, ...] = tuple(sorted((rule for rule, _ in CHECKS), key=lambda rule: rule.id))

INCOMPLETE = frozenset({UNREADABLE.id, NOT_ASKED.id, NO_JOURNAL.id})
"""Findings that say that something could not be looked at."""

ALL_POLICIES = frozenset({CHAIN.id, SKEW.id})
"""Findings that concern every policy, so that whoever asks for one is told of them."""


def examine(seen: Seen) -> tuple[Finding, ...]:
    """Every finding, the worst first."""
    return tuple(sorted((finding for _, check in CHECKS for finding in check(seen)), key=lambda one: one.order))
