"""Apply: carry out a plan's actions, in their order, each journaled around its effect.

One action that fails does not keep the others from being tried; only a lost lease, an unusable journal or a
shutdown ends the whole plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from rotator.domain import events as ev
from rotator.domain.actions import (
    Abandon,
    Action,
    Adopt,
    Close,
    ConfirmRefusal,
    ExtendGrace,
    ForwardExpiry,
    Issue,
    RecordOrphan,
    Resume,
    Revoke,
    Settle,
)
from rotator.domain.model import Identity, KeyKind, KeyRecord, KeyState, Origin, Refused
from rotator.domain.planner import Plan
from rotator.domain.secret import SecretValue
from rotator.errors import JournalError, ProviderRejected, RotatorError, Stopping
from rotator.ports import KeyProvider, SecretBackend
from rotator.service.issue import Issuer
from rotator.service.publish import Publisher
from rotator.service.session import RetiredSecrets, Session

REFUSAL_PATIENCE = timedelta(seconds=10)
"""How long a revoked key's refusal is waited for at once; later looks go on trying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Knows how each action is done."""

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    issuer: Issuer
    publisher: Publisher
    retired: RetiredSecrets
    draw: Callable[[], float]

    def apply(self, session: Session, plan: Plan) -> None:
        """Carry out all actions. What was done and what failed is in ``session.done`` and ``session.problems``."""
        for action in plan.actions:
            try:
                self._one(session, action)
            except (JournalError, Stopping):
                raise
            except RotatorError as error:
                session.problems.append(str(error))

    def _one(self, session: Session, action: Action) -> None:
        handlers: Mapping[type[Action], Callable[[Session, Any], None]] = {
            Adopt: self._adopt,
            Issue: self._issue,
            Resume: self.publisher.resume,
            Abandon: self._abandon,
            RecordOrphan: self._record_orphan,
            Settle: self._settle,
            ForwardExpiry: self._forward_expiry,
            ExtendGrace: self._extend_grace,
            Revoke: self._revoke,
            ConfirmRefusal: self._confirm_refusal,
            Close: self._close,
        }
        handlers[type(action)](session, action)

    def _issue(self, session: Session, action: Issue) -> None:
        session.clock.sleep(timedelta(0))  # a service that is shutting down begins nothing new
        self.issuer.issue(session, action)

    def _settle(self, session: Session, action: Settle) -> None:
        session.happened(ev.IntentSettled(key_name=action.key_name))

    def _extend_grace(self, session: Session, action: ExtendGrace) -> None:
        session.happened(ev.GraceExtended(key_id=action.key_id, grace_until=action.until, why=action.why))

    def _confirm_refusal(self, session: Session, action: ConfirmRefusal) -> None:
        self._see_refused(session, action.key_id)

    def _close(self, session: Session, action: Close) -> None:
        self._end(session, action.key_id, action.evidence)

    def _adopt(self, session: Session, action: Adopt) -> None:
        now, facts, policy = session.clock.now(), action.facts, session.policy
        known = session.record.key(action.identity.key_id)
        origin = Origin.LEGACY if action.identity.kind is KeyKind.LEGACY else Origin.ADOPTED
        fresh = KeyRecord(
            key_id=action.identity.key_id,
            state=KeyState.CURRENT,
            origin=known.origin if known else origin,
            project=policy.project,
            since=known.since if known else now,
            jitter=known.jitter if known else self.draw(),
        )
        key = replace(
            known or fresh,
            state=KeyState.CURRENT,
            fingerprint=action.fingerprint,
            name=facts.name if facts else fresh.name,
            created_at=facts.created_at if facts else fresh.created_at,
            expires_at=facts.expires_at if facts else fresh.expires_at,
            grace_until=None,
            grace_limit=None,
            revoke_after=None,
            revoked_at=None,
            replaced_by="",
            expiry_forwarded=False,
        )
        session.happened(ev.KeyAdopted(key=key, grace_until=now + policy.grace, grace_limit=now + policy.grace_limit))
        session.done.append(f"adopted {key.key_id}")

    def _abandon(self, session: Session, action: Abandon) -> None:
        """Another holder may have begun it, and may only be slow: its key is left alone for the settle time."""
        now, policy = session.clock.now(), session.policy
        if action.published:
            session.abandon(
                action.rotation_id, action.why, grace_until=now + policy.grace, grace_limit=now + policy.grace_limit
            )
        else:
            later = now + policy.settle
            session.abandon(
                action.rotation_id,
                action.why,
                revoke_after=later,
                settled_at=later + policy.settle if action.creation_unknown else None,
            )
        session.done.append(f"abandoned rotation {action.rotation_id}: {action.why}")

    def _record_orphan(self, session: Session, action: RecordOrphan) -> None:
        facts = action.facts
        key = KeyRecord(
            key_id=facts.key_id,
            state=KeyState.ORPHAN,
            origin=Origin.ISSUED,
            project=facts.project,
            since=session.clock.now(),
            name=facts.name,
            created_at=facts.created_at,
            expires_at=facts.expires_at,
            revoke_after=action.revoke_after,
        )
        session.happened(ev.OrphanFound(key=key))
        session.done.append(f"found {facts.key_id}, whose secret is lost")

    def _forward_expiry(self, session: Session, action: ForwardExpiry) -> None:
        key = session.record.key(action.key_id)
        expires_at = key.expires_at if key else None
        if action.expires_at is not None:
            try:
                self._provider(session).set_expiration(session.policy.project, action.key_id, action.expires_at)
                expires_at = action.expires_at
            except ProviderRejected as error:
                session.done.append(f"{action.key_id} keeps its expiration: {error}")
        session.happened(ev.ExpiryForwarded(key_id=action.key_id, expires_at=expires_at))

    def _revoke(self, session: Session, action: Revoke) -> None:
        session.happened(ev.RevocationIntended(key_id=action.key_id, why=action.why))
        self._provider(session).revoke_key(session.policy.project, action.key_id)
        session.happened(ev.KeyRevoked(key_id=action.key_id, revoked_at=session.clock.now()))
        session.gathered = replace(session.gathered, world=replace(session.gathered.world, listed=None))
        session.done.append(f"revoked {action.key_id}")
        self._see_refused(session, action.key_id)

    def _see_refused(self, session: Session, key_id: str) -> None:
        """See the revoked key refused; where nobody has its secret any more, see it gone from the list."""
        key = session.record.key(key_id)
        if key is None:
            return
        secret = self._old_secret(session, key)
        if secret is None:
            listed = self._provider(session).list_keys(session.policy.project)
            if not any(facts.key_id == key_id for facts in listed):
                self._end(session, key_id, "revoked, and no longer in the provider's list")
            return
        deadline, pause = session.clock.now() + REFUSAL_PATIENCE, timedelta(milliseconds=100)
        while True:
            answer = self._provider(session).identify(secret)
            if isinstance(answer, Refused):
                self._end(session, key_id, f"revoked, and refused by the provider: {answer.evidence}")
                return
            assert isinstance(answer, Identity)
            if session.clock.now() >= deadline:
                session.problems.append(f"{key_id} was revoked, and the provider still accepts it")
                return
            session.clock.sleep(pause)
            pause = min(pause * 2, timedelta(seconds=2))

    def _old_secret(self, session: Session, key: KeyRecord) -> SecretValue | None:
        kept = self.retired.get(key.fingerprint)
        if kept is not None or key.fingerprint is None:
            return kept
        for destination in session.policy.destinations:
            previous = self.backends(destination.backend).read_previous(destination)
            if previous is not None and previous.fingerprint() == key.fingerprint:
                return previous
        return None

    def _end(self, session: Session, key_id: str, evidence: str) -> None:
        key = session.record.key(key_id)
        session.happened(ev.KeyClosed(key_id=key_id, evidence=evidence))
        self.retired.forget(key.fingerprint if key else None)
        session.done.append(f"{key_id}: {evidence}")

    def _provider(self, session: Session) -> KeyProvider:
        return self.providers(session.policy.provider)
