"""Put a key that is known already back into destinations: a rollback, or what the policy says of drift.

Each write is compare-and-set on what the plan was made from, so that a value of somebody else is never overwritten
unseen, and a late write of a former holder does no harm.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from rotator.domain import events as ev
from rotator.domain.actions import DropRollback, GiveExpirationBack, Restore, RollBack
from rotator.domain.model import Destination, Held, Identity, Refused
from rotator.domain.moves import may_land
from rotator.domain.record import KeyRecord, KeyState
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.errors import BackendError, OutcomeUnknown, ProviderRejected, RotationFailed, VersionConflict
from rotator.ports import KeyProvider, SecretBackend
from rotator.service.publish import PUBLISH_ATTEMPTS, completed, metadata_of, saw
from rotator.service.session import RetiredSecrets, Session


@dataclass(frozen=True, slots=True)
class _Known:
    """What is written, and its idempotency token."""

    key: KeyRecord
    secret: SecretValue
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """Finds a known key's secret, proves that it is still accepted, and writes it."""

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    retired: RetiredSecrets

    def roll_back(self, session: Session, action: RollBack) -> None:
        """The former key everywhere, with its expiration; then the newer one is retiring. Repeated until it is done."""
        key, rollback = session.record.key(action.key_id), session.record.rollback
        if key is None or rollback is None:
            raise RotationFailed("not rolled back: something else was asked for meanwhile")
        secret = self.find_secret(session, key)
        if secret is None:
            self._drop(session, f"no destination keeps the value of {key.key_id} (a dotenv file keeps none)")
        answer = self._provider(session).identify(secret)
        if isinstance(answer, Refused) or (answer.key_id, answer.project or key.project) != (key.key_id, key.project):
            self._drop(session, f"the provider does not accept {key.key_id} any more")
        self._remember(session, secret, answer)
        if not rollback.rollback_id:
            for destination, _ in action.missing:
                session.still_ours()
                self.backends(destination.backend).check_writable(destination)
            session.happened(ev.RollbackBegun(rollback_id=str(uuid.uuid4()), key_id=key.key_id))
            session.may_go_on()
        if kept := self._give_expiration_back(session, key):
            session.done.append(kept)
        if session.record.rollback is None:  # it came while its beginning was recorded
            raise RotationFailed("not rolled back: something else was asked for meanwhile")
        restored = session.record.key(key.key_id) or key  # the destinations tell the end that it has now
        try:
            session.has_not_ended(restored)
        except RotationFailed as ended:  # by what is recorded, though the provider may accept it yet
            self._drop(session, str(ended))
        known = _Known(restored, secret, session.record.rollback.rollback_id)
        for destination, version in action.missing:
            self._write(session, known, destination, version, action.replaces)
        self._finish(session, key)

    def give_expiration_back(self, session: Session, action: GiveExpirationBack) -> None:
        """Of a replaced key that lies in a place again. Raises ``RotationFailed`` where the provider keeps the end."""
        key = session.record.key(action.key_id)
        if key is None:
            raise RotationFailed(f"{action.key_id} was forgotten meanwhile")
        if kept := self._give_expiration_back(session, key):
            raise RotationFailed(kept)
        session.done.append(f"{action.key_id} has its own expiration again")

    def drop(self, session: Session, action: DropRollback) -> NoReturn:
        """Record that a rollback can't be carried out. Raises ``RotationFailed`` with the reason."""
        session.happened(ev.RollbackDropped(why=action.why, lands_on=action.lands_on))
        raise RotationFailed(f"not rolled back: {action.why}")

    def restore(self, session: Session, action: Restore) -> None:
        """The current key again where somebody else has changed it; given up as the current one where it is refused."""
        key = session.record.key(action.key_id)
        if key is None:
            raise RotationFailed(f"{action.key_id} is not put back: it was forgotten meanwhile")
        secret = self.find_secret(session, key)
        if secret is None:
            self._replace_instead(session, action)
            return
        answer = self._provider(session).identify(secret)
        if isinstance(answer, Refused):
            session.happened(ev.KeyClosed(key_id=key.key_id, evidence=f"refused by the provider: {answer.evidence}"))
            return
        if answer.key_id != key.key_id:
            raise RotationFailed(f"the provider now says that {key.key_id} is {answer.key_id}")
        self._remember(session, secret, answer)
        known = _Known(key, secret, key.rotation_id or str(uuid.uuid4()))
        for destination, version, found, written in action.changed:
            self._give_time(session, found, destination)
            self._write(session, known, destination, version, found)
            hooks = session.policy.hooks if found != key.fingerprint else ()
            was = written or "not told"
            session.happened(
                ev.DestinationRestored(key_id=key.key_id, destination=destination.name, was=was, hooks=hooks)
            )
            session.done.append(f"{key.key_id} put back into {destination}")

    def _replace_instead(self, session: Session, action: Restore) -> None:
        """Its value is kept nowhere: where nothing works another key is made; what works is left to people."""
        why = f"no destination keeps the value of {action.key_id}"
        if all(session.gathered.world.identity(found) for _, _, found, _ in action.changed):
            raise RotationFailed(f"{why}: ask for a rotation, or let the policy adopt")
        session.happened(ev.RotationRequested(reason=f"{why}, to put it back"))
        session.done.append(f"{why}: another key is made")

    def find_secret(self, session: Session, key: KeyRecord) -> SecretValue | None:
        """The secret of a known key, from memory, from a destination that holds it, or from one that held it before.

        Raises ``BackendError`` where none has it, and one could not be asked.
        """
        if key.fingerprint is None:
            return None
        kept = self.retired.get(key.fingerprint) or session.gathered.secrets.get(key.fingerprint)
        if kept is not None:
            return kept
        failure: BackendError | None = None
        for destination in session.policy.destinations:
            session.still_ours()
            try:
                previous = self.backends(destination.backend).read_previous(destination)
            except BackendError as error:  # another one may have it
                failure = error
                continue
            if previous is not None and previous.fingerprint() == key.fingerprint:
                return previous
        if failure is not None:
            raise failure
        return None

    def _write(
        self, session: Session, known: _Known, destination: Destination, version: str, replaces: Fingerprint | None
    ) -> None:
        """Compare and set, read back; again only while the place holds what is to be replaced."""
        backend = self.backends(destination.backend)
        problem = ""
        for _ in range(PUBLISH_ATTEMPTS):
            session.still_ours()
            session.has_not_ended(known.key)
            metadata, is_answered = metadata_of(session, known.key, known.token), False
            try:
                backend.write(destination, known.secret, metadata, expected=version)
                is_answered = True
            except (VersionConflict, OutcomeUnknown) as error:
                problem = str(error)
            held = backend.read(destination)
            if held.value is not None and held.value.same_as(known.secret):
                held = held if is_answered else completed(backend, destination, held, known.secret, metadata)
                saw(session, destination, held)
                return
            if _fingerprint(held) not in {replaces, None}:
                raise RotationFailed(f"{destination}: somebody else wrote it in the meantime")
            version = held.version
        raise OutcomeUnknown(f"{destination}: could not be written in {PUBLISH_ATTEMPTS} attempts: {problem}")

    def _give_time(self, session: Session, found: Fingerprint | None, destination: Destination) -> None:
        """A replaced key that somebody had put there has consumers again: it is taken from them with a grace.

        Where there was no working key, nobody could go over from the replaced ones to the current one until now.
        """
        record, until = session.record, session.later() + session.policy.grace
        retiring = record.in_state(KeyState.RETIRING)
        if session.gathered.world.identity(found) is None:
            why = f"{destination} held no working key"
            keys = [key for key in retiring if not (key.leaked or key.condemned)]
        else:
            why = f"somebody had put it back into {destination}"
            leaked = {one.rotation_id for one in record.rotations if one.compromised}
            keys = [key for key in retiring if key.fingerprint == found and key.replaced_by not in leaked]
        ids = tuple(key.key_id for key in keys if key.grace_until is None or key.grace_until < until)
        if ids:
            limit = session.later() + session.policy.grace_limit
            session.happened(ev.GraceRestarted(key_ids=ids, grace_until=until, grace_limit=limit, why=why))

    def _give_expiration_back(self, session: Session, key: KeyRecord) -> str:
        """Sent before it is recorded: a crash between the two leaves a record that believes in the earlier end.

        Returns why it keeps that; empty where it does not.
        """
        if key.first_expiry is None or key.first_expiry.at == key.expires_at:
            return ""
        if session.policy.assisted:  # it was given before there was nobody but people to do it
            return f"{key.key_id} keeps its earlier end: the provider lets nobody change it"
        try:
            self._provider(session).set_expiration(key.project, key.key_id, key.first_expiry.at)
        except ProviderRejected as error:
            return f"{key.key_id} keeps its earlier end: {error}"
        session.happened(ev.ExpirationRestored(key_id=key.key_id, expires_at=key.first_expiry.at))
        return ""

    def _finish(self, session: Session, former: KeyRecord) -> None:
        now, policy = session.later(), session.policy
        newer = session.record.in_state(KeyState.CURRENT)
        key = session.record.key(former.key_id)
        ends = key.expires_at if key else None
        rest = (ends - now) / 2 if ends and ends > now else policy.renew_before
        session.happened(
            ev.RolledBack(
                key_id=former.key_id,
                grace_until=now + policy.grace,
                grace_limit=now + policy.grace_limit,
                rest_until=now + min(rest, policy.renew_before),
                hooks=policy.hooks,
                at=now,
            )
        )
        if session.record.current is None or session.record.current.key_id != former.key_id:
            raise RotationFailed("rolled back, and something else was asked for meanwhile")
        for one in newer:
            secret = session.gathered.secrets.get(one.fingerprint) if one.fingerprint else None
            if secret is not None and one.fingerprint is not None:
                self.retired.keep(one.fingerprint, secret)
        self.retired.forget(former.fingerprint)
        replaced = ", ".join(one.key_id for one in newer)
        session.done.append(f"rolled back: {former.key_id} everywhere again, {replaced} retires")

    def _remember(self, session: Session, secret: SecretValue, identity: Identity) -> None:
        """What was asked need not be asked again in this look."""
        fingerprint, gathered = secret.fingerprint(), session.gathered
        world = replace(gathered.world, identities={**gathered.world.identities, fingerprint: identity})
        session.gathered = replace(gathered, world=world, secrets={**gathered.secrets, fingerprint: secret})

    def _drop(self, session: Session, why: str) -> NoReturn:
        self.drop(session, DropRollback(why=why, lands_on=may_land(session.record)))

    def _provider(self, session: Session) -> KeyProvider:
        return self.providers(session.policy.provider)


def _fingerprint(held: Held) -> Fingerprint | None:
    return held.value.fingerprint() if held.value else None
