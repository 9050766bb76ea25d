"""The closed table of formats. What each needs is imported when it is asked for."""

from __future__ import annotations

from rotator.config import Settings
from rotator.domain.audit.finding import Severity
from rotator.domain.audit.report import Report
from rotator.entrypoints.audit.cleaned import cleaned
from rotator.telemetry import shown


def written(report: Report, settings: Settings, style: str, *, wide: bool) -> str:
    """The report in a format. Nothing in it is secret; redaction is the second line, before a layout cuts the words.

    :param wide: it goes into a file, and not to a terminal that may be narrow.
    """
    report = cleaned(report, shown)
    match style:
        case "json":
            from rotator.entrypoints.audit.as_json import as_json  # noqa: PLC0415

            return as_json(report)
        case "sarif":
            from rotator.entrypoints.audit.sarif import as_sarif  # noqa: PLC0415

            return as_sarif(report, settings.source)
        case "csv":
            from rotator.entrypoints.audit.as_csv import as_csv  # noqa: PLC0415

            return as_csv(report)
        case "html":
            from rotator.entrypoints.audit.html import as_html  # noqa: PLC0415

            return as_html(report)
        case _:
            from rotator.entrypoints.audit.table import as_table  # noqa: PLC0415

            return as_table(report, wide=wide)


def summary(report: Report) -> str:
    """One line."""
    counts = [f"{report.count(one)} {one}" for one in reversed(list(Severity)) if report.count(one)]
    told = f" ({', '.join(counts)})" if counts else ""
    accepted = f", {len(report.judged.accepted)} accepted" if report.judged.accepted else ""
    looked = f"{report.policies} policies, {report.destinations} destinations, {report.projects} projects"
    gaps = "" if report.complete else "; INCOMPLETE: something could not be looked at"
    return f"{looked}: {len(report.findings)} findings{told}{accepted}{gaps}; nothing was changed"
