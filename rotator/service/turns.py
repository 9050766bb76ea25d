"""Whose turn it is among policies: the distance in a group, and what depends on what.

By the journal, over all processes that share it. Nothing is written for it: the keys that are remembered tell when
they were made.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from rotator.domain.model import Policy
from rotator.domain.record import Origin, PolicyRecord
from rotator.domain.renewal import renewal_at
from rotator.domain.text import duration
from rotator.ports import Journal

NOT_SEEN = "was not looked at yet since its configuration changed, or something was asked for"


def too_near(
    policy: Policy, policies: Sequence[Policy], journal: Journal, now: datetime, *, begin_now: Collection[str]
) -> str:
    """Which other policy of the group began a rotation less than the distance ago; empty when none did.

    :param begin_now: policies that begin one at this moment and have nothing of it in the journal yet.
    """
    if not policy.group:
        return ""
    for other in policies:
        if other.name == policy.name or other.group != policy.group:
            continue
        began = _last_began(journal.load(other.name))
        if other.name in begin_now or (began and now - began < policy.distance):
            return f"{other.name} of the group {policy.group} was rotated less than {duration(policy.distance)} ago"
    return ""


def waits_for_others(policy: Policy, policies: Sequence[Policy], journal: Journal, now: datetime) -> str:
    """Which policy that this one depends on is to rotate first, and why; empty when none is."""
    for other in policies:
        if other.name in policy.depends_on and (why := _not_done(other, journal, now)):
            return f"{other.name}, which it depends on, {why}"
    return ""


def _not_done(other: Policy, journal: Journal, now: datetime) -> str:
    record = journal.load(other.name)
    if record.held(now):
        return ""  # somebody decided that it is not to be rotated now
    look = journal.look(other.name)
    if look is None or look.digest != other.digest:
        return NOT_SEEN
    if look.failures:
        return "is in trouble"
    if record.in_flight:
        return "is being rotated"
    due = record.current is None or record.requested or renewal_at(other, record.current) <= now
    return "is due too" if due else ""


def _last_began(record: PolicyRecord) -> datetime | None:
    made = (key.created_at or key.since for key in record.keys if key.origin is Origin.ISSUED)
    return max((*made, *(rotation.started_at for rotation in record.rotations)), default=None)
