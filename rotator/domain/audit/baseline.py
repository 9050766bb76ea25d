"""Findings that somebody has accepted, with a reason and an end. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from rotator.domain.audit.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One entry of a baseline.

    :param until: the last day on which it counts.
    """

    finding: str
    subject: str
    reason: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Findings, apart from those that were accepted.

    :param expired: entries whose last day is past: their findings are open again.
    :param unmatched: entries that no finding has: it was mended, or written in another way.
    """

    open: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Acceptance], ...] = ()
    expired: tuple[Acceptance, ...] = ()
    unmatched: tuple[Acceptance, ...] = ()


def judged(findings: Iterable[Finding], baseline: Iterable[Acceptance], today: date) -> Judged:
    """Every finding is open or accepted; every entry of the baseline counts, has expired, or matches nothing."""
    findings, baseline = tuple(findings), tuple(baseline)
    valid = {(one.finding, one.subject): one for one in baseline if one.until >= today}
    found = {(one.rule.id, one.subject) for one in findings}
    return Judged(
        open=tuple(one for one in findings if (one.rule.id, one.subject) not in valid),
        accepted=tuple((one, valid[key]) for one in findings if (key := (one.rule.id, one.subject)) in valid),
        expired=tuple(one for one in baseline if one.until < today),
        unmatched=tuple(one for one in baseline if one.until >= today and (one.finding, one.subject) not in found),
    )
