"""One policy's turn: its lease, what the journal remembers, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import structlog

from rotator.domain.events import Event, RotationAbandoned, told
from rotator.domain.model import Policy, PolicyRecord, RotationRecord
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.ports import Clock, Journal, Lease
from rotator.service.gather import Gathered


@dataclass(slots=True, kw_only=True)
class Session:
    """The state of one ``reconcile``. ``record`` is always what is durable."""

    policy: Policy
    lease: Lease
    journal: Journal
    clock: Clock
    record: PolicyRecord
    gathered: Gathered
    done: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def happened(self, *events: Event) -> None:
        """Make events durable; returns only when they are. Raises ``LeaseLost``, ``JournalUnavailable``."""
        self.record = self.journal.append(self.lease, events, self.clock.now())
        for event in events:
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
    ) -> None:
        """Record the end of a rotation; for the fate of its key see ``RotationAbandoned``."""
        self.happened(
            RotationAbandoned(
                rotation_id=rotation_id,
                why=why,
                revoke_after=revoke_after,
                settled_at=settled_at,
                grace_until=grace_until,
                grace_limit=grace_limit,
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
