"""The result of an audit, as every format writes it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from rotator.domain.audit.baseline import Acceptance, Judged, judged
from rotator.domain.audit.checks import ALL_POLICIES, INCOMPLETE, examine
from rotator.domain.audit.finding import Finding, Severity
from rotator.domain.audit.seen import Seen
from rotator.domain.audit.timeline import KeyLife, lives


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What security staff hand in.

    :param source: the configuration's file.
    :param scope: what was asked for, in words.
    :param unknown: what could not be known, a sentence each.
    """

    at: datetime
    instance: str
    source: str
    scope: str
    policies: int
    destinations: int
    projects: int
    with_journal: bool
    judged: Judged
    keys: tuple[KeyLife, ...]
    unknown: tuple[str, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those that nobody has accepted, the worst first."""
        return self.judged.open

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for could be looked at; accepting a gap does not close it."""
        every = (*self.findings, *(finding for finding, _ in self.judged.accepted))
        return not any(finding.rule.id in INCOMPLETE for finding in every)

    def count(self, severity: Severity) -> int:
        """How many open findings are that bad."""
        return Counter(finding.severity for finding in self.findings)[severity]

    def has(self, severity: Severity) -> bool:
        """Whether an open finding is that bad, or worse."""
        return any(finding.severity.rank >= severity.rank for finding in self.findings)


def report(
    seen: Seen, *, source: str, scope: str, narrowed: bool, instance: str, baseline: Iterable[Acceptance] = ()
) -> Report:
    """Judge what was seen.

    :param narrowed: only what has to do with the policies and projects that were asked for, or with all of them.
    """
    findings, baseline = examine(seen), tuple(baseline)
    if narrowed:
        names = {policy.name for policy in seen.policies}
        whole = {one.project for one in seen.projects if all(p.project != one.project for p in seen.others)}
        findings = tuple(
            one
            for one in findings
            if (one.policy in names if one.policy else one.project in whole or one.rule.id in INCOMPLETE | ALL_POLICIES)
        )
        known = {one.subject for one in findings} | set(_subjects(seen, whole))
        baseline = tuple(entry for entry in baseline if entry.subject in known)
    return Report(
        at=seen.now,
        instance=instance,
        source=source,
        scope=scope,
        policies=len(seen.policies),
        destinations=len(list(seen.asked_for())),
        projects=len(seen.projects),
        with_journal=seen.records is not None,
        judged=judged(findings, baseline, seen.now.date()),
        keys=lives(seen),
        unknown=tuple(dict.fromkeys(seen.unknown)),
    )


def _subjects(seen: Seen, whole: Iterable[str]) -> Iterator[str]:
    """What an entry of a baseline may be about, where not everything was looked at: others are not judged."""
    for policy, record in seen.remembered():
        yield from (key.key_id for key in record.keys)
        yield from (*record.closed, policy.project)
    for policy in seen.policies:
        yield policy.name
    for place in seen.asked_for():
        yield from (place.name, place.key_id)
    for _, facts in seen.managed():
        yield facts.key_id
    yield from (file.path for file in seen.surroundings.files)
    projects = set(whole)
    for project, facts in seen.listed():
        if project.project in projects:
            yield facts.key_id
    yield from projects
