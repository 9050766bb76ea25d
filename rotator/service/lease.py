"""A policy's lease for an operator's command, beside a service that may be at work on the policy."""

from __future__ import annotations

from datetime import timedelta

from rotator.errors import LeaseHeld
from rotator.ports import Clock, Journal, Lease

PATIENCE = timedelta(seconds=10)
"""How long a command waits for a look to end. Most take less than a second."""

_PAUSE = timedelta(milliseconds=200)


def lease_of(
    policy: str, *, journal: Journal, clock: Clock, holder: str, ttl: timedelta, patience: timedelta = PATIENCE
) -> Lease:
    """Take the lease, waiting for a look that is under way. Raises ``LeaseHeld`` after ``patience``."""
    until = clock.now() + patience
    while True:
        try:
            return journal.acquire(policy, holder, clock.now(), ttl)
        except LeaseHeld:
            if clock.now() >= until:
                raise
        clock.sleep(_PAUSE)
