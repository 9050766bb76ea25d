"""``--baseline``: findings that somebody has accepted, as YAML; every fault with file and line."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from rotator.config.file import ConfigFile
from rotator.config.shapes.fields import Shape, Text
from rotator.domain.audit.baseline import Acceptance
from rotator.domain.audit.checks import RULES
from rotator.domain.audit.finding import Severity
from rotator.domain.audit.journal import CHAIN
from rotator.errors import ConfigError

_IDS = {rule.id for rule in RULES}


def _day(value: object) -> date:
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError("allowed: a day such as 2026-12-31") from None


def _known(value: object) -> object:
    if value not in _IDS:
        raise ValueError("allowed: the id of a finding, such as ROT-K05")
    if value == CHAIN.id:
        raise ValueError(
            "can't be accepted: nobody would see the next change of the journal. Export what there is, say in your "
            "records why it is broken, and begin a new journal"
        )
    return value


def _severity(value: object) -> Severity:
    try:
        return Severity(str(value))
    except ValueError:
        raise ValueError(f"allowed: {', '.join(Severity)}") from None


class AcceptedShape(Shape):
    """One accepted finding."""

    finding: Annotated[str, BeforeValidator(_known)]
    subject: Text
    reason: Text
    until: Annotated[date, BeforeValidator(_day)] = Field(description="The last day on which it is accepted.")
    severity: Annotated[Severity | None, BeforeValidator(_severity)] = Field(
        default=None, description="The worst that is accepted; else as the catalogue."
    )


class BaselineShape(Shape):
    """The file."""

    accepted: list[AcceptedShape]


def read_baseline(path: Path) -> tuple[Acceptance, ...]:
    """Its entries, in their order. Raises ``ConfigError`` with every fault."""
    file = ConfigFile(path)
    shape = file.faults.check(BaselineShape, file.data, ())
    problems = file.problems()
    if problems or shape is None:
        raise ConfigError(problems)
    return tuple(
        Acceptance(finding=one.finding, subject=one.subject, reason=one.reason, until=one.until, severity=one.severity)
        for one in shape.accepted
    )
