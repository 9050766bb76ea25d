"""What becomes of a rotation that did not come to its end, or that the journal has lost. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rotator.domain.actions import Abandon, Action, Rebuild, Resume
from rotator.domain.model import KeyFacts, KeyKind, Refused
from rotator.domain.naming import is_name_of
from rotator.domain.record import KeyState, Phase, RotationRecord
from rotator.domain.sightings import found_unrecorded, known_values, sighting_of
from rotator.domain.snapshot import DestinationView, World
from rotator.domain.text import text
from rotator.domain.verdict import Context


def resume(context: Context) -> Action:
    """Finish the rotation in flight from a destination that has its key, or give it up."""
    rotation = context.record.in_flight
    assert rotation is not None, "resume follows from a rotation in flight"
    if not rotation.key_id:
        why = "it is not known whether its key was created"
        return Abandon(rotation_id=rotation.rotation_id, why=why, creation_unknown=True)
    views = context.world.destinations
    held = tuple(view.destination for view in views if view.fingerprint == rotation.fingerprint)
    lands_on = {name: rotation.replaces.get(name, "") for name in rotation.expected}
    if not held:
        return Abandon(
            rotation_id=rotation.rotation_id,
            why="its key was published nowhere, and its secret is lost",
            published=_was_read(context, rotation),
            displaced_in=rotation.published,
            perhaps_read=rotation.phase is not Phase.ISSUED and _is_written(context, rotation),
            lands_on=lands_on,
        )
    displaced_in = tuple(dict.fromkeys((*rotation.published, *(destination.name for destination in held))))
    given_up = Abandon(
        rotation_id=rotation.rotation_id, why="", published=True, displaced_in=displaced_in, lands_on=lands_on
    )
    if context.world.identity(rotation.fingerprint) is None:
        return replace(given_up, why="the provider does not accept its key any more")
    missing = [view for view in views if view.fingerprint != rotation.fingerprint]
    key, is_everywhere = context.record.key(rotation.key_id), len(rotation.published) == len(views) and not missing
    if key is not None and key.expires_at is not None and key.expires_at <= context.now and not is_everywhere:
        # By what was told of it, though the provider accepts it yet: it is written nowhere any more.
        return replace(given_up, why=f"its key has ended meanwhile, at {text(key.expires_at)}")
    for view in missing:
        if _has_moved(context, view, rotation):
            return replace(given_up, why=f"somebody else wrote {view.destination.name} in the middle")
    return Resume(
        rotation_id=rotation.rotation_id,
        held=held,
        missing=tuple(view.destination for view in missing),
        hooks=context.policy.hooks,
    )


def _was_read(context: Context, rotation: RotationRecord) -> bool:
    """Whether consumers had the key: it was published, or a place was written since by who knows whom."""
    if rotation.published or rotation.phase is Phase.ISSUED:
        return bool(rotation.published)
    return any(_has_moved(context, view, rotation) for view in context.world.destinations)


def _is_written(context: Context, rotation: RotationRecord) -> bool:
    """Whether a place was written since the intent, though it may hold what it held before.

    By us perhaps, and then by whoever put that back. Nothing is known of a place that the policy has no more, and of a
    file after a restart.
    """
    versions = {view.destination.name: view.version for view in context.world.destinations}
    return any(versions.get(name) != version for name, version in rotation.expected.items())


def _has_moved(context: Context, view: DestinationView, rotation: RotationRecord) -> bool:
    """Whether somebody may have written the place since the intent."""
    name = view.destination.name
    if name not in rotation.expected:  # it was added to the policy since
        return view.fingerprint not in {None, *rotation.replaces.values()}
    before = rotation.replaces.get(name)
    if before == view.fingerprint:  # nothing, too
        return False
    # A version can come anew with another content: in Vault, after a secret's metadata was deleted.
    is_strange = view.fingerprint is not None and context.record.by_fingerprint(view.fingerprint) is None
    return rotation.expected[name] != view.version or (before is not None and is_strange)


def unfinished_publication(context: Context) -> KeyFacts | None:
    """The key that ``publication_unfinished`` is about."""
    world, policy = context.world, context.policy
    unknown = {
        view.fingerprint: facts
        for view in world.destinations
        if (facts := _listed(world, view)) and _is_lost(context, facts) and facts.created_at
    }
    if len(unknown) != 1 or all(view.fingerprint in unknown for view in world.destinations):
        return None
    ((fingerprint, newest),) = unknown.items()
    identity = world.identity(fingerprint)
    assert newest.created_at is not None, "chosen so"
    if identity is None or identity.project != policy.project:
        return None
    others = [view for view in world.destinations if view.fingerprint not in unknown]
    return newest if all(_is_older(world, view, newest.created_at) for view in others) else None


def rebuild(context: Context) -> Action:
    """Put ``unfinished_publication`` back into the journal, as a rotation to be resumed."""
    lost = unfinished_publication(context)
    assert lost is not None, "the check found it"
    views = context.world.destinations
    sightings = {f: sighting for f in context.world.held if (sighting := sighting_of(context, f))}
    (key,) = (sighting for sighting in sightings.values() if sighting.identity.key_id == lost.key_id)
    return Rebuild(
        key=key,
        published=tuple(view.destination.name for view in views if view.fingerprint == key.fingerprint),
        expected={view.destination.name: view.version for view in views},
        replaces=known_values(context),
        found=found_unrecorded(context, besides=key.identity.key_id),
    )


def is_ours_and_lost(context: Context, view: DestinationView) -> bool:
    """Whether a destination holds a key that we made, and that the journal does not know to be published."""
    known = context.record.by_fingerprint(view.fingerprint) if view.fingerprint else None
    if known is not None:
        return known.state is KeyState.ORPHAN
    facts = _listed(context.world, view)
    return facts is not None and _is_lost(context, facts)


def _is_lost(context: Context, facts: KeyFacts) -> bool:
    known = context.record.key(facts.key_id)
    # An open creation was found by its name first. One whose end was decided is not spread any further.
    is_open = known is None or (known.state is KeyState.ORPHAN and not known.condemned)
    return is_open and is_name_of(facts.name, context.policy.instance, context.policy.name)


def _listed(world: World, view: DestinationView) -> KeyFacts | None:
    identity = world.identity(view.fingerprint)
    return world.facts(identity.key_id) if identity else None


def _is_older(world: World, view: DestinationView, than: datetime) -> bool:
    """Whether a rotation could have been about to replace what the destination holds."""
    if view.fingerprint is None or isinstance(world.identities.get(view.fingerprint), Refused):
        return True
    identity = world.identity(view.fingerprint)
    if identity is not None and identity.kind is KeyKind.LEGACY:
        return True
    facts = _listed(world, view)
    return facts is not None and facts.created_at is not None and facts.created_at <= than
