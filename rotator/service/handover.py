"""A key that a person hands over: checked, recorded, published. The same steps, wherever it comes from.

Its secret lives in local variables here until it is published; what is refused is forgotten at once.
"""

from __future__ import annotations

import secrets as randomness
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NoReturn

from rotator.domain import events as ev
from rotator.domain import request_events as rev
from rotator.domain.assisted import PRESSING, whole_day
from rotator.domain.handover import Offer, Seen, comes_too_late, earliest_end, latest_end, malformed, refusal, tidied
from rotator.domain.model import Identity, Refused
from rotator.domain.naming import key_name
from rotator.domain.policy_checks import key_from_other_project
from rotator.domain.record import (
    Expiration,
    KeyRecord,
    KeyState,
    Origin,
    PersonRequest,
    Phase,
    PolicyRecord,
    RotationRecord,
)
from rotator.domain.requests import ways_to_hand_over
from rotator.domain.secret import SecretValue
from rotator.domain.sightings import found_unrecorded, known_values
from rotator.domain.snapshot import Reach
from rotator.domain.verdict import Context
from rotator.errors import BackendError, HandoverPostponed, HandoverRefused, Overtaken, ProviderError
from rotator.ports import KeyProvider, SecretBackend
from rotator.service.issue import known_key
from rotator.service.publish import Publisher
from rotator.service.session import RetiredSecrets, Session

