"""How often a condition is told on one channel: once, then ever more rarely, and its end. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.domain.conditions import Condition
from rotator.domain.notices import Kind, Level, Notice
from rotator.domain.text import text

FIRST = {Level.INFO: timedelta(days=1), Level.WARNING: timedelta(hours=6), Level.CRITICAL: timedelta(hours=1)}
"""After how long it is told for the second time; then after twice as long, and so on."""

LAST = {Level.INFO: timedelta(days=7), Level.WARNING: timedelta(days=7), Level.CRITICAL: timedelta(days=1)}
"""The longest pause between two."""

CLOCK_AHEAD = timedelta(hours=1)
"""What is further away than it can be, by more than this, was set before the clock stepped back."""

FORGOTTEN_AFTER = timedelta(days=8)
"""How long after it was to be told again, and was not, it is forgotten: longer than any pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one channel was told of one condition. Durable.

    :param since: when it was seen first.
    :param told: how often; ``repeats`` of these at the same level, after the first.
    :param level: at which it was told last.
    :param next_at: when it is told again.
    :param what: as it was told last.
    """

    policy: str
    kind: Kind
    since: datetime
    told: int = 0
    repeats: int = 0
    level: Level = Level.INFO
    next_at: datetime | None = None
    what: str = ""
    key_ids: tuple[str, ...] = ()


def begun(condition: Condition, policy: str, now: datetime) -> Standing:
    """A condition that is seen for the first time."""
    return Standing(policy=policy, kind=condition.kind, since=now)


def level_now(standing: Standing, condition: Condition, now: datetime) -> Level:
    """Critical, where it has lasted too long."""
    is_old = condition.escalates is not None and now - standing.since >= condition.escalates
    return Level.CRITICAL if is_old else condition.level


def is_to_be_told(standing: Standing, condition: Condition, now: datetime) -> bool:
    """Whether it is its time: for the first time, because it got worse, or because it still lasts."""
    if now - standing.since < condition.patience:
        return False
    if standing.told == 0:
        return True
    level = level_now(standing, condition, now)
    if level is not standing.level and level.reaches(standing.level):
        return True
    if not condition.lasts or standing.next_at is None:
        return False
    return not now < standing.next_at <= now + _pause(standing.level, standing.repeats) + CLOCK_AHEAD


def is_forgotten(standing: Standing, now: datetime) -> bool:
    """Whether nobody tells it any more: its policy, or the channel's wish to hear of it, has left every file."""
    return now - (standing.next_at or standing.since) > FORGOTTEN_AFTER


def after_telling(standing: Standing, condition: Condition, now: datetime) -> Standing:
    """The same, told once more."""
    level = level_now(standing, condition, now)
    repeats = standing.repeats + 1 if standing.told and level is standing.level else 0  # worse: the pauses begin anew
    return replace(
        standing,
        told=standing.told + 1,
        repeats=repeats,
        level=level,
        next_at=now + _pause(level, repeats),
        what=condition.what,
        key_ids=condition.key_ids,
    )


def _pause(level: Level, repeats: int) -> timedelta:
    doubled: timedelta = FIRST[level] * 2 ** min(repeats, 10)
    return min(doubled, LAST[level])


def notice_of_condition(standing: Standing, condition: Condition, project: str, now: datetime) -> Notice:
    """What is told of it now."""
    again = f" (since {text(standing.since)})" if standing.told else ""
    return Notice(
        ident=f"condition {standing.policy} {condition.key} {standing.since.isoformat()} {standing.told}",
        kind=condition.kind,
        level=level_now(standing, condition, now),
        at=now,
        what=condition.what + again,
        advice=condition.advice,
        policy=standing.policy,
        project=project,
        key_ids=condition.key_ids,
    )


def notice_of_end(key: str, standing: Standing, project: str, now: datetime) -> Notice:
    """It is over."""
    return Notice(
        ident=f"end {standing.policy} {key} {standing.since.isoformat()}",
        kind=Kind.RECOVERED,
        level=Level.INFO,
        at=now,
        what=f"Over, after it began at {text(standing.since)}: {standing.what}",
        advice="Nothing is to be done.",
        policy=standing.policy,
        project=project,
        key_ids=standing.key_ids,
    )
