"""Short ways to make domain values; every default is a healthy policy in the middle of its key's life."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rotator.domain.model import Destination, Identity, KeyFacts, KeyKind, Policy, Refused
from rotator.domain.record import KeyRecord, KeyState, Origin, Phase, PolicyRecord, RotationRecord
from rotator.domain.secret import Fingerprint
from rotator.domain.snapshot import DestinationView, Snapshot, World

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
PROJECT = "proj_a"
VAULT = Destination(backend="vault", name="vault:secret/chat#KEY")
DOTENV = Destination(backend="dotenv", name="dotenv:/srv/.env#KEY")
POLICY = Policy(
    name="chat",
    instance="prod",
    provider="together",
    project=PROJECT,
    destinations=(VAULT, DOTENV),
    lifetime=30 * DAY,
    renew_before=7 * DAY,
    grace=DAY,
    grace_limit=4 * DAY,
    check_every=6 * HOUR,
    settle=timedelta(minutes=10),
    digest="d1",
)
REFUSED = Refused("401 invalid_api_key")


def fingerprint(key: str) -> Fingerprint:
    return Fingerprint(f"fp-{key}")


def key(name: str, /, state: KeyState = KeyState.CURRENT, **changes: object) -> KeyRecord:
    base = KeyRecord(
        key_id=f"key_{name}",
        state=state,
        origin=Origin.ISSUED,
        project=PROJECT,
        since=NOW - DAY,
        created_at=NOW - DAY,
        expires_at=NOW + 29 * DAY,
        fingerprint=fingerprint(name),
        name=f"rotator_prod_chat_20261122_{name}",
    )
    return replace(base, **changes)


def retiring(name: str, **changes: object) -> KeyRecord:
    limits = {"grace_until": NOW - HOUR, "grace_limit": NOW + 3 * DAY, "replaced_by": "r1", "expiry_forwarded": True}
    return key(name, KeyState.RETIRING, **{**limits, **changes})


def facts(name: str, /, **changes: object) -> KeyFacts:
    base = KeyFacts(key_id=f"key_{name}", name=f"rotator_prod_chat_20261122_{name}", project=PROJECT)
    return replace(base, **changes)


def identity(name: str, **changes: object) -> Identity:
    return replace(Identity(kind=KeyKind.PROJECT, key_id=f"key_{name}", project=PROJECT), **changes)


def rotation(phase: Phase, name: str = "new", **changes: object) -> RotationRecord:
    made = phase is not Phase.INTENDED
    base = RotationRecord(
        rotation_id="r1",
        reason="TooOld",
        phase=phase,
        key_name=f"rotator_prod_chat_20261123_{name}",
        expires_at=NOW + 30 * DAY,
        started_at=NOW - HOUR,
        expected={VAULT.name: "1", DOTENV.name: "1"},
        replaces={VAULT.name: fingerprint("old"), DOTENV.name: fingerprint("old")},
        grace=DAY,
        key_id=f"key_{name}" if made else "",
        fingerprint=fingerprint(name) if made else None,
    )
    return replace(base, **changes)


def world(*held: str | None, **changes: object) -> World:
    """What both destinations hold, in their order; each held key is accepted unless ``identities`` says otherwise."""
    views = tuple(
        DestinationView(
            destination=destination, fingerprint=fingerprint(name) if name else None, version="1" if name else "0"
        )
        for destination, name in zip((VAULT, DOTENV), held, strict=True)
    )
    identities = {fingerprint(name): identity(name) for name in held if name}
    return replace(World(destinations=views, identities=identities, held_by_others={}), **changes)


def record(*keys: KeyRecord, **changes: object) -> PolicyRecord:
    return replace(PolicyRecord(policy="chat", keys=keys), **changes)


def snapshot(seen: World, remembered: PolicyRecord) -> Snapshot:
    return seen.beside(remembered)