PROPAGATION = timedelta(seconds=3)
"""How long a key that was made a moment ago is waited for, before it is said to be refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What a person handed over.

    :param expires: the expiration that they gave it; ``None``: the one that was asked for.
    :param by: who.
    :param via: ``submit``, ``inbox`` or ``page``.
    :param began: what they had before their eyes; ``None`` where that is not known.
    :param link: the digest of the link by which it came; empty where there was none.
    :param may_be_new: it was put there a moment ago: that the provider refuses it may pass.
    """

    secret: SecretValue
    expires: Expiration | None
    by: str
    via: str
    began: Seen | None = None
    link: str = ""
    may_be_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptor:
    """Checks a key that was handed over, and publishes it.

    :param draw: a random number in [0, 1), for the new key's jitter.
    """

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    publisher: Publisher
    retired: RetiredSecrets
    draw: Callable[[], float]

    def accept(self, session: Session, handed: Handed) -> str:
        """Take the key, and publish it everywhere; returns its id.

        Raises ``HandoverPostponed`` where nothing can be taken now, ``HandoverRefused`` for what was not asked for, and
        what publishing raises: the journal knows how far that got.
        """
        self._may_be_now(session)
        _opens_still(session, handed)
        secret = tidied(handed.secret)
        if why := malformed(secret):
            self._refuse(session, handed, why)
        identity = self._identified(session, handed, secret)
        current = session.record.current
        is_current = current is not None and current.key_id == identity.key_id
        if is_current and not session.record.awaiting and session.gathered.world.held == (secret.fingerprint(),):
            return identity.key_id  # an earlier handover of it broke off, and was finished meanwhile
        offer = self._offer(session, handed, identity)
        if why := refusal(offer) or "":
            self._refuse(session, handed, why, identity.key_id)
        if why := comes_too_late(offer) or "":
            self._refuse_good_key(session, handed, why, offer, secret)
        self._preflight(session)
        rotation_id = self._record(session, handed, offer, secret)
        self.publisher.publish(session, rotation_id, session.policy.destinations, secret)
        return identity.key_id

    def _may_be_now(self, session: Session) -> None:
        """Nothing is accepted that could not be published."""
        record, world = session.record, session.gathered.world
        context = Context(policy=session.policy, snapshot=world.beside(record), now=session.now())
        foreign = key_from_other_project(context)  # it must not be overwritten: perhaps the place is the wrong one
        unread = [view.problem for view in world.destinations if view.reach is not Reach.OK]
        obstacle = (
            (hold := record.held(session.now())) and f"the policy is on hold: {hold}",
            unread and unread[0],
            world.provider_problem,
            foreign and foreign.reason,
            record.in_flight and f"rotation {record.in_flight.rotation_id} is not finished",
            record.rollback and not record.compromised and "a rollback was asked for",
        )
        if found := next((one for one in obstacle if one), ""):
            raise HandoverPostponed(f"not taken now: {found}")

    def _preflight(self, session: Session) -> None:
        try:
            for destination in session.policy.destinations:
                session.still_ours()
                self.backends(destination.backend).check_writable(destination)
        except BackendError as error:
            raise HandoverPostponed(f"not taken now: {error}") from error

    def _identified(self, session: Session, handed: Handed, secret: SecretValue) -> Identity:
        deadline, pause = session.clock.now() + PROPAGATION, timedelta(milliseconds=250)
        while True:
            try:
                answer = self.providers(session.policy.provider).identify(secret)
            except (ProviderError, BackendError) as error:
                raise HandoverPostponed(f"not taken now: {error}") from error
            if isinstance(answer, Identity):
                return answer
            if session.clock.now() >= deadline and handed.may_be_new:
                raise HandoverPostponed(f"not taken yet: {_not_accepted(answer)}")
            if session.clock.now() >= deadline:
                self._refuse(session, handed, _not_accepted(answer))
            session.clock.sleep(pause)
            pause *= 2

    def _offer(self, session: Session, handed: Handed, identity: Identity) -> Offer:
        world, record = session.gathered.world, session.record
        open_one = record.awaiting
        if handed.expires is None and open_one is None and handed.began is not None and not handed.began.rotation_id:
            raise HandoverPostponed("no key is asked for now: say which expiration this one has (--expires)")
        before = handed.began.rotation_id if handed.began else ""
        if handed.expires is None and open_one is not None and before not in {"", open_one.rotation_id}:
            raise HandoverPostponed("another key is asked for by now: say which expiration this one has (--expires)")
        asked = earliest_end(open_one, session.now()) if open_one else None
        current = world.identity(record.current.fingerprint) if record.current else None
        return Offer(
            policy=session.policy,
            record=record,
            identity=identity,
            expires_at=handed.expires.at if handed.expires else asked,
            records=session.journal.records(),
            organization=current.organization if current else None,
            held_ids=world.held_ids,
            began=handed.began,
            now=session.now(),
            is_told=handed.expires is not None,
            ends_latest=latest_end(open_one) if open_one and handed.expires is None else None,
        )

    def _record(self, session: Session, handed: Handed, offer: Offer, secret: SecretValue) -> str:
        """In one step: that a key was handed over, that it is that key in that project, and what it replaces."""
        policy, now = session.policy, session.now()
        opened: list[ev.Event] = []
        rotation = session.record.awaiting
        if rotation is None:
            opened, rotation = self._opened(session, handed)
        context = Context(policy=policy, snapshot=session.gathered.world.beside(session.record), now=now)
        taken = rev.HandoverAccepted(
            rotation_id=rotation.rotation_id,
            expected={view.destination.name: view.version for view in session.gathered.world.destinations},
            replaces=known_values(context),
            found=tuple(known_key(one, policy, now, self.draw()) for one in found_unrecorded(context)),
            grace=timedelta(0) if session.record.compromised else policy.grace,
            by=handed.by,
            via=handed.via,
        )
        key = replace(_key_of(session, offer, rotation, secret), jitter=self.draw())
        issued = ev.KeyIssued(rotation_id=rotation.rotation_id, key=key)
        try:
            session.happened(*opened, taken, issued, ev.KeyVerified(rotation_id=rotation.rotation_id))
        except Overtaken as error:
            raise HandoverPostponed(f"not taken now: {error}") from error
        world = session.gathered.world
        world = replace(world, identities={**world.identities, secret.fingerprint(): offer.identity})
        session.gathered = replace(session.gathered, world=world)
        return rotation.rotation_id

    def _opened(self, session: Session, handed: Handed) -> tuple[list[ev.Event], RotationRecord]:
        """A request that is opened and fulfilled at once: somebody handed over early."""
        now = session.now()
        rotation = new_request(
            session,
            "handed over before it was asked for",
            expires_at=whole_day(now, session.policy),
            deadline=now + PRESSING,
        )
        return [requested(session, rotation, by=handed.by)], rotation

    def _refuse_good_key(
        self, session: Session, handed: Handed, why: str, offer: Offer, secret: SecretValue
    ) -> NoReturn:
        """It lives, and nobody uses it: a person is asked to revoke it, and until then it is watched."""
        key = _key_of(session, offer, None, secret)
        key = replace(key, state=KeyState.ORPHAN, revoke_after=session.now())
        # It may have come before, and in vain then, too.
        found = [] if session.record.key(key.key_id) else [ev.OrphanFound(key=key)]
        session.happened(_refused(session.record, handed, why, key.key_id), *found)
        self.retired.keep(secret.fingerprint(), secret)
        raise HandoverRefused(why, unneeded=key.key_id)

    def _refuse(self, session: Session, handed: Handed, why: str, key_id: str = "") -> NoReturn:
        session.happened(_refused(session.record, handed, why, key_id))
        raise HandoverRefused(why)


