"""When a key is replaced. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.model import Policy
from rotator.domain.record import KeyRecord, Origin


def renewal_at(policy: Policy, key: KeyRecord) -> datetime:
    """When this key is replaced.

    ``renew_before`` ahead of its end, a little earlier by its jitter. Keys that came by adoption may all be
    too old on the first day: each waits its own part of ``renew_before``, unless its own expiry comes first.
    """
    due = _due_at(policy, key)
    if key.rest_until is None:
        return due
    last = key.expires_at - policy.renew_before / 4 if key.expires_at else key.rest_until
    return max(due, min(key.rest_until, last))


def half_gone_at(policy: Policy, key: KeyRecord) -> datetime | None:
    """When half of the time in which a key is to be replaced is gone; ``None`` where it never ends."""
    return key.expires_at and key.expires_at - (key.expires_at - renewal_at(policy, key)) / 2


def _due_at(policy: Policy, key: KeyRecord) -> datetime:
    ends = (key.created_at or key.since) + policy.lifetime
    if key.expires_at:
        ends = min(ends, key.expires_at)
    due = ends - policy.renew_before - slack(policy) * key.jitter
    if key.origin is Origin.ISSUED:
        return due
    due = max(due, key.since + policy.renew_before * key.jitter)
    if key.expires_at:
        due = min(due, max(key.since, key.expires_at - policy.renew_before))
    return due


def slack(policy: Policy) -> timedelta:
    """How much earlier than necessary a key may be renewed, so that keys made together are not renewed together."""
    if policy.jitter is not None:
        return policy.jitter
    return min(policy.renew_before, policy.lifetime - policy.renew_before) / 10
