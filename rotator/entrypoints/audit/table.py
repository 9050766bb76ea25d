"""For a terminal."""

from __future__ import annotations

import io
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rotator.domain.audit.baseline import Acceptance
from rotator.domain.audit.finding import Severity
from rotator.domain.audit.report import Report
from rotator.entrypoints.audit.formats import summary

_STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.LOW: "cyan",
    Severity.INFO: "dim",
}
_WIDE = 200


def as_table(report: Report, *, wide: bool) -> str:
    """Findings, what was accepted, what could not be known, one line in the end."""
    on_terminal = sys.stdout.isatty() and not wide
    console = Console(file=io.StringIO(), width=None if on_terminal else _WIDE, force_terminal=on_terminal)
    if report.findings:
        console.print(_findings(report))
    for finding, entry in report.judged.accepted:
        until = f"until {entry.until:%Y-%m-%d}"
        console.print(escape(f"accepted {until}: {finding.rule.id} {finding.subject}: {entry.reason}"), soft_wrap=True)
    for told, entries in (
        ("has expired", report.judged.expired),
        ("matches nothing", report.judged.unmatched),
        ("was accepted as something milder", report.judged.outgrown),
    ):
        for entry in entries:
            console.print(escape(_entry(entry, told)), soft_wrap=True)
    if report.unknown:
        console.print("Could not be known:")
        for gap in report.unknown:
            console.print(escape(f"- {gap}"), soft_wrap=True, highlight=False)
    console.print(escape(summary(report)), soft_wrap=True, highlight=False)
    assert isinstance(console.file, io.StringIO), "made above"
    return console.file.getvalue()


def _findings(report: Report) -> Table:
    table = Table("severity", "finding", "subject", "what was seen", "what to do", show_lines=True)
    for one in report.findings:
        whose = f"\npolicy {one.policy}" if one.policy and one.policy not in one.subject else ""
        table.add_row(
            Text(one.severity, style=_STYLES[one.severity]),
            Text(f"{one.rule.id}\n{one.rule.title}"),
            Text(one.subject + whose, overflow="fold"),
            Text(one.seen, overflow="fold"),
            Text(one.rule.todo),
        )
    return table


def _entry(entry: Acceptance, told: str) -> str:
    return f"baseline: {entry.finding} {entry.subject} {told} (until {entry.until:%Y-%m-%d}: {entry.reason})"
