"""Short ways to make what an audit has seen; every default is a healthy policy, and finds nothing."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.audit.finding import Finding
from rotator.domain.audit.seen import PlaceSeen, ProjectSeen, Proof, Schedule, Seen
from rotator.domain.audit.surroundings import Surroundings
from rotator.domain.model import KeyFacts, Policy
from rotator.domain.record import KeyRecord, PolicyRecord
from rotator.domain.snapshot import DestinationView
from tests.domain import build
from tests.domain.build import DAY, HOUR, NOW, POLICY, PROJECT, fingerprint, identity

CURRENT = build.key("a")


def row(key: str = "a", /, **changes: object) -> KeyFacts:
    """One row of the list: a key that a day ago began, and is used."""
    base = KeyFacts(
        key_id=f"key_{key}",
        name="rotator_prod_chat_20261122_abcdefg2",
        project=PROJECT,
        created_at=NOW - DAY,
        expires_at=NOW + 29 * DAY,
        last_used_at=NOW - HOUR,
        created_by="rotator",
    )
    return replace(base, **changes)


def place(holds: str | None = "a", policy: Policy = POLICY, index: int = 0, **changes: object) -> PlaceSeen:
    """A destination of a policy that holds a key, which the provider accepts."""
    view = DestinationView(
        destination=policy.destinations[index], fingerprint=fingerprint(holds) if holds else None, version="1"
    )
    known = {"proof": Proof.ASKED, "key_id": f"key_{holds}", "answer": identity(holds)} if holds else {}
    return replace(PlaceSeen(policy=policy, view=view), **{**known, **changes})


def project(*rows: KeyFacts, **changes: object) -> ProjectSeen:
    return replace(ProjectSeen(provider="together", project=PROJECT, listed=rows), **changes)


def record(*keys: KeyRecord, **changes: object) -> dict[str, PolicyRecord]:
    return {"chat": replace(PolicyRecord(policy="chat", keys=keys), **changes)}


def seen(**changes: object) -> Seen:
    """Both destinations hold the current key, the list shows it, the journal knows it, a look comes soon."""
    base = Seen(
        now=NOW,
        policies=(POLICY,),
        places=(place(), place(index=1)),
        projects=(project(row()),),
        records=record(CURRENT),
        schedules={"chat": Schedule(next_at=NOW + HOUR)},
        organizations={PROJECT: "org_acme"},
    )
    return replace(base, **changes)


def around(**parts: object) -> Seen:
    return seen(surroundings=replace(Surroundings(), **parts))


def told(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{one.rule.id} {one.subject}" for one in findings]
