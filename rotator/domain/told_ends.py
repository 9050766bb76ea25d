"""The end of a key that only a person tells of, or a place beside it: no list can be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.record import KeyRecord

ZONES = timedelta(days=1)
"""An expiration is a date whose zone nobody documents: it is over everywhere a day later."""


def told_end(key: KeyRecord, now: datetime) -> datetime | None:
    """The last end that it may have, where that is over in every zone.

    While it is not certain that the provider has an end that we brought forward, that is the one before.
    """
    ends = key.ends_latest or key.expires_at
    if key.first_expiry and not key.expiry_forwarded:
        ends = key.first_expiry.at
    return ends if ends and ends + ZONES <= now else None


def told_beside(key: KeyRecord, lifetime: timedelta, now: datetime) -> KeyRecord:
    """A key that is accepted now, with the end that its place tells, as much as that is worth.

    A place tells the earliest end that may have been asked for. The request that asked for the latest was open when
    the key was handed over, so that it is at most a lifetime after that. A key that outlived all of them has another.
    """
    if key.expires_at is None:
        return key
    latest = max(key.expires_at, (key.created_at or key.expires_at) + lifetime)
    bounded = replace(key, ends_latest=latest)
    return replace(key, expires_at=None) if told_end(bounded, now) else bounded


def with_ends_of(key: KeyRecord, others: Iterable[KeyRecord]) -> KeyRecord:
    """A key with what is recorded of its end elsewhere."""
    known = [one for one in others if one.expires_at]
    ends = [end for one in known for end in (one.expires_at, one.ends_latest) if end]
    if not ends:
        return key
    return replace(key, expires_at=min(ends), ends_latest=max(ends) if max(ends) != min(ends) else None)
