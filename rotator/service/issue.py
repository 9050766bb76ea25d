"""The dangerous part: create a key and prove what it is. Journal first, every time.

The new secret lives in local variables here, from the provider's answer until it is published.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NoReturn

from rotator.domain import events as ev
from rotator.domain.actions import Issue, Sighting
from rotator.domain.model import Identity, IssuedKey, KeyFacts, KeyKind, Policy
from rotator.domain.naming import key_name
from rotator.domain.record import KeyRecord, KeyState, Origin, Phase, RotationRecord
from rotator.domain.secret import SecretValue
from rotator.domain.told_ends import told_beside
from rotator.errors import (
    Deferred,
    JournalError,
    OutcomeUnknown,
    Overtaken,
    ProviderError,
    ProviderUnavailable,
    RotationFailed,
    Stopping,
)
from rotator.ports import KeyProvider, SecretBackend
from rotator.service.budget import Budget
from rotator.service.publish import Publisher
from rotator.service.session import Session

PROPAGATION = timedelta(seconds=60)
"""How long a new key may take to be accepted everywhere at the provider before it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Moves a rotation from its intent to ``verified``, and hands it to the ``Publisher``.

    :param draw: a random number in [0, 1), for the new key's jitter.
    """

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    publisher: Publisher
    budget: Budget
    draw: Callable[[], float]

    def issue(self, session: Session, action: Issue) -> None:
        """A whole rotation. Raises ``OutcomeUnknown`` after a lost creation, which is journaled as open."""
        with self.budget.place(session, action):
            self._preflight(session)
            rotation = self._intend(session, action)
        issued = self._create(session, rotation)
        self._verify(session, rotation, issued)
        session.happened(ev.KeyVerified(rotation_id=rotation.rotation_id))
        self.publisher.publish(session, rotation.rotation_id, session.policy.destinations, issued.secret)

    def _preflight(self, session: Session) -> None:
        """Nothing is created when any destination can't be written."""
        for destination in session.policy.destinations:
            session.still_ours()
            self.backends(destination.backend).check_writable(destination)

    def _intend(self, session: Session, action: Issue) -> RotationRecord:
        policy, now = session.policy, session.now()
        found = (known_key(sighting, policy, now, self.draw()) for sighting in action.found)
        rotation = RotationRecord(
            rotation_id=str(uuid.uuid4()),
            reason=action.reason,
            phase=Phase.INTENDED,
            key_name=key_name(policy.instance, policy.name, now, secrets.token_bytes(5)),
            expires_at=action.expires_at,
            started_at=now,
            expected=action.expected,
            replaces=action.replaces,
            grace=action.grace,
            found=tuple(found),
        )
        try:
            session.happened(ev.RotationIntended(rotation=rotation))
        except Overtaken as error:  # nothing was written, and the next look is at once
            raise Deferred(str(error)) from error
        return rotation

    def _create(self, session: Session, rotation: RotationRecord) -> IssuedKey:
        provider, policy = self.providers(session.policy.provider), session.policy
        try:
            issued = provider.create_key(policy.project, rotation.key_name, rotation.expires_at)
        except OutcomeUnknown as error:
            self._look_for_it(session, rotation, str(error))
            raise
        except ProviderError as error:
            session.abandon(rotation.rotation_id, str(error))
            raise
        facts = issued.facts
        if facts.name != rotation.key_name or _is_known(session, facts.key_id):
            self._distrust(session, rotation, "the answer to the creation names another key")
        key = KeyRecord(
            key_id=facts.key_id,
            state=KeyState.CANDIDATE,
            origin=Origin.ISSUED,
            project=facts.project,
            provider=policy.provider,
            since=session.now(),
            fingerprint=issued.secret.fingerprint(),
            name=facts.name,
            created_at=facts.created_at,
            expires_at=facts.expires_at,
            jitter=self.draw(),
            rotation_id=rotation.rotation_id,
        )
        try:
            session.happened(ev.KeyIssued(rotation_id=rotation.rotation_id, key=key))
        except JournalError as error:
            # The journal knows the intent only, and nobody but us has the secret: the key is ours to clean up.
            _revoke_unrecorded(provider, facts, error)
            raise
        return issued

    def _verify(self, session: Session, rotation: RotationRecord, issued: IssuedKey) -> None:
        """The provider accepts the secret, and says that it is that key in that project, alive for long enough."""
        policy, expires_at = session.policy, issued.facts.expires_at
        if expires_at is not None and expires_at <= session.now() + policy.renew_before:
            self._give_up(session, rotation, "the provider gave it an expiration that is due for renewal already")
        identity = self._accepted(session, rotation, issued.secret)
        if identity.kind is not KeyKind.PROJECT:
            self._give_up(session, rotation, "the provider says that it is no project key")
        if identity.key_id != issued.facts.key_id:
            self._distrust(session, rotation, f"the provider says that it is another key, {identity.key_id}")
        if identity.project != policy.project:
            why = f"the provider says that it belongs to project {identity.project}"
            self._give_up(session, rotation, why, project=identity.project or "")
        held = {**session.gathered.world.identities, issued.secret.fingerprint(): identity}
        session.gathered = replace(session.gathered, world=replace(session.gathered.world, identities=held))

    def _accepted(self, session: Session, rotation: RotationRecord, secret: SecretValue) -> Identity:
        """Wait, within bounds, until a new key has reached every corner of the provider."""
        deadline, pause = session.clock.now() + PROPAGATION, timedelta(milliseconds=100)
        while True:
            session.still_ours()
            try:
                answer = self.providers(session.policy.provider).identify(secret)
            except ProviderUnavailable as error:
                problem = str(error)
            except ProviderError as error:
                self._give_up(session, rotation, str(error))
            else:
                if isinstance(answer, Identity):
                    return answer
                problem = f"the provider does not accept it ({answer.evidence})"
            if session.clock.now() >= deadline:
                self._give_up(session, rotation, problem)
            try:
                session.clock.sleep(pause)
            except Stopping as told:
                self._give_up(session, rotation, f"{told}; {problem}")
            pause = min(pause * 2, timedelta(seconds=5))

    def _look_for_it(self, session: Session, rotation: RotationRecord, why: str) -> None:
        """Nobody has the secret, and nobody can get it: what shows up under this name may be revoked at once."""
        now = session.now()
        settled_at = now + session.policy.settle
        session.abandon(rotation.rotation_id, why, revoke_after=now, settled_at=settled_at)

    def _distrust(self, session: Session, rotation: RotationRecord, why: str) -> NoReturn:
        """An id that may be of somebody else's key is never acted upon: the key that has our name is looked for."""
        self._look_for_it(session, rotation, why)
        raise RotationFailed(f"new key {rotation.key_name} refused: {why}")

    def _give_up(self, session: Session, rotation: RotationRecord, why: str, project: str = "") -> NoReturn:
        """Only this process ever had the secret, and it was published nowhere."""
        session.abandon(rotation.rotation_id, why, revoke_after=session.now(), project=project)
        raise RotationFailed(f"new key {rotation.key_name} refused: {why}")


