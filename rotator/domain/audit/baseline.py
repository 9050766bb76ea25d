"""Findings that somebody has accepted, with a reason and an end. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from rotator.domain.audit.finding import Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One entry of a baseline.

    :param until: the last day on which it counts.
    :param severity: the worst that is accepted; ``None``: as bad as the catalogue says that the finding is.
    """

    finding: str
    subject: str
    reason: str
    until: date
    severity: Severity | None = None

    def is_of(self, finding: Finding) -> bool:
        """Whether it is about that, however bad it is."""
        return (self.finding, self.subject) == (finding.rule.id, finding.subject)

    def allows(self, finding: Finding) -> bool:
        """Whether it is about that, and written for something as bad."""
        return self.is_of(finding) and finding.severity.rank <= (self.severity or finding.rule.severity).rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Findings, apart from those that were accepted.

    :param expired: entries whose last day is past: their findings are open again.
    :param unmatched: entries that no finding has: it was mended, or written in another way.
    :param outgrown: entries whose finding is worse than what was accepted: it is open.
    """

    open: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Acceptance], ...] = ()
    expired: tuple[Acceptance, ...] = ()
    unmatched: tuple[Acceptance, ...] = ()
    outgrown: tuple[Acceptance, ...] = ()


def judged(findings: Iterable[Finding], baseline: Iterable[Acceptance], today: date) -> Judged:
    """Every finding is open or accepted; every entry of the baseline counts, or counts for nothing, and says why."""
    findings, baseline = tuple(findings), tuple(baseline)
    valid = [one for one in baseline if one.until >= today]
    accepted = [(one, entry) for one in findings if (entry := next((v for v in valid if v.allows(one)), None))]
    counts = {id(one) for one, _ in accepted}
    return Judged(
        open=tuple(one for one in findings if id(one) not in counts),
        accepted=tuple(accepted),
        expired=tuple(one for one in baseline if one.until < today),
        unmatched=tuple(one for one in valid if not any(map(one.is_of, findings))),
        outgrown=tuple(one for one in valid if any(one.is_of(f) and not one.allows(f) for f in findings)),
    )
