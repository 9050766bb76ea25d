"""Publish a verified key: compare and set, read back, journal, destination by destination; then start the grace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from rotator.domain import events as ev
from rotator.domain.actions import Resume
from rotator.domain.model import Destination, Held, KeyMetadata
from rotator.domain.record import KeyRecord, KeyState, Phase, RotationRecord
from rotator.domain.secret import SecretValue
from rotator.domain.snapshot import DestinationView
from rotator.domain.text import text
from rotator.errors import BackendError, OutcomeUnknown, RotationFailed, VersionConflict
from rotator.ports import SecretBackend
from rotator.service.session import RetiredSecrets, Session

PUBLISH_ATTEMPTS = 5
"""How often a destination is compared and set again when somebody writes beside our value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Moves a rotation from ``verified`` to ``grace``."""

    backends: Callable[[str], SecretBackend]
    retired: RetiredSecrets

    def publish(
        self, session: Session, rotation_id: str, destinations: tuple[Destination, ...], secret: SecretValue
    ) -> None:
        """Write to all of them, and start the grace when all hold it.

        One that fails does not keep the others from being written: each that holds the key keeps its secret safe,
        and the next look finishes the rest. Raises ``RotationFailed``.
        """
        failures: list[BackendError | OutcomeUnknown] = []
        sent: list[str] = []
        for destination in destinations:
            ends = destination is destinations[-1] and not failures
            try:
                self._publish_one(session, rotation_id, destination, secret, sent, ends=ends)
            except (BackendError, OutcomeUnknown) as error:
                failures.append(error)
        if not destinations:
            self._start_grace(session, rotation_id)
        if not failures:
            return
        why = "; ".join(str(error) for error in failures)
        if not session.rotation(rotation_id).published and not sent:
            session.abandon(rotation_id, why, revoke_after=session.now())  # its secret is about to be forgotten
            raise RotationFailed(f"published nowhere: {why}") from failures[0]
        # What was sent may be there, or arrive late: the next look reads every place, and decides.
        raise RotationFailed(f"not published everywhere yet: {why}") from failures[0]

    def resume(self, session: Session, action: Resume) -> None:
        """Finish a rotation from the destinations that hold its key already."""
        rotation = session.rotation(action.rotation_id)
        if rotation.phase is Phase.ISSUED:
            session.happened(ev.KeyVerified(rotation_id=rotation.rotation_id))
        unrecorded = tuple(place for place in action.held if place.name not in rotation.published)
        for destination in unrecorded:
            session.happened(ev.DestinationPublished(rotation_id=rotation.rotation_id, destination=destination.name))
        assert rotation.fingerprint is not None, "a rotation that is resumed has a key"
        for view in session.gathered.world.destinations:
            if view.destination.name not in rotation.expected:  # it was added to the policy since
                session.happened(
                    ev.DestinationRebased(
                        rotation_id=rotation.rotation_id, destination=view.destination.name, version=view.version
                    )
                )
        secret = session.gathered.secrets[rotation.fingerprint]
        # What holds the key though nobody recorded it may lack the hints: the value and they are never one step.
        self.publish(session, action.rotation_id, (*unrecorded, *action.missing), secret)

    def _publish_one(
        self,
        session: Session,
        rotation_id: str,
        destination: Destination,
        secret: SecretValue,
        sent: list[str],
        *,
        ends: bool,
    ) -> None:
        """Compare and set, read back, journal. A value that somebody else put there meanwhile is never overwritten.

        :param sent: gets the destination's name when a write may have been carried out, however this ends.
        :param ends: it is the last: the grace starts with it. No effect is between the two, so one commit is enough.
        """
        backend = self.backends(destination.backend)
        for _ in range(PUBLISH_ATTEMPTS):
            session.still_ours()
            rotation, is_answered = session.rotation(rotation_id), False
            key = session.record.key(rotation.key_id)
            assert key is not None, "a rotation that publishes has its key in the record"
            session.has_not_ended(key)
            metadata = metadata_of(session, key, rotation.rotation_id)
            try:
                backend.write(destination, secret, metadata, expected=rotation.expected[destination.name])
            except VersionConflict as error:
                problem = str(error)
            except OutcomeUnknown as error:
                problem = str(error)
                sent.append(destination.name)
            else:
                problem, is_answered = "it does not hold what was written", True
                sent.append(destination.name)
            held = backend.read(destination)
            if held.value is not None and held.value.same_as(secret):
                held = held if is_answered else completed(backend, destination, held, secret, metadata)
                published = ev.DestinationPublished(rotation_id=rotation_id, destination=destination.name)
                if ends:
                    self._start_grace(session, rotation_id, published)
                else:
                    session.happened(published)
                saw(session, destination, held)
                return
            if (late := _late_orphan(session, held)) is not None:
                # A former holder's write arrived after all. It did not win: but consumers may have read it.
                now, policy = session.later(), session.policy
                grace = {"grace_until": now + policy.grace, "grace_limit": now + policy.grace_limit}
                session.happened(ev.OrphanLanded(rotation_id=rotation_id, key_id=late.key_id, **grace))
            elif destination.name in rotation.published or not _is_what_we_replace(rotation, destination, held):
                # Where it was seen with the new key, even the old value is somebody's own change.
                self._lose_to_others(session, rotation, destination, sent)
            if held.version != rotation.expected[destination.name]:
                session.happened(
                    ev.DestinationRebased(rotation_id=rotation_id, destination=destination.name, version=held.version)
                )
        raise OutcomeUnknown(f"{destination}: could not be written in {PUBLISH_ATTEMPTS} attempts: {problem}")

    def _lose_to_others(
        self, session: Session, rotation: RotationRecord, destination: Destination, sent: list[str]
    ) -> NoReturn:
        """Their value wins. What was published nowhere is revoked; what was published stays valid for a grace."""
        now, policy = session.later(), session.policy
        why = f"{destination}: somebody else wrote it in the middle of the rotation"
        if rotation.published or sent:
            session.abandon(
                rotation.rotation_id,
                why,
                grace_until=now + policy.grace,
                grace_limit=now + policy.grace_limit,
                displaced_in=tuple(dict.fromkeys((*rotation.published, *sent))),
            )
        else:
            session.abandon(rotation.rotation_id, why, revoke_after=now)
        raise RotationFailed(why)

    def _start_grace(self, session: Session, rotation_id: str, *before: ev.Event) -> None:
        now, rotation = session.later(), session.rotation(rotation_id)
        replaced = session.record.in_state(KeyState.CURRENT)
        limit = session.policy.grace_limit if rotation.grace else rotation.grace
        started = ev.GraceStarted(
            rotation_id=rotation_id,
            grace_until=now + rotation.grace,
            grace_limit=now + limit,
            hooks=session.policy.hooks,
        )
        session.happened(*before, started)
        for key in replaced:
            secret = session.gathered.secrets.get(key.fingerprint) if key.fingerprint else None
            if secret is not None and key.fingerprint is not None:
                self.retired.keep(key.fingerprint, secret)
        places = ", ".join(destination.name for destination in session.policy.destinations)
        old = ", ".join(key.key_id for key in replaced)
        done = f"{old} replaced by {rotation.key_id}" if old else f"first key {rotation.key_id}"
        session.done.append(f"{done} in {places}")


def _late_orphan(session: Session, held: Held) -> KeyRecord | None:
    """The key that a destination holds, if it is one that was given up and might still have been published."""
    key = session.record.by_fingerprint(held.value.fingerprint()) if held.value else None
    if key is None:
        return None
    may_land = key.state is KeyState.ORPHAN or (key.state is KeyState.RETIRING and bool(key.lands_on))
    return key if may_land else None


def _is_what_we_replace(rotation: RotationRecord, destination: Destination, held: Held) -> bool:
    if held.version == rotation.expected[destination.name]:
        return True
    before = rotation.replaces.get(destination.name)
    if held.value is None:
        return before is None
    return held.value.fingerprint() == before


def completed(
    backend: SecretBackend, destination: Destination, held: Held, secret: SecretValue, metadata: KeyMetadata
) -> Held:
    """Write once more where the value arrived, though no answer came, and beside it are the hints of another one.

    The next look would take them for a change by others. A place without hints is not written again: not every one
    carries them. No more than a try: the value is there. Answers what lies there then.
    """
    if all(held.metadata.get(name, text) == text for name, text in metadata.as_pairs().items()):
        return held
    try:
        backend.write(destination, secret, metadata, expected=held.version)
        again = backend.read(destination)
    except (BackendError, OutcomeUnknown):
        return held
    return again if again.value is not None and again.value.same_as(secret) else held


def saw(session: Session, destination: Destination, held: Held) -> None:
    """Put what was read back into the snapshot of this look."""
    assert held.value is not None, "it was just compared"
    view = DestinationView(
        destination=destination,
        fingerprint=held.value.fingerprint(),
        version=held.version,
        hints=held.metadata,
    )
    world = session.gathered.world
    views = tuple(view if old.destination.name == destination.name else old for old in world.destinations)
    session.gathered = replace(
        session.gathered,
        world=replace(world, destinations=views, listed=None),
        secrets={**session.gathered.secrets, held.value.fingerprint(): held.value},
    )


def metadata_of(session: Session, key: KeyRecord, rotation_id: str) -> KeyMetadata:
    """What a destination carries beside that key.

    :param rotation_id: the idempotency token of what is written.
    """
    current = session.record.current
    previous = current if current and current.key_id != key.key_id else None
    return KeyMetadata(
        instance=session.policy.instance,
        policy=session.policy.name,
        project=session.policy.project,
        rotation_id=rotation_id,
        key_id=key.key_id,
        fingerprint=key.fingerprint or "",
        created=text(key.created_at or key.since),
        expires=text(key.expires_at) if key.expires_at else "",
        previous_key_id=previous.key_id if previous else "",
    )
