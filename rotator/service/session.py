"""One policy's turn: its lease, what the journal remembers, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from rotator.domain.events import Event, KeyClosed, RotationAbandoned, told
from rotator.domain.key_checks import LARGEST_SKEW
from rotator.domain.model import Policy
from rotator.domain.record import KeyRecord, PolicyRecord, RotationRecord
from rotator.domain.request_events import HandoverInterrupted
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.domain.text import text
from rotator.errors import Deferred, RotationFailed
from rotator.ports import Clock, Journal, Lease, Observer
from rotator.service.gather import Gathered
from rotator.service.observe import SILENT

_BEAT = 0.1
"""The part of the lease after which it is prolonged again."""


@dataclass(slots=True, kw_only=True)
class Session:
    """The state of one ``reconcile``. ``record`` is always what is durable.

    :param gathered: what was seen. The first look sets it: the session keeps the lease already while that takes.
    :param began: when the world was about to be looked at.
    :param beat: when the lease was prolonged last.
    :param cause: of the first problem: the name of its error.
    :param deferred: why something that is due was left for later, a sentence each.
    """

    policy: Policy
    lease: Lease
    journal: Journal
    clock: Clock
    record: PolicyRecord
    beat: datetime
    observer: Observer = SILENT
    done: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    cause: str = ""
    deferred: list[str] = field(default_factory=list)
    gathered: Gathered = field(init=False)
    began: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.beat

    @property
    def correction(self) -> timedelta:
        """What is added to our clock: nothing, unless it is far from the provider's, which ends keys by its own."""
        skew = self.gathered.world.skew
        return skew if skew is not None and abs(skew) > LARGEST_SKEW else timedelta(0)

    def now(self) -> datetime:
        """The time by which keys are made and ended."""
        return self.clock.now() + self.correction

    def later(self) -> datetime:
        """The time from which graces are counted: of two clocks that do not agree, the one that gives more."""
        return max(self.clock.now(), self.now())

    def still_ours(self) -> None:
        """The heartbeat, before what may take long and an effect that no entry of the journal directly precedes.

        Raises ``LeaseLost``, ``JournalUnavailable``.
        """
        now = self.clock.now()
        if abs(now - self.beat) > self.lease.ttl * _BEAT:
            self.journal.renew(self.lease, now)
            self.beat = now

    def may_go_on(self) -> None:
        """After an entry in the journal: a hold may have come since the plan was made. Raises ``Deferred``."""
        if hold := self.record.held(self.now()):
            raise Deferred(f"the policy is on hold: {hold}")

    def has_not_ended(self, key: KeyRecord) -> None:
        """Before a key is written anywhere: a process that was paused may have slept through its whole life.

        Raises ``RotationFailed``.
        """
        if key.expires_at is not None and key.expires_at <= self.now():
            raise RotationFailed(f"{key.key_id} has ended meanwhile, at {text(key.expires_at)}")

    def happened(self, *events: Event) -> None:
        """Make events durable; returns only when they are. Raises ``LeaseLost``, ``JournalUnavailable``."""
        now = self.clock.now()
        self.record = self.journal.append(self.lease, events, now)
        self.beat = now
        for event in events:
            self.observer.recorded(self.policy.name, type(event).__name__)
            name, fields = told(event)
            structlog.get_logger().info(name, policy=self.policy.name, **fields)

    def rotation(self, rotation_id: str) -> RotationRecord:
        """The rotation of that id, which must be in the record."""
        return next(rotation for rotation in self.record.rotations if rotation.rotation_id == rotation_id)

    def abandon(
        self,
        rotation_id: str,
        why: str,
        *,
        revoke_after: datetime | None = None,
        settled_at: datetime | None = None,
        grace_until: datetime | None = None,
        grace_limit: datetime | None = None,
        lands_on: Mapping[str, str] | None = None,
        project: str = "",
        displaced_in: tuple[str, ...] = (),
    ) -> None:
        """Record the end of a rotation; for the fate of its key see ``RotationAbandoned``.

        Where a person made the key, and it got nowhere, the request is open again instead.
        """
        rotation = self.rotation(rotation_id)
        if self.policy.assisted and rotation.request and rotation.key_id and revoke_after and not settled_at:
            self.happened(
                HandoverInterrupted(
                    rotation_id=rotation_id,
                    why=why,
                    revoke_after=revoke_after,
                    grace_limit=grace_limit,
                    lands_on=lands_on or {},
                )
            )
            return
        self.happened(
            RotationAbandoned(
                rotation_id=rotation_id,
                why=why,
                revoke_after=revoke_after,
                settled_at=settled_at,
                grace_until=grace_until,
                grace_limit=grace_limit,
                lands_on=lands_on or {},
                project=project,
                displaced_in=displaced_in,
            )
        )


class RetiredSecrets:
    """Secrets of replaced keys, kept in memory so that one can see them refused after their revocation.

    A process that starts anew has none of them; a backend that keeps the previous value still has it.
    """

    def __init__(self) -> None:
        self._secrets: dict[Fingerprint, SecretValue] = {}

    def keep(self, fingerprint: Fingerprint, secret: SecretValue) -> None:
        """Remember a secret until ``forget``."""
        self._secrets[fingerprint] = secret

    def get(self, fingerprint: Fingerprint | None) -> SecretValue | None:
        """The secret, or ``None``."""
        return self._secrets.get(fingerprint) if fingerprint else None

    def forget(self, fingerprint: Fingerprint | None) -> None:
        """Drop a secret; unknown ones are no error."""
        if fingerprint:
            self._secrets.pop(fingerprint, None)


def record_end(session: Session, retired: RetiredSecrets, key_id: str, evidence: str) -> None:
    """The end of a key, with its evidence; its secret is not remembered any longer."""
    key = session.record.key(key_id)
    session.happened(KeyClosed(key_id=key_id, evidence=evidence))
    retired.forget(key.fingerprint if key else None)
    session.done.append(f"{key_id}: {evidence}")
