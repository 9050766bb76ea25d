"""Lanes: which policies wait for each other, and which never do.

Policies that use the same provider and the same backends share a lane; each lane has threads of its own. So a look
that hangs holds up only looks that use every endpoint which it uses, the one that hangs among them. (One lane for each
backend would not do: a policy with a backend that hangs and a healthy one would fill the lane of the healthy one.)

How many calls an endpoint gets at a time is bounded by its guard, however many lanes lead to it.
"""

from __future__ import annotations

from rotator.domain.model import Policy


def lane_of(policy: Policy) -> str:
    """The name of the policy's lane: its provider, and its backends without order."""
    backends = sorted({destination.backend for destination in policy.destinations})
    return f"{policy.provider} > {' + '.join(backends)}"
