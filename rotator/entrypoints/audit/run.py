"""From the configuration to the report: wired read-only, gathered, judged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from rotator.bootstrap import Application
from rotator.bootstrap_audit import Around, auditor, state_file
from rotator.config import Settings
from rotator.domain.audit.baseline import Acceptance
from rotator.domain.audit.report import Report, report
from rotator.domain.audit.seen import Limits
from rotator.domain.text import duration
from rotator.entrypoints.evidence import verify_journal
from rotator.entrypoints.shared import wired
from rotator.errors import JournalUnavailable
from rotator.service.audit import Scope

WITHOUT_JOURNAL = (
    "which keys are in their grace, orphans, reported as leaked, or revoked here and still accepted",
    "whether a destination holds the key that was published (drift)",
    "whether rotations are stuck or fail, policies are on hold, and the rotator runs at all",
    "when each key is due, and so whether a window comes too late or two rotations strike one consumer at once",
    "whether the journal's chain of events is whole",
)
_NOWHERE = "sqlite://"
"""A journal that is empty, and in no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the audit is to look at.

    :param journal: ``False``: not at the journal.
    """

    scope: Scope
    baseline: tuple[Acceptance, ...] = ()
    journal: bool = True
    limits: Limits = field(default_factory=Limits)


def audited(settings: Settings, wanted: Wanted) -> Report:
    """Look at everything, once, and judge it. Where the journal can't be read, the rest is looked at without it."""
    file = state_file(settings)
    if not wanted.journal:
        return _audited(settings, wanted, reads=False)
    try:
        if file is not None and not file.exists():
            return _audited(settings, wanted, reads=False, gap=f"there is no journal on this machine ({file})")
    except OSError as error:  # it lies where this user may not look
        problem = f"the journal {file} can't be looked at ({error.strerror})"
        return _audited(settings, wanted, reads=False, problem=problem)
    try:
        return _audited(settings, wanted, reads=True)
    except JournalUnavailable as error:
        return _audited(settings, wanted, reads=False, problem=str(error))


def _audited(settings: Settings, wanted: Wanted, *, reads: bool, gap: str = "", problem: str = "") -> Report:
    unknown = [gap] if gap else []
    unknown += [] if reads else [f"without the journal: {one}" for one in WITHOUT_JOURNAL]
    inner = settings if reads else replace(settings, state_url=_NOWHERE, state_password=None)
    with wired(inner, read_only=True) as application:
        journal = application.journal if reads else None
        verify = partial(_broken, application)
        gathered = auditor(application, journal, wanted.limits, verify).look(wanted.scope, unknown)
        names = frozenset(policy.name for policy in gathered.seen.policies)
        around, gaps = Around(application=application, settings=settings, lying=gathered.lying).look(
            names, narrowed=not wanted.scope.is_all
        )
    seen = replace(gathered.seen, surroundings=around, journal_problem=problem, unknown=(*gathered.seen.unknown, *gaps))
    return report(
        seen,
        source=str(settings.source),
        scope=_told(wanted),
        narrowed=not wanted.scope.is_all,
        instance=settings.instance,
        baseline=wanted.baseline,
    )


def _broken(application: Application) -> list[str]:
    """What is wrong with the chains of the journal's events, a sentence each."""
    found = verify_journal(application.history, application.settings.instance, None, None)
    return [*found.faults, *([f"and {found.more} more"] if found.more else [])]


def _told(wanted: Wanted) -> str:
    parts = [f"policy {name}" for name in sorted(wanted.scope.policies)]
    parts += [f"project {name}" for name in sorted(wanted.scope.projects)]
    what = ", ".join(parts) or "every policy"
    journal = "" if wanted.journal else ", without the journal"
    return f"{what}{journal}; unused after {duration(wanted.limits.unused_after)}"
