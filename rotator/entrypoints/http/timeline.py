"""The lives of a policy's keys on a line of time, in percent of its width: what the page draws as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.model import Policy
from rotator.domain.record import KeyRecord, KeyState, PolicyRecord
from rotator.domain.renewal import renewal_at

MOST = 4
"""Keys that are drawn; a policy seldom has more than two, and the page lists all."""

_SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a key's life. ``kind``: age, left, renewal, grace or tail (valid, though it may be revoked)."""

    kind: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One key. ``renewal``: where it is to be replaced; ``end``: where its own expiration is."""

    key: KeyRecord
    y: int
    bars: tuple[Bar, ...]
    renewal: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """All lanes, the current key's first.

    :param now: where the present is.
    :param height: in pixels.
    """

    lanes: tuple[Lane, ...]
    now: float
    height: int
    begins: datetime
    ends: datetime


def timeline(policy: Policy, record: PolicyRecord, now: datetime) -> Timeline | None:
    """``None`` where there is no key yet."""
    keys = sorted(record.keys, key=lambda key: key.state is not KeyState.CURRENT)[:MOST]
    if not keys:
        return None
    lives = [list(_life(policy, key, now)) for key in keys]
    moments = [moment for life in lives for _, *both in life for moment in both]
    begins, ends = min(*moments, now), max(*moments, now, min(moments) + _SHORTEST)

    def at(moment: datetime) -> float:
        return round(100 * ((moment - begins) / (ends - begins)), 2)

    lanes = tuple(
        Lane(
            key,
            y=4 + 18 * number,
            bars=tuple(Bar(kind, at(since), round(at(until) - at(since), 2)) for kind, since, until in life),
            renewal=at(renewal) if (renewal := _renewal(policy, key)) and begins <= renewal <= ends else None,
            end=at(end) if (end := _end(key)) and end <= ends else None,
        )
        for number, (key, life) in enumerate(zip(keys, lives, strict=True))
    )
    return Timeline(lanes, now=at(now), height=6 + 18 * len(lanes), begins=begins, ends=ends)


def _renewal(policy: Policy, key: KeyRecord) -> datetime | None:
    return renewal_at(policy, key) if key.state is KeyState.CURRENT else None


def _end(key: KeyRecord) -> datetime | None:
    return key.revoked_at or key.expires_at


def _life(policy: Policy, key: KeyRecord, now: datetime) -> Iterator[tuple[str, datetime, datetime]]:
    """Its parts that are not empty, in order: what it is, since when, until when."""
    made = min(key.created_at or key.since, now)
    ends = key.expires_at or max(made + policy.lifetime, now)
    renewal = _renewal(policy, key)
    if renewal is not None:
        middle = min(max(renewal, now), max(ends, now))
        parts = [("age", made, min(now, ends)), ("left", now, middle), ("renewal", middle, ends)]
    elif key.state is KeyState.RETIRING and key.grace_until is not None:
        grace = min(key.grace_until, ends)
        parts = [("age", made, min(now, ends)), ("grace", now, grace), ("tail", max(grace, now), ends)]
    else:
        parts = [("age", made, min(now, _end(key) or now)), ("tail", now, min(ends, now + policy.grace))]
        parts = parts[:1] if key.revoked_at else parts
    yield from ((kind, since, until) for kind, since, until in parts if until > since)
    if not any(until > since for _, since, until in parts):
        yield "age", made, made
