"""Apply: carry out a plan's actions, in their order, each journaled around its effect.

One action that fails does not keep the others from being tried; only a lost lease, an unusable journal or a
shutdown ends the whole plan.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from rotator.domain import events as ev
from rotator.domain.actions import (
    Abandon,
    Action,
    Adopt,
    BelieveExpiration,
    Close,
    ConfirmRefusal,
    DropRollback,
    ExtendGrace,
    ForwardExpiry,
    GiveExpirationBack,
    Issue,
    Rebuild,
    RecordOrphan,
    RecordStray,
    Restore,
    Resume,
    Revoke,
    RollBack,
    RunHook,
    Settle,
)
from rotator.domain.model import Identity, KeyFacts, Refused
from rotator.domain.planner import Plan
from rotator.domain.record import KeyRecord, KeyState, Origin, Phase, RotationRecord
from rotator.domain.text import text
from rotator.domain.told_ends import with_ends_of
from rotator.errors import Deferred, JournalError, ProviderRejected, RotationFailed, RotatorError, Stopping
from rotator.ports import KeyProvider, SecretBackend
from rotator.service.hooks import Teller
from rotator.service.issue import Issuer, adopted_key, known_key
from rotator.service.people import People
from rotator.service.publish import Publisher
from rotator.service.put_back import PutBack
from rotator.service.session import RetiredSecrets, Session, record_end

REFUSAL_PATIENCE = timedelta(seconds=10)
"""How long a revoked key's refusal is waited for at once; later looks go on trying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Knows how each action is done."""

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    issuer: Issuer
    publisher: Publisher
    put_back: PutBack
    teller: Teller
    people: People
    retired: RetiredSecrets
    draw: Callable[[], float]

    def apply(self, session: Session, plan: Plan) -> None:
        """Carry out all actions. What was done and what failed is in ``session.done`` and ``session.problems``."""
        for action in plan.actions:
            try:
                self._one(session, action)
            except (JournalError, Stopping):
                raise
            except Deferred as reason:
                session.deferred.append(str(reason))
            except RotatorError as error:
                session.problems.append(str(error))
                session.cause = session.cause or type(error).__name__

    def _one(self, session: Session, action: Action) -> None:
        handlers: Mapping[type[Action], Callable[[Session, Any], None]] = {
            Adopt: self._adopt,
            Issue: self._issue,
            Rebuild: self._rebuild,
            RollBack: self.put_back.roll_back,
            DropRollback: self.put_back.drop,
            Restore: self.put_back.restore,
            GiveExpirationBack: self.put_back.give_expiration_back,
            RunHook: self.teller.run,
            BelieveExpiration: self._believe,
            Resume: self.publisher.resume,
            Abandon: self._abandon,
            RecordOrphan: self._record_orphan,
            RecordStray: self._record_stray,
            Settle: self._settle,
            ForwardExpiry: self._forward_expiry,
            ExtendGrace: self._extend_grace,
            Revoke: self._revoke,
            ConfirmRefusal: self._confirm_refusal,
            Close: self._close,
            **self.people.handlers(),
        }
        handlers[type(action)](session, action)

    def _issue(self, session: Session, action: Issue) -> None:
        session.clock.sleep(timedelta(0))  # a service that is shutting down begins nothing new
        self.issuer.issue(session, action)

    def _settle(self, session: Session, action: Settle) -> None:
        session.happened(ev.IntentSettled(key_name=action.key_name))

    def _extend_grace(self, session: Session, action: ExtendGrace) -> None:
        session.happened(ev.GraceExtended(key_id=action.key_id, grace_until=action.until, why=action.why))

    def _believe(self, session: Session, action: BelieveExpiration) -> None:
        session.happened(ev.ExpirationSeen(key_id=action.key_id, expires_at=action.expires_at))
        session.done.append(f"{action.key_id} ends at {text(action.expires_at)}, earlier than was known")

    def _confirm_refusal(self, session: Session, action: ConfirmRefusal) -> None:
        key = session.record.key(action.key_id)
        if session.policy.assisted and key and key.origin is not Origin.LEGACY:
            self.people.see_ended(session, action.key_id)
        else:
            self._see_refused(session, action.key_id)

    def _close(self, session: Session, action: Close) -> None:
        record_end(session, self.retired, action.key_id, action.evidence)

    def _adopt(self, session: Session, action: Adopt) -> None:
        policy, known = session.policy, session.record.key(action.key.identity.key_id)
        key, later = adopted_key(action.key, known, policy, session.now(), self.draw()), session.later()
        if policy.assisted and key.expires_at is None:
            # A person has copied another policy's key: nobody can read when it ends, and there it may be known.
            records = session.journal.others_with(key.key_id, policy.name)
            key = with_ends_of(key, [theirs for one in records if (theirs := one.key(key.key_id))])
        session.happened(
            ev.KeyAdopted(key=key, grace_until=later + policy.grace, grace_limit=later + policy.grace_limit)
        )
        session.done.append(f"adopted {key.key_id}")

    def _abandon(self, session: Session, action: Abandon) -> None:
        """Another holder may have begun it, and may only be slow: its key is left alone for the settle time."""
        now, policy = session.later(), session.policy
        if action.published:
            session.abandon(
                action.rotation_id,
                action.why,
                grace_until=now + policy.grace,
                grace_limit=now + policy.grace_limit,
                lands_on=action.lands_on,
                displaced_in=action.displaced_in,
            )
        else:
            later = now + (max(policy.settle, policy.grace) if action.perhaps_read else policy.settle)
            session.abandon(
                action.rotation_id,
                action.why,
                revoke_after=later,
                grace_limit=max(later, now + policy.grace_limit) if action.perhaps_read else None,
                settled_at=later + policy.settle if action.creation_unknown else None,
                lands_on=action.lands_on,
            )
        is_open = session.record.awaiting is not None
        what = "the request is open again" if is_open else f"abandoned rotation {action.rotation_id}"
        session.done.append(f"{what}: {action.why}")

    def _record_orphan(self, session: Session, action: RecordOrphan) -> None:
        key = _listed_key(action.facts, session, KeyState.ORPHAN)
        key = replace(key, revoke_after=action.revoke_after)
        session.happened(ev.OrphanFound(key=key))
        session.done.append(f"found {key.key_id}, whose secret is lost")

    def _record_stray(self, session: Session, action: RecordStray) -> None:
        now, policy = session.later(), session.policy
        key = replace(
            _listed_key(action.facts, session, KeyState.RETIRING),
            grace_until=now + policy.grace,
            grace_limit=now + policy.grace_limit,
        )
        session.happened(ev.StrayFound(key=key))
        session.done.append(f"found {key.key_id}, which has a name of ours and is not in the journal: it is retired")

    def _rebuild(self, session: Session, action: Rebuild) -> None:
        policy, now, facts = session.policy, session.now(), action.key.facts
        assert facts is not None, "it was found by its name in the list"
        rotation = RotationRecord(
            rotation_id=str(uuid.uuid4()),
            reason="PublicationUnfinished: the journal had lost it",
            phase=Phase.PUBLISHING,
            key_name=facts.name,
            expires_at=facts.expires_at or now + policy.lifetime,
            started_at=now,
            expected=action.expected,
            replaces=action.replaces,
            grace=policy.grace,
            key_id=facts.key_id,
            fingerprint=action.key.fingerprint,
            published=action.published,
            found=tuple(known_key(found, policy, now, self.draw()) for found in action.found),
        )
        key = replace(
            known_key(action.key, policy, now, self.draw()),
            state=KeyState.CANDIDATE,
            rotation_id=rotation.rotation_id,
        )
        session.happened(ev.RotationRebuilt(rotation=rotation, key=key))
        session.done.append(f"found {key.key_id}, which is not everywhere yet")

    def _forward_expiry(self, session: Session, action: ForwardExpiry) -> None:
        """Recorded before it is sent: it may be carried out late, when somebody has put the key back."""
        self._is_what_we_adopted(session, action.key_id)
        key = session.record.key(action.key_id)
        assert key is not None, "the plan was made from this record, and a key that is not ours has raised"
        session.happened(ev.ExpiryForwarded(key_id=key.key_id, expires_at=action.expires_at or key.expires_at))
        known = session.record.key(key.key_id)
        is_longer = known is not None and known.grace_limit != key.grace_limit
        is_later = bool(action.expires_at and key.expires_at and action.expires_at > key.expires_at)
        if is_longer or (session.record.held(session.now()) and not is_later):  # an operator asked for it meanwhile
            session.happened(ev.ExpiryUncertain(key_id=key.key_id))
            return
        if action.expires_at is None:
            return
        try:
            self._provider(session).set_expiration(key.project, key.key_id, action.expires_at)
        except ProviderRejected as error:
            session.happened(ev.ExpiryForwarded(key_id=key.key_id, expires_at=key.expires_at))
            session.done.append(f"{key.key_id} keeps its expiration: {error}")
        except RotatorError:
            session.happened(ev.ExpiryUncertain(key_id=key.key_id))
            raise

    def _revoke(self, session: Session, action: Revoke) -> None:
        session.happened(ev.RevocationIntended(key_id=action.key_id, why=action.why))
        session.may_go_on()
        key = session.record.key(action.key_id)
        assert key is not None, "its revocation was just recorded"
        if key.state is KeyState.RETIRING and key.grace_until and key.grace_until > session.now():  # so did that
            raise Deferred(f"{action.key_id}: its grace was extended until {text(key.grace_until)}")
        self._provider(session).revoke_key(key.project, action.key_id)
        session.happened(ev.KeyRevoked(key_id=action.key_id, revoked_at=session.now()))
        session.gathered = replace(session.gathered, world=replace(session.gathered.world, listed=None))
        session.done.append(f"revoked {action.key_id}")
        self._see_refused(session, action.key_id)

    def _is_what_we_adopted(self, session: Session, key_id: str) -> None:
        """Promise 7: a person's key is known by one answer of the provider. Before it is first touched, ask once more.

        That is when its grace has just begun; later in it, the question would make the key look used.
        """
        key = session.record.key(key_id)
        if key is None or key.origin is not Origin.ADOPTED or key.grace_until is None:
            return
        early = session.now() < key.grace_until - session.policy.quiet
        secret = self.put_back.find_secret(session, key) if early else None
        answer = self._provider(session).identify(secret) if secret else None
        if isinstance(answer, Identity) and answer.key_id != key_id:
            why = f"the provider now says that what it took for this key is {answer.key_id}: it is left alone"
            session.happened(ev.KeyClosed(key_id=key_id, evidence=why))
            raise RotationFailed(f"{key_id}: {why}; that one has to be revoked by hand")

    def _see_refused(self, session: Session, key_id: str) -> None:
        """See the revoked key refused; where nobody has its secret any more, see it gone from the list."""
        key = session.record.key(key_id)
        if key is None:
            return
        secret = self.put_back.find_secret(session, key)
        if secret is None and key.origin is Origin.LEGACY:
            return  # no list shows it, so that nothing can be concluded; the finding stays
        if secret is None:
            listed = self._provider(session).list_keys(key.project)
            if not any(facts.key_id == key_id for facts in listed):
                record_end(session, self.retired, key_id, "revoked, and no longer in the provider's list")
            return
        deadline, pause = session.clock.now() + REFUSAL_PATIENCE, timedelta(milliseconds=100)
        while True:
            answer = self._provider(session).identify(secret)
            if isinstance(answer, Refused):
                gone = "revoked, and refused" if key.state is KeyState.REVOKED else "refused"
                record_end(session, self.retired, key_id, f"{gone} by the provider: {answer.evidence}")
                return
            assert isinstance(answer, Identity)
            if key.origin is Origin.LEGACY:
                return
            if session.clock.now() >= deadline:
                session.problems.append(f"{key_id} was revoked, and the provider still accepts it")
                session.cause = session.cause or "StillAccepted"
                return
            session.still_ours()
            session.clock.sleep(pause)
            pause = min(pause * 2, timedelta(seconds=2))

    def _provider(self, session: Session) -> KeyProvider:
        return self.providers(session.policy.provider)


def _listed_key(facts: KeyFacts, session: Session, state: KeyState) -> KeyRecord:
    """A key of ours that is known from the provider's list alone: by its name."""
    return KeyRecord(
        key_id=facts.key_id,
        state=state,
        origin=Origin.ISSUED,
        project=facts.project,
        provider=session.policy.provider,
        since=session.now(),
        name=facts.name,
        created_at=facts.created_at,
        expires_at=facts.expires_at,
    )