def known_key(sighting: Sighting, policy: Policy, now: datetime, jitter: float) -> KeyRecord:
    """A key that a destination holds, as the journal remembers it from now on."""
    facts = sighting.facts
    person = Origin.LEGACY if sighting.identity.kind is KeyKind.LEGACY else Origin.ADOPTED
    key = KeyRecord(
        key_id=sighting.identity.key_id,
        state=KeyState.CURRENT,
        origin=Origin.ISSUED if sighting.ours else person,
        project=policy.project,
        provider=policy.provider,
        since=now,
        fingerprint=sighting.fingerprint,
        name=facts.name if facts else "",
        created_at=facts.created_at if facts else None,
        expires_at=facts.expires_at if facts else None,
        jitter=jitter,
    )
    return told_beside(key, policy.lifetime, now) if policy.assisted else key


def adopted_key(sighting: Sighting, known: KeyRecord | None, policy: Policy, now: datetime, jitter: float) -> KeyRecord:
    """The key as the current one, with what was known of it before.

    :param known: its record in this policy, where it comes back.
    """
    key = known_key(sighting, policy, now, jitter)
    if known is None:
        return key
    # What we knew of it stays true, what was planned for it does not.
    origin = key.origin if known.origin is Origin.ADOPTED else known.origin
    key = replace(key, origin=origin, since=known.since, jitter=known.jitter, rotation_id=known.rotation_id)
    key = replace(key, condemned=known.condemned, leaked=known.leaked)
    if sighting.facts and not policy.assisted:
        # The list may be behind an end that we have set, or are about to.
        ends = [end for end in (key.expires_at, known.expires_at) if end]
        return replace(key, expires_at=min(ends, default=None))
    key = replace(key, name=known.name, created_at=known.created_at or key.created_at)
    if known.expires_at or known.expires_told_by:
        key = replace(key, expires_at=known.expires_at, ends_latest=known.ends_latest)
    return replace(key, expires_told_by=known.expires_told_by)


def _is_known(session: Session, key_id: str) -> bool:
    """Whether that id is of a key that was there before: a new key has a new id."""
    world, record = session.gathered.world, session.record
    return bool(record.key(key_id) or world.facts(key_id)) or key_id in {
        *world.held_ids,
        *record.closed,
        *record.forgotten,
    }


def _revoke_unrecorded(provider: KeyProvider, facts: KeyFacts, error: JournalError) -> None:
    """Revoke at once what could not be recorded; where that fails too, the open intent finds the key by its name."""
    try:
        provider.revoke_key(facts.project, facts.key_id)
    except (ProviderError, OutcomeUnknown) as second:
        error.add_note(f"{facts.key_id} could not be revoked either: {second}")
