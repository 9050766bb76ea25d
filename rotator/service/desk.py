"""Where a key is handed over, by whatever way: one look at the policy, with the key in its middle.

Before it what is unfinished is finished, and after it hooks run and old keys are dealt with: as in any other look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from rotator.domain.model import Policy
from rotator.domain.record import PolicyRecord
from rotator.errors import HandoverPostponed, HandoverRefused, JournalError, LeaseHeld, RotatorError, Stopping
from rotator.ports import Lease
from rotator.service.handover import Acceptor, Handed
from rotator.service.lease import lease_of
from rotator.service.reconcile import Outcome, Reconciler, Result

PATIENCE = timedelta(seconds=30)
"""How long a look of the service is waited for."""

UNCERTAIN = "whether the key was taken is not certain: hand the same one over again"


class Taken(StrEnum):
    """What came of a handover."""

    ACCEPTED = "accepted"  # published everywhere
    UNFINISHED = "unfinished"  # taken, and not everywhere yet; or broken off, and the journal knows how far it got
    REFUSED = "refused"  # not what was asked for
    POSTPONED = "postponed"  # not looked at: something is in the way
    BUSY = "busy"  # another process is at work on the policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """How a handover ended.

    :param why: for people; empty where it was accepted.
    :param doubt: what is to be done about a key that was not taken for certain, or is not everywhere yet.
    :param key_id: where it was accepted.
    :param unneeded: the id of a good key that came too late: somebody has to revoke it.
    :param outcome: of the look around it; ``None`` where there was none.
    """

    taken: Taken
    why: str = ""
    doubt: str = ""
    key_id: str = ""
    unneeded: str = ""
    outcome: Outcome | None = None

    @property
    def told(self) -> str:
        """Why, and what to do."""
        return "; ".join(filter(None, (self.why, self.doubt)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Takes keys from people. Safe for several threads and processes: the policy's lease lets one after the other."""

    reconciler: Reconciler
    acceptor: Acceptor

    def hand_over(self, policy: Policy, handed: Handed, *, patience: timedelta = PATIENCE) -> Handover:
        """Take one key. Raises nothing but ``JournalError`` and ``Stopping``; what went wrong is in the answer.

        :param patience: how long another process that is at work on the policy is waited for.
        """
        if not policy.assisted:
            return Handover(taken=Taken.POSTPONED, why="its provider makes keys by itself: use 'rotator rotate'")
        reconciler = self.reconciler
        try:
            lease = lease_of(
                policy.name,
                journal=reconciler.journal,
                clock=reconciler.clock,
                holder=reconciler.holder,
                ttl=reconciler.lease_ttl,
                patience=patience,
            )
        except LeaseHeld as error:
            return Handover(taken=Taken.BUSY, why=f"{error}; nothing was taken")
        found: list[Handover] = []
        outcome = self.reconciler.isolated(policy, lease, lambda: self._look(policy, lease, handed, found))
        taken = found[0] if found else _broken_off(outcome)
        return replace(taken, outcome=outcome)

    def _look(self, policy: Policy, lease: Lease, handed: Handed, found: list[Handover]) -> Outcome:
        session = self.reconciler.begin(policy, lease)
        self.reconciler.rounds(session)
        session.problems.clear()  # what is in the way of the handover itself is found by it; the rest comes again
        session.deferred.clear()
        try:
            key_id = self.acceptor.accept(session, handed)
            found.append(Handover(taken=Taken.ACCEPTED, key_id=key_id))
        except HandoverRefused as error:
            found.append(Handover(taken=Taken.REFUSED, why=str(error), unneeded=error.unneeded))
        except HandoverPostponed as error:
            found.append(Handover(taken=Taken.POSTPONED, why=str(error)))
        except (JournalError, Stopping):
            raise
        except RotatorError as error:
            found.append(Handover(taken=Taken.UNFINISHED, why=str(error), doubt=_what_now(session.record)))
            session.problems.append(str(error))
            return self.reconciler.finish(session, self.reconciler.decide(session))
        return self.reconciler.finish(session, self.reconciler.rounds(session))


def _what_now(record: PolicyRecord) -> str:
    if record.awaiting:
        return "the key is nowhere: hand the same one over again"
    return "the service, or the next run, finishes it"


def _broken_off(outcome: Outcome) -> Handover:
    why = "; ".join(outcome.problems) or outcome.reason
    return Handover(taken=Taken.UNFINISHED, why=why, doubt="" if outcome.result is Result.OK else UNCERTAIN)
