"""What the destinations hold, as a new key's publication needs to know it."""

from __future__ import annotations

from rotator.domain.actions import Sighting
from rotator.domain.model import Identity, KeyFacts, KeyKind
from rotator.domain.naming import is_name_of
from rotator.domain.secret import Fingerprint
from rotator.domain.text import moment_of
from rotator.domain.verdict import Context


def sighting_of(context: Context, fingerprint: Fingerprint) -> Sighting | None:
    """What is known of a value that a destination holds; ``None`` where the provider does not accept it."""
    identity = context.world.identity(fingerprint)
    if identity is None:
        return None
    facts = context.world.facts(identity.key_id) or _told_beside(context, fingerprint, identity)
    is_told = context.policy.assisted and facts is not None
    ours = is_told or (facts is not None and is_name_of(facts.name, context.policy.instance, context.policy.name))
    return Sighting(fingerprint=fingerprint, identity=identity, facts=facts, ours=ours)


def _told_beside(context: Context, fingerprint: Fingerprint, identity: Identity) -> KeyFacts | None:
    """Where no list can be asked: what the destination says beside the value, if that is about this very key."""
    if not context.policy.assisted:
        return None
    for view in context.world.destinations:
        hints = view.hints
        about = (hints.get("key_id"), hints.get("fingerprint"), hints.get("policy"), hints.get("instance"))
        mine = (identity.key_id, fingerprint, context.policy.name, context.policy.instance)
        if view.fingerprint == fingerprint and about == mine:
            return KeyFacts(
                key_id=identity.key_id,
                name="",
                project=identity.project or "",
                created_at=moment_of(hints.get("created")),
                expires_at=moment_of(hints.get("expires")),
            )
    return None


def known_values(context: Context) -> dict[str, Fingerprint]:
    """Destination name to the fingerprint that it holds, of values that the provider knows as keys."""
    views = context.world.destinations
    return {v.destination.name: v.fingerprint for v in views if v.fingerprint and context.world.identity(v.fingerprint)}


def found_unrecorded(context: Context, besides: str = "") -> tuple[Sighting, ...]:
    """Keys in the destinations that a new key will replace, and that nobody has recorded, or not with their value."""
    return tuple(
        sighting
        for fingerprint in context.world.held
        if (sighting := sighting_of(context, fingerprint))
        and (sighting.identity.project == context.policy.project or sighting.identity.kind is KeyKind.LEGACY)
        and sighting.identity.key_id != besides
        and ((known := context.record.key(sighting.identity.key_id)) is None or known.fingerprint is None)
    )
