"""What is asked of people, and what is seen of it: the actions of ``domain.request_actions``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from rotator.domain import events as ev
from rotator.domain import request_events as rev
from rotator.domain.actions import Action
from rotator.domain.assisted import word_counts_at
from rotator.domain.model import Identity, Refused
from rotator.domain.record import KeyRecord, KeyState
from rotator.domain.request_actions import (
    AskForKey,
    AskForRevocation,
    ChangeRequest,
    CheckInbox,
    Remind,
    WithdrawRequest,
    WithdrawRevocation,
)
from rotator.domain.requests import ways_to_hand_over
from rotator.domain.text import text
from rotator.domain.told_ends import told_end
from rotator.errors import Deferred, HandoverRefused, Overtaken, VersionConflict, WrongDestination
from rotator.ports import Destroyer, KeyProvider, SecretBackend
from rotator.service.budget import Budget
from rotator.service.handover import Acceptor, Handed, new_request, requested
from rotator.service.put_back import PutBack
from rotator.service.session import RetiredSecrets, Session, record_end

INBOX = "inbox"
"""Who hands over what lies in an inbox: nobody knows who put it there."""

TAKEN_AT_ONCE = 3
"""How many values one look takes out of an inbox, when more are put there meanwhile."""

REFUSED_PATIENCE = timedelta(minutes=2)
"""How long a value in an inbox may be refused by the provider before it is taken for no key: news travel slowly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Asks them, reminds them, and sees what they have done."""

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    acceptor: Acceptor
    budget: Budget
    put_back: PutBack
    retired: RetiredSecrets

    def handlers(self) -> Mapping[type[Action], Callable[[Session, Any], None]]:
        """Which action is done by what."""
        return {
            AskForKey: self._ask,
            ChangeRequest: self._change,
            Remind: self._remind,
            WithdrawRequest: self._withdraw,
            CheckInbox: self._check_inbox,
            AskForRevocation: self._ask_for_revocation,
            WithdrawRevocation: self._withdraw_revocation,
        }

    # --- a new key ----------------------------------------------------------------------------------------

    def _ask(self, session: Session, action: AskForKey) -> None:
        with self.budget.place(session, action):
            rotation = new_request(
                session,
                action.reason,
                expires_at=action.expires_at,
                deadline=action.deadline,
                pressing=action.pressing,
            )
            try:
                session.happened(requested(session, rotation))
            except Overtaken as error:  # nothing was written, and the next look is at once
                raise Deferred(str(error)) from error
        session.done.append(f"asked for a key {rotation.key_name}, by {text(action.deadline)}")

    def _change(self, session: Session, action: ChangeRequest) -> None:
        rotation = session.rotation(action.rotation_id)
        session.happened(
            rev.KeyRequestChanged(
                rotation_id=rotation.rotation_id,
                key_name=rotation.key_name,
                project=session.policy.project,
                reason=action.reason,
                expires_at=action.expires_at,
                deadline=action.deadline,
                hand_over=ways_to_hand_over(session.policy),
                at=session.now(),
                urgent=action.pressing,
            )
        )
        session.done.append(f"asked for {rotation.key_name} by {text(action.deadline)}: {action.reason}")

    def _remind(self, session: Session, action: Remind) -> None:
        key = session.record.key(action.key_id)
        rotation = None if action.key_id else session.rotation(action.rotation_id)
        request = key.revocation if key else rotation.request if rotation else None
        if request is None:  # what was asked for is done: it was seen a moment ago
            return
        name = key.name if key else rotation.key_name if rotation else ""
        session.happened(
            rev.PersonReminded(
                at=session.now(),
                level=action.level,
                deadline=request.deadline,
                project=session.policy.project,
                key_name=name,
                rotation_id=action.rotation_id,
                key_id=action.key_id,
                expires_at=key.expires_at if key else rotation.expires_at if rotation else None,
                hand_over=ways_to_hand_over(session.policy) if rotation else (),
            )
        )
        what = f"a person is to revoke {action.key_id}" if key else f"{name} is asked for"
        session.done.append(f"reminded ({action.level}): {what} by {text(request.deadline)}")

    def _withdraw(self, session: Session, action: WithdrawRequest) -> None:
        name = session.rotation(action.rotation_id).key_name
        session.happened(rev.KeyRequestWithdrawn(rotation_id=action.rotation_id, key_name=name, why=action.why))
        session.done.append(f"{name} is not asked for any more: {action.why}")

    def _check_inbox(self, session: Session, action: CheckInbox) -> None:
        """Take what lies there. It stays only where it could not be looked at, or not be published everywhere yet."""
        inbox, backend = action.inbox, self.backends(action.inbox.backend)
        if not isinstance(backend, Destroyer):
            raise WrongDestination(f"{inbox}: this type of backend can destroy nothing for good: it is no inbox")
        for _ in range(TAKEN_AT_ONCE):
            session.still_ours()
            held = backend.read(inbox)
            if held.value is None:
                return
            current = session.record.current
            in_place = current is not None and current.fingerprint == held.value.fingerprint()
            if not in_place or session.record.awaiting:
                is_new = held.changed_at is not None and session.now() - held.changed_at < REFUSED_PATIENCE
                handed = Handed(secret=held.value, expires=None, by=INBOX, via=INBOX, may_be_new=is_new)
                self._take(session, handed)
            try:
                backend.destroy(inbox, held.version)
            except VersionConflict:
                continue  # somebody put another one there meanwhile
            return

    def _take(self, session: Session, handed: Handed) -> None:
        try:
            key_id = self.acceptor.accept(session, handed)
        except HandoverRefused as why:
            session.observer.alerted(session.policy.name, "HandoverRefused")
            structlog.get_logger().warning(
                "alert", policy=session.policy.name, check="HandoverRefused", reason=f"in the inbox: {why}"
            )
            session.done.append(f"refused what was in the inbox: {why}")
        else:
            session.done.append(f"took {key_id} from the inbox")

    # --- an old key ---------------------------------------------------------------------------------------

    def _ask_for_revocation(self, session: Session, action: AskForRevocation) -> None:
        if self.see_ended(session, action.key_id):
            return  # a person was faster
        key = session.record.key(action.key_id)
        assert key is not None, "the plan was made from this record, and the key has not ended"
        session.happened(
            rev.RevocationRequested(
                key_id=key.key_id,
                key_name=key.name,
                project=key.project,
                why=action.why,
                at=session.now(),
                deadline=action.deadline,
                expires_at=key.expires_at,
                urgent=action.pressing,
            )
        )
        session.done.append(f"asked a person to revoke {key.key_id} by {text(action.deadline)}")

    def _withdraw_revocation(self, session: Session, action: WithdrawRevocation) -> None:
        session.happened(rev.RevocationWithdrawn(key_id=action.key_id, why=action.why))
        session.done.append(f"{action.key_id} is not to be revoked now: {action.why}")

    def see_ended(self, session: Session, key_id: str) -> bool:
        """See the key refused, with its own secret; where nobody has that, believe what was told. Records the end."""
        key = session.record.key(key_id)
        if key is None:
            return True
        secret = self.put_back.find_secret(session, key)
        if secret is not None:
            answer = self.providers(session.policy.provider).identify(secret)
            if isinstance(answer, Refused):
                record_end(session, self.retired, key_id, f"refused by the provider: {answer.evidence}")
                return True
            assert isinstance(answer, Identity)
            self._take_word_back(session, key)
            if told_end(key, session.now()):
                session.happened(ev.ExpirationSeen(key_id=key_id, expires_at=None))
            return False
        told = _told_over(key, session.now())
        if told:
            record_end(session, self.retired, key_id, f"{told}; not observed")
        return bool(told)

    def _take_word_back(self, session: Session, key: KeyRecord) -> None:
        if key.revocation is None or not key.revocation.done_by:
            return
        by = key.revocation.done_by
        session.happened(rev.RevocationContradicted(key_id=key.key_id, by=by))
        session.done.append(f"{key.key_id}: {by} says that it is revoked, and the provider accepts it")


def _told_over(key: KeyRecord, now: datetime) -> str:
    """Why a key is taken for ended although nobody can try it; empty where it is not."""
    counts_at = word_counts_at(key.revocation) if key.revocation else None
    if key.revocation and counts_at and counts_at <= now:
        return f"revoked, as {key.revocation.done_by} tells"
    if ends := told_end(key, now):
        return f"ended at {text(ends)}, by the expiration that it was told to have"
    return "revoked, as the provider had confirmed" if key.state is KeyState.REVOKED else ""
