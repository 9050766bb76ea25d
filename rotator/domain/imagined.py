"""A world in which everything works, and effects that succeed at once: for a forecast. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain import actions as act
from rotator.domain import events as ev
from rotator.domain.lifecycle import fold_all
from rotator.domain.model import Identity, KeyFacts, KeyKind, Policy, Refused
from rotator.domain.record import KeyRecord, KeyState, Origin, Phase, PolicyRecord, RotationRecord
from rotator.domain.request_actions import AskForKey, AskForRevocation
from rotator.domain.secret import Fingerprint
from rotator.domain.snapshot import DestinationView, World

JITTER = 0.5
"""The middle of what is drawn."""


def world_of(policy: Policy, record: PolicyRecord, at: datetime) -> World:
    """Every destination holds the current key, the list shows what lives, nobody else holds anything."""
    current, rotation = record.current, record.in_flight
    published = set(rotation.published) if rotation else set()
    candidate = record.key(rotation.key_id) if rotation and rotation.key_id else None
    views = []
    identities: dict[Fingerprint, Identity | Refused] = {}
    for destination in policy.destinations:
        key = candidate if candidate and destination.name in published else current
        fingerprint = _fingerprint(key) if key else None
        views.append(DestinationView(destination=destination, fingerprint=fingerprint, version="1"))
        if key and fingerprint:
            identities[fingerprint] = _answer(key, at)
    listed = tuple(_facts(key) for key in record.keys if key.state is not KeyState.REVOKED and not _has_ended(key, at))
    return World(destinations=tuple(views), identities=identities, listed=listed, held_by_others={})


def carried_out(
    policy: Policy, record: PolicyRecord, action: act.Action, at: datetime, number: int
) -> list[ev.Event] | None:
    """The events of an action that succeeds at once; ``None`` where its outcome can't be imagined.

    :param number: for the name of a key that does not exist yet.
    """
    events: list[ev.Event]
    match action:
        case act.Issue():
            events = _issued(policy, record, action, at, number)
        case act.Resume():
            rest = [place.name for place in action.missing]
            events = _published(policy, record, action.rotation_id, rest, at)
        case act.ForwardExpiry():
            events = [ev.ExpiryForwarded(key_id=action.key_id, expires_at=action.expires_at)]
        case act.ExtendGrace():
            events = [ev.GraceExtended(key_id=action.key_id, grace_until=action.until, why=action.why)]
        case act.Revoke():
            gone = ev.KeyClosed(key_id=action.key_id, evidence="imagined")
            events = [
                ev.RevocationIntended(key_id=action.key_id, why=action.why),
                ev.KeyRevoked(key_id=action.key_id, revoked_at=at),
                gone,
            ]
        case act.ConfirmRefusal() if (key := record.key(action.key_id)) and key.origin is not Origin.LEGACY:
            events = [ev.KeyClosed(key_id=action.key_id, evidence="imagined")]
        case act.Close():
            events = [ev.KeyClosed(key_id=action.key_id, evidence=action.evidence)]
        case act.RunHook():
            events = [ev.HookRan(key_id=action.key_id, hook=action.hook, grace_until=at + policy.quiet)]
        case act.Settle():
            events = [ev.IntentSettled(key_name=action.key_name)]
        case _:
            return _by_a_person(policy, record, action, at, number)
    return events


def _by_a_person(
    policy: Policy, record: PolicyRecord, action: act.Action, at: datetime, number: int
) -> list[ev.Event] | None:
    """What a person is asked for is done at once."""
    if isinstance(action, AskForRevocation):
        return [ev.KeyClosed(key_id=action.key_id, evidence="imagined")]
    if not isinstance(action, AskForKey):
        return None
    views = world_of(policy, record, at).destinations
    made = act.Issue(
        reason=action.reason,
        expires_at=action.expires_at,
        grace=timedelta(0) if record.compromised else policy.grace,
        expected={view.destination.name: view.version for view in views},
        replaces={view.destination.name: view.fingerprint for view in views if view.fingerprint},
    )
    return _issued(policy, record, made, at, number)


def _issued(policy: Policy, record: PolicyRecord, action: act.Issue, at: datetime, number: int) -> list[ev.Event]:
    name, rotation_id = f"new {number}", f"rotation {number}"
    rotation = RotationRecord(
        rotation_id=rotation_id,
        reason=action.reason,
        phase=Phase.INTENDED,
        key_name=name,
        expires_at=action.expires_at,
        started_at=at,
        expected=action.expected,
        replaces=action.replaces,
        grace=action.grace,
    )
    key = KeyRecord(
        key_id=name,
        state=KeyState.CANDIDATE,
        origin=Origin.ISSUED,
        project=policy.project,
        provider=policy.provider,
        since=at,
        fingerprint=Fingerprint(name),
        name=name,
        created_at=at,
        expires_at=action.expires_at,
        jitter=JITTER,
        rotation_id=rotation_id,
    )
    events: list[ev.Event] = [
        ev.RotationIntended(rotation=rotation),
        ev.KeyIssued(rotation_id=rotation_id, key=key),
        ev.KeyVerified(rotation_id=rotation_id),
    ]
    names = [place.name for place in policy.destinations]
    return [*events, *_published(policy, fold_all(record, events), rotation_id, names, at)]


def _published(
    policy: Policy, record: PolicyRecord, rotation_id: str, names: list[str], at: datetime
) -> list[ev.Event]:
    rotation = next(one for one in record.rotations if one.rotation_id == rotation_id)
    limit = policy.grace_limit if rotation.grace else timedelta(0)
    return [
        *(ev.DestinationPublished(rotation_id=rotation_id, destination=name) for name in names),
        ev.GraceStarted(rotation_id=rotation_id, grace_until=at + rotation.grace, grace_limit=at + limit),
    ]


def _fingerprint(key: KeyRecord) -> Fingerprint:
    return key.fingerprint or Fingerprint(key.key_id)


def _answer(key: KeyRecord, at: datetime) -> Identity | Refused:
    if _has_ended(key, at):
        return Refused("401 invalid_api_key")
    kind = KeyKind.LEGACY if key.origin is Origin.LEGACY else KeyKind.PROJECT
    return Identity(kind=kind, key_id=key.key_id, project=None if kind is KeyKind.LEGACY else key.project)


def _has_ended(key: KeyRecord, at: datetime) -> bool:
    return key.expires_at is not None and key.expires_at <= at


def _facts(key: KeyRecord) -> KeyFacts:
    return KeyFacts(
        key_id=key.key_id,
        name=key.name,
        project=key.project,
        created_at=key.created_at,
        expires_at=key.expires_at,
    )
