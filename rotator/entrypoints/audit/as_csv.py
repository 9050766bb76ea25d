"""For spreadsheets. No cell begins as a formula does: OWASP, "CSV Injection".

That holds too where a program cuts the lines at ``;`` or tabs, as those do whose decimal sign is a comma: to it our
quotes are none, so that what follows such a sign begins a cell.
"""

from __future__ import annotations

import csv
import io
import re

from rotator.domain.audit.finding import Finding
from rotator.domain.audit.report import Report

COLUMNS = (
    "severity", "id", "title", "subject", "policy", "project", "key_id", "seen", "why", "do", "references",
    "accepted_until", "accepted_because",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - full-width, which count too

_INNER = re.compile(r"""([;\t\r\n][\s"']*)(?=[=+\-@＝＋－＠])""")  # noqa: RUF001


def as_csv(report: Report) -> str:
    """A line for each finding, accepted ones last."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for one in report.findings:
        writer.writerow(_row(one, "", ""))
    for one, entry in report.judged.accepted:
        writer.writerow(_row(one, entry.until.isoformat(), entry.reason))
    return stream.getvalue()


def _row(one: Finding, until: str, reason: str) -> list[str]:
    references = "; ".join(map(str, one.rule.references))
    cells = (
        one.severity, one.rule.id, one.rule.title, one.subject, one.policy, one.project, one.key_id, one.seen,
        one.rule.why, one.rule.todo, references, until, reason,
    )  # fmt: skip
    return [_harmless(cell) for cell in cells]


def _harmless(cell: str) -> str:
    cell = _INNER.sub(r"\1'", cell)
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
