"""SARIF 2.1.0, for code-scanning pages: each finding stands at its policy's line of the configuration.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0"; ``security-severity`` and the
fingerprint are what GitHub reads besides ("SARIF support for code scanning").
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rotator import __version__
from rotator.config.source import FieldPath, parse, read
from rotator.config.watch import Watched
from rotator.domain.audit.checks import RULES
from rotator.domain.audit.finding import Finding, Rule, Severity
from rotator.domain.audit.report import Report
from rotator.domain.text import text
from rotator.errors import ConfigError

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {
    Severity.INFO: "note",
    Severity.LOW: "note",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
}
_SCORES = {
    Severity.INFO: "0.0",
    Severity.LOW: "2.0",
    Severity.MEDIUM: "5.0",
    Severity.HIGH: "8.0",
    Severity.CRITICAL: "9.5",
}
Place = tuple[Path, int]


def as_sarif(report: Report, source: Path) -> str:
    """One run. Accepted findings are in it as suppressed ones; what could not be known as notifications."""
    places = _places(source)
    results = [_result(one, places, source) for one in report.findings]
    for one, entry in report.judged.accepted:
        why = f"{entry.reason} (until {entry.until:%Y-%m-%d})"
        results.append({**_result(one, places, source), "suppressions": [{"kind": "external", "justification": why}]})
    run = {
        "tool": {"driver": {"name": "rotator", "version": __version__, "rules": [_rule(rule) for rule in RULES]}},
        "invocations": [
            {
                "executionSuccessful": report.complete,
                "endTimeUtc": text(report.at),
                "toolExecutionNotifications": [
                    {"level": "note", "message": _said(f"could not be known: {gap}")} for gap in report.unknown
                ],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    references = "\n".join(f"- [{ref}]({ref.url})" for ref in rule.references)
    described = {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.title.replace("'", "").split() if word.isalnum()),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.title}. {rule.why}"},
        "help": {
            "text": f"{rule.why} {rule.todo}",
            "markdown": f"{rule.why}\n\n**What to do:** {rule.todo}\n\n{references}",
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": ["security", *(f"{ref.standard} {ref.item}" for ref in rule.references)],
            "security-severity": _SCORES[rule.severity],
            "precision": "high",
        },
    }
    return described | ({"helpUri": rule.references[0].url} if rule.references else {})


def _result(one: Finding, places: Mapping[str, Place], source: Path) -> dict[str, Any]:
    file, line = places.get(one.policy, (source, 1))
    ids = [f"{kind}/{name}" for kind, name in (("policy", one.policy), ("project", one.project)) if name]
    logical = {"name": one.subject, "fullyQualifiedName": "/".join((*ids, one.subject)), "kind": "resource"}
    known = hashlib.sha256(f"{one.rule.id}\0{one.subject}".encode()).hexdigest()
    return {
        "ruleId": one.rule.id,
        "ruleIndex": RULES.index(one.rule),
        "level": _LEVELS[one.severity],
        "message": _said(f"{one.rule.title}: {one.subject}: {one.seen}. {one.rule.todo}"),
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": _uri(file)}, "region": {"startLine": max(line, 1)}},
                "logicalLocations": [logical],
            }
        ],
        "partialFingerprints": {"rotatorFinding/v1": known, "primaryLocationLineHash": known[:16]},
        "properties": {"security-severity": _SCORES[one.severity], "seen": one.seen},
    }


def _uri(file: Path) -> str:
    """Relative to where the audit runs, as code-scanning pages want it; else in full. RFC 3986, section 4.1."""
    relative = Path(os.path.relpath(file))
    if relative.parts[:1] == ("..",):
        return Path(os.path.abspath(file)).as_uri()  # noqa: PTH100 - and not to where a link leads
    return quote(os.fsencode(relative.as_posix()))


def _said(words: str) -> dict[str, str]:
    """A plain text message in which nothing is a placeholder or an embedded link: sections 3.11.5 and 3.11.6."""
    if "](" in words:
        words = re.sub(r"([\\\[\]])", r"\\\1", words)
    return {"text": words.replace("{", "{{").replace("}", "}}")}


def _places(source: Path) -> dict[str, Place]:
    """Policy to where it stands in the configuration."""
    found: dict[str, Place] = {}
    for file in Watched(source).files():
        lines: dict[FieldPath, int] = {}
        try:
            data = parse(file, read(file), lines)
        except ConfigError:  # changed since it was loaded
            continue
        policies = data.get("policies") if isinstance(data, Mapping) else None
        for number, policy in enumerate(policies if isinstance(policies, list) else []):
            if isinstance(policy, Mapping) and isinstance(policy.get("name"), str):
                found[policy["name"]] = (file, lines.get(("policies", number), 1))
    return found
