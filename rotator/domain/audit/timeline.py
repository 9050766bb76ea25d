"""The life of every key, as far as list and journal tell. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rotator.domain.audit.seen import ProjectSeen, Seen
from rotator.domain.model import KeyFacts, Policy
from rotator.domain.record import KeyRecord, KeyState
from rotator.domain.renewal import renewal_at


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLife:
    """One key.

    :param state: as the journal has it; ``held``, ``listed`` or ``unmanaged`` where it does not know the key.
    :param began: its creation, or since when the journal knows it; ``None`` where nobody tells.
    :param ends: its expiration.
    :param replaced: when its grace began, of a key in its grace; ``None`` where that was not recorded.
    :param grace_until: the end of its grace.
    :param revoked: when it was revoked.
    :param next_due: when it is replaced.
    """

    key_id: str
    name: str
    policy: str
    project: str
    state: str
    began: datetime | None = None
    ends: datetime | None = None
    replaced: datetime | None = None
    grace_until: datetime | None = None
    revoked: datetime | None = None
    last_used: datetime | None = None
    next_due: datetime | None = None
    held_by: tuple[str, ...] = ()


def lives(seen: Seen) -> tuple[KeyLife, ...]:
    """Of every key that was asked for: by project, policy and beginning."""
    found: dict[str, KeyLife] = {life.key_id: life for life in _recorded(seen)}
    names = {policy.name for policy in seen.policies}
    for project, facts in seen.listed():
        owner = seen.owner_of(project, facts)
        if facts.key_id not in found and (owner in names or not owner):
            found[facts.key_id] = _listed(seen, project, facts, owner)
    return tuple(sorted(found.values(), key=_order))


def _order(life: KeyLife) -> tuple[str, bool, str, str, str]:
    return (life.project, not life.policy, life.policy, life.began.isoformat() if life.began else "", life.key_id)


def _recorded(seen: Seen) -> Iterator[KeyLife]:
    for policy, record in seen.remembered():
        for key in record.keys:
            yield _life(seen, policy, key, seen.project_of(policy).facts(key.key_id))


def _life(seen: Seen, policy: Policy, key: KeyRecord, facts: KeyFacts | None) -> KeyLife:
    return KeyLife(
        key_id=key.key_id,
        name=facts.name if facts else key.name,
        policy=policy.name,
        project=key.project,
        state=key.state,
        began=key.created_at or (facts.created_at if facts else None) or key.since,
        ends=facts.expires_at if facts else key.expires_at,
        replaced=key.retired_at if key.state is KeyState.RETIRING else None,
        grace_until=key.grace_until if key.state is KeyState.RETIRING else None,
        revoked=key.revoked_at,
        last_used=seen.last_use(facts) if facts else None,
        next_due=renewal_at(policy, key) if key.state is KeyState.CURRENT else None,
        held_by=seen.holders(key.key_id),
    )


def _listed(seen: Seen, project: ProjectSeen, facts: KeyFacts, owner: str) -> KeyLife:
    holders = seen.holders(facts.key_id)
    return KeyLife(
        key_id=facts.key_id,
        name=facts.name,
        policy=owner,
        project=project.project,
        state="held" if holders else "listed" if owner else "unmanaged",
        began=facts.created_at,
        ends=facts.expires_at,
        last_used=seen.last_use(facts),
        held_by=holders,
    )
