"""For programs. The shape is published: ``config/rotator-audit.schema.json``."""

from __future__ import annotations

import json
from datetime import datetime

from rotator import __version__
from rotator.domain.audit.baseline import Acceptance
from rotator.domain.audit.finding import Finding, Severity
from rotator.domain.audit.report import Report
from rotator.domain.audit.timeline import KeyLife
from rotator.domain.text import text


def as_json(report: Report) -> str:
    """Times are RFC 3339 in UTC, ``null`` where there is none."""
    document = {
        "version": 1,
        "tool": {"name": "rotator", "version": __version__},
        "at": text(report.at),
        "configuration": report.source,
        "instance": report.instance,
        "scope": report.scope,
        "complete": report.complete,
        "journal": report.with_journal,
        "looked_at": {
            "policies": report.policies,
            "destinations": report.destinations,
            "projects": report.projects,
        },
        "summary": {str(one): report.count(one) for one in reversed(list(Severity))},
        "findings": [_finding(one) for one in report.findings],
        "accepted": [
            {**_finding(one), "reason": entry.reason, "until": entry.until.isoformat()}
            for one, entry in report.judged.accepted
        ],
        "baseline": {
            "expired": [_entry(one) for one in report.judged.expired],
            "unmatched": [_entry(one) for one in report.judged.unmatched],
            "outgrown": [_entry(one) for one in report.judged.outgrown],
        },
        "keys": [_key(one) for one in report.keys],
        "unknown": list(report.unknown),
    }
    return json.dumps(document, indent=2) + "\n"


def _finding(one: Finding) -> dict[str, object]:
    return {
        "id": one.rule.id,
        "severity": one.severity,
        "title": one.rule.title,
        "subject": one.subject,
        "policy": one.policy or None,
        "project": one.project or None,
        "key_id": one.key_id or None,
        "seen": one.seen,
        "why": one.rule.why,
        "do": one.rule.todo,
        "references": [
            {"standard": ref.standard, "item": ref.item, "title": ref.title, "url": ref.url}
            for ref in one.rule.references
        ],
    }


def _entry(one: Acceptance) -> dict[str, str]:
    return {"id": one.finding, "subject": one.subject, "reason": one.reason, "until": one.until.isoformat()}


def _key(one: KeyLife) -> dict[str, object]:
    return {
        "key_id": one.key_id,
        "name": one.name,
        "policy": one.policy or None,
        "project": one.project,
        "state": one.state,
        "began": _text(one.began),
        "ends": _text(one.ends),
        "replaced": _text(one.replaced),
        "grace_until": _text(one.grace_until),
        "revoked": _text(one.revoked),
        "last_used": _text(one.last_used),
        "next_due": _text(one.next_due),
        "held_by": list(one.held_by),
    }


def _text(moment: datetime | None) -> str | None:
    return text(moment) if moment else None