def _opens_still(session: Session, handed: Handed) -> None:
    """A newer link, or another request, may have come while a look was waited for. Raises ``HandoverPostponed``.

    That its time is over since is no matter: it was not when the form came. Where nothing is asked for any more
    somebody was faster, which is said of the key itself.
    """
    request = session.record.awaiting.request if session.record.awaiting else None
    if handed.link and request and (request.link is None or request.link.digest != handed.link):
        why = "a newer link was made, or another key is asked for: nothing was taken by this one"
        raise HandoverPostponed(why)


def new_request(
    session: Session, reason: str, *, expires_at: datetime, deadline: datetime, pressing: bool = False
) -> RotationRecord:
    """A rotation in phase ``awaiting key``, not recorded yet."""
    policy, now = session.policy, session.now()
    return RotationRecord(
        rotation_id=str(uuid.uuid4()),
        reason=reason,
        phase=Phase.AWAITING,
        key_name=key_name(policy.instance, policy.name, now, randomness.token_bytes(5)),
        expires_at=expires_at,
        started_at=now,
        expected={},
        replaces={},
        grace=policy.grace,
        request=PersonRequest(opened_at=now, deadline=deadline, told_at=now, urgent=pressing),
    )


def requested(session: Session, rotation: RotationRecord, by: str = "") -> rev.KeyRequested:
    """The event that opens it."""
    assert rotation.request is not None, "it is made with one"
    return rev.KeyRequested(
        rotation=rotation,
        key_name=rotation.key_name,
        project=session.policy.project,
        expires_at=rotation.expires_at,
        deadline=rotation.request.deadline,
        hand_over=ways_to_hand_over(session.policy),
        by=by,
    )


def _key_of(session: Session, offer: Offer, rotation: RotationRecord | None, secret: SecretValue) -> KeyRecord:
    """As it is recorded. Its name can't be read anywhere: it is the one that was asked for, as far as one was."""
    known = session.record.key(offer.identity.key_id)
    return KeyRecord(
        key_id=offer.identity.key_id,
        state=KeyState.CANDIDATE,
        origin=Origin.ISSUED,
        project=session.policy.project,
        provider=session.policy.provider,
        since=known.since if known else session.now(),
        fingerprint=secret.fingerprint(),
        name=rotation.key_name if rotation else "",
        expires_at=offer.expires_at,
        ends_latest=offer.ends_latest,
        rotation_id=rotation.rotation_id if rotation else "",
    )


def _refused(record: PolicyRecord, handed: Handed, why: str, key_id: str) -> rev.HandoverRefused:
    rotation_id = record.awaiting.rotation_id if record.awaiting else ""
    return rev.HandoverRefused(why=why, by=handed.by, via=handed.via, rotation_id=rotation_id, key_id=key_id)


def _not_accepted(answer: Refused) -> str:
    return f"the provider does not accept it ({answer.evidence}): cut off, ended or revoked, or made a moment ago"
