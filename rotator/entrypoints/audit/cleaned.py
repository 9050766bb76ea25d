"""A report whose texts have gone through redaction before they are laid out: what is cut into lines hides from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rotator.domain.audit.baseline import Acceptance, Judged
from rotator.domain.audit.finding import Finding
from rotator.domain.audit.report import Report
from rotator.domain.audit.timeline import KeyLife

Clean = Callable[[str], str]


def cleaned(report: Report, clean: Clean) -> Report:
    """Every text that is not of a rule itself."""
    judged = report.judged
    return replace(
        report,
        source=clean(report.source),
        scope=clean(report.scope),
        judged=Judged(
            open=tuple(_finding(one, clean) for one in judged.open),
            accepted=tuple((_finding(one, clean), _entry(entry, clean)) for one, entry in judged.accepted),
            expired=tuple(_entry(one, clean) for one in judged.expired),
            unmatched=tuple(_entry(one, clean) for one in judged.unmatched),
            outgrown=tuple(_entry(one, clean) for one in judged.outgrown),
        ),
        keys=tuple(_life(one, clean) for one in report.keys),
        unknown=tuple(map(clean, report.unknown)),
    )


def _finding(one: Finding, clean: Clean) -> Finding:
    return replace(
        one,
        subject=clean(one.subject),
        seen=clean(one.seen),
        policy=clean(one.policy),
        project=clean(one.project),
        key_id=clean(one.key_id),
    )


def _entry(one: Acceptance, clean: Clean) -> Acceptance:
    return replace(one, subject=clean(one.subject), reason=clean(one.reason))


def _life(one: KeyLife, clean: Clean) -> KeyLife:
    return replace(
        one,
        key_id=clean(one.key_id),
        name=clean(one.name),
        policy=clean(one.policy),
        project=clean(one.project),
        held_by=tuple(map(clean, one.held_by)),
    )
