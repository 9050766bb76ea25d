"""What the destinations hold, as a new key's publication needs to know it."""

from __future__ import annotations

from rotator.domain.actions import Sighting
from rotator.domain.model import KeyKind
from rotator.domain.naming import is_name_of
from rotator.domain.secret import Fingerprint
from rotator.domain.verdict import Context


def sighting_of(context: Context, fingerprint: Fingerprint) -> Sighting | None:
    """What is known of a value that a destination holds; ``None`` where the provider does not accept it."""
    identity = context.world.identity(fingerprint)
    if identity is None:
        return None
    facts = context.world.facts(identity.key_id)
    ours = facts is not None and is_name_of(facts.name, context.policy.instance, context.policy.name)
    return Sighting(fingerprint=fingerprint, identity=identity, facts=facts, ours=ours)


def known_values(context: Context) -> dict[str, Fingerprint]:
    """Destination name to the fingerprint that it holds, of values that the provider knows as keys."""
    views = context.world.destinations
    return {v.destination.name: v.fingerprint for v in views if v.fingerprint and context.world.identity(v.fingerprint)}


def found_unrecorded(context: Context, besides: str = "") -> tuple[Sighting, ...]:
    """Keys in the destinations that nobody has recorded, and that a new key will replace."""
    return tuple(
        sighting
        for fingerprint in context.world.held
        if (sighting := sighting_of(context, fingerprint))
        and (sighting.identity.project == context.policy.project or sighting.identity.kind is KeyKind.LEGACY)
        and sighting.identity.key_id != besides
        and not context.record.key(sighting.identity.key_id)
    )
