"""A finding: what was seen, why it matters, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is, in this order."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Reference:
    """One item of a standard. ``title``: as the standard calls it."""

    standard: str
    item: str
    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.standard} {self.item} {self.title}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault that is looked for.

    :param id: ``ROT-K01``: it stays, whatever becomes of the words.
    """

    id: str
    severity: Severity
    title: str
    why: str
    todo: str
    references: tuple[Reference, ...] = ()

    def found(
        self,
        subject: str,
        seen: str,
        *,
        policy: str = "",
        project: str = "",
        key_id: str = "",
        severity: Severity | None = None,
    ) -> Finding:
        """The fault, here.

        :param subject: what has it; the same at the next audit, so that a baseline finds it again.
        :param severity: where it is another one than usual.
        """
        return Finding(
            rule=self,
            severity=severity or self.severity,
            subject=subject,
            seen=seen,
            policy=policy,
            project=project,
            key_id=key_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault at one subject."""

    rule: Rule
    severity: Severity
    subject: str
    seen: str
    policy: str = ""
    project: str = ""
    key_id: str = ""

    @property
    def order(self) -> tuple[int, str, str]:
        """The worst first, then by id and subject: the same at each audit."""
        return (-self.severity.rank, self.rule.id, self.subject)
