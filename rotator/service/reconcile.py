"""START HERE: gather, plan, apply, for one policy.

Whatever woke it, ``reconcile`` looks at the world again and does what the plan says, until nothing is left to
do now. A missed, doubled or late wake-up does no harm. It is the one place where policies are isolated from
each other: every failure ends as an ``Outcome``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from rotator.domain.actions import ConfirmRefusal, Issue
from rotator.domain.key_checks import LARGEST_SKEW
from rotator.domain.model import Policy
from rotator.domain.planner import Plan, plan
from rotator.domain.policy_checks import ASKED_FOR
from rotator.domain.record import PolicyRecord
from rotator.domain.request_actions import CheckInbox
from rotator.domain.verdict import Decision
from rotator.errors import JournalError, LeaseHeld, LeaseLost, RotatorError, Stopping
from rotator.ports import Clock, Journal, Lease, Look, Observer
from rotator.service.apply import Executor
from rotator.service.gather import Gatherer, observations_of
from rotator.service.observe import SILENT
from rotator.service.session import Session

MAX_ROUNDS = 8
"""How many plans one look may carry out; a look that still has work continues in the next one."""

DEFERRED_AGAIN = timedelta(minutes=5)
"""How soon a rotation that had to wait for the budget or a canary asks again."""

BACKOFF_FIRST = timedelta(seconds=30)
BACKOFF_LAST = timedelta(hours=1)

LONGEST_LOOK = timedelta(hours=1)
"""How old what a look has seen may be at its end. In a process that was suspended it can be days."""


class Result(StrEnum):
    """How a look ended."""

    OK = "ok"
    FAILED = "failed"
    BUSY = "busy"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one look at one policy ended.

    :param done: what was done, a sentence each.
    :param problems: what failed, a sentence each; empty exactly when the result is not ``failed``.
    :param next_at: when to look again.
    :param check: the name of the check that decided.
    :param reason: its reason.
    :param cause: why it failed: the name of an error or of a check; empty exactly when it did not.
    """

    policy: str
    result: Result
    next_at: datetime
    check: str = ""
    reason: str = ""
    cause: str = ""
    done: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Gathers, plans and applies.

    :param holder: who takes the leases: unique for each process.
    :param lease_ttl: after how much silence another holder may take a policy over.
    :param draw: a random number in [0, 1).
    """

    gatherer: Gatherer
    executor: Executor
    journal: Journal
    clock: Clock
    holder: str
    lease_ttl: timedelta
    draw: Callable[[], float]
    observer: Observer = SILENT

    def preview(self, policy: Policy) -> Plan:
        """What ``reconcile`` would begin with now; changes nothing anywhere. The whole of a dry run."""
        return self.decide(self._session(policy, _NO_LEASE, self.journal.load(policy.name)))

    def reconcile(self, policy: Policy) -> Outcome:
        """One look at one policy. Never raises: what failed is in the outcome, and in the log."""
        try:
            lease = self.journal.acquire(policy.name, self.holder, self.clock.now(), self.lease_ttl)
        except LeaseHeld as error:
            return self._outcome(policy, Result.BUSY, self.clock.now() + self.lease_ttl / 4, reason=str(error))
        except RotatorError as error:
            return self._failed(policy, error)
        return self.isolated(policy, lease, lambda: self._look(policy, lease))

    def isolated(self, policy: Policy, lease: Lease, work: Callable[[], Outcome]) -> Outcome:
        """Whatever ``work`` raises is an outcome, and the lease is given back: also where that can't even be told."""
        is_given_back = False
        try:
            outcome = self._ended(policy, lease, work)
            is_given_back = outcome.result is Result.OK  # a look that came to its end has done so already
            return outcome
        finally:
            if not is_given_back:
                self._release(lease)

    def _ended(self, policy: Policy, lease: Lease, work: Callable[[], Outcome]) -> Outcome:
        try:
            return work()
        except Stopping as error:
            return self._outcome(policy, Result.STOPPED, self.clock.now(), reason=str(error))
        except LeaseLost as error:
            return self._outcome(policy, Result.BUSY, self.clock.now() + self.lease_ttl / 4, reason=str(error))
        except RotatorError as error:
            return self._broke_off(policy, lease, error)
        except Exception as error:  # noqa: BLE001 - a defect at one policy stops no other; the log has its traceback
            structlog.get_logger().exception("look.crashed", policy=policy.name)
            return self._broke_off(policy, lease, error)

    def _look(self, policy: Policy, lease: Lease) -> Outcome:
        session = self.begin(policy, lease)
        return self.finish(session, self.rounds(session))

    def begin(self, policy: Policy, lease: Lease) -> Session:
        """Look at the world, and keep the lease for as long as that takes."""
        return self._session(policy, lease, self.journal.taken(lease))

    def _session(self, policy: Policy, lease: Lease, record: PolicyRecord) -> Session:
        session = Session(
            policy=policy,
            lease=lease,
            journal=self.journal,
            clock=self.clock,
            record=record,
            beat=self.clock.now(),
            observer=self.observer,
        )
        session.gathered = self.gatherer.beating(session.still_ours).look(policy)
        return session

    def rounds(self, session: Session) -> Plan:
        """Plan and apply until nothing is left to do now; returns the last plan."""
        log = structlog.get_logger().bind(policy=session.policy.name)
        issued, watched = 0, False
        for _ in range(MAX_ROUNDS):
            decided = self.decide(session)
            for alert in decided.alerts:
                self.observer.alerted(session.policy.name, alert.check)
                log.warning("alert", check=alert.check, reason=alert.reason)
            issues = any(isinstance(action, Issue) for action in decided.actions)
            watches = all(isinstance(action, ConfirmRefusal | CheckInbox) for action in decided.actions)
            if not decided.actions or session.problems or session.deferred or (issues and issued):
                break
            if watches and watched:
                break  # nothing but to see what people or the provider do, and that was tried a moment ago
            issued += issues
            watched = watches
            self.executor.apply(session, decided)
        return decided

    def decide(self, session: Session) -> Plan:
        """Gather what the next decision needs, and decide."""
        policy, now = session.policy, session.now()
        gatherer = self.gatherer.beating(session.still_ours)
        session.gathered = gatherer.complete(policy, session.record, session.gathered, now)
        # By the time of the provider, where the two clocks are far apart: it ends keys by its own.
        return plan(policy, session.gathered.world.beside(session.record), session.now())

    def finish(self, session: Session, decided: Plan) -> Outcome:
        """Record the end of the look, and give the lease back."""
        policy, now = session.policy, self.clock.now()
        problems, cause = tuple(session.problems), session.cause
        if decided.verdict.decision in {Decision.BLOCKED, Decision.REFUSED}:
            problems = (*problems, f"{decided.verdict.check}: {decided.verdict.reason}")
            cause = cause or decided.verdict.check
        failures, problem = self._failures(policy) + 1 if problems else 0, "; ".join(problems)
        if session.deferred and not problems and (last := self.journal.look(policy.name)):
            failures, problem = last.failures, last.problem  # whether what had failed is mended was not tried
        next_at = decided.next_look - session.correction
        alerts = [(alert.check, alert.reason) for alert in decided.alerts]
        if decided.is_urgent:  # of what is on schedule people hear when it is overdue
            alerts += [("Deferred", reason) for reason in session.deferred]
        for reason in session.deferred:
            self.observer.alerted(policy.name, "Deferred")
            structlog.get_logger().warning("alert", policy=policy.name, check="Deferred", reason=reason)
        if session.deferred:
            next_at = min(next_at, now + DEFERRED_AGAIN)
        elif _is_left_over(session, decided) or now - session.began > LONGEST_LOOK:
            next_at = now
        if problems:
            next_at = min(next_at, now + self._backoff(policy, failures, _end_of(session.record)))
        look = Look(
            next_at=max(next_at, now),
            digest=policy.digest,
            failures=failures,
            problem=problem,
            alerts=tuple(alerts),
        )
        # Other policies believe it for a while: a look can take long, and its process be suspended.
        seen = observations_of(policy, session.record, session.gathered.world, session.began)
        self.journal.note_look(session.lease, look, seen, known=session.record, now=now)
        return self._outcome(
            policy,
            Result.FAILED if problems else Result.OK,
            look.next_at,
            check=decided.verdict.check,
            reason="; ".join(session.deferred) or decided.verdict.reason,
            cause=cause,
            done=tuple(session.done),
            problems=problems,
        )

    def _broke_off(self, policy: Policy, lease: Lease, error: Exception) -> Outcome:
        """The look did not come to its end. It is counted all the same, where the journal can still be written."""
        now = self.clock.now()
        try:
            last, record = self.journal.look(policy.name), self.journal.load(policy.name)
            failures = last.failures + 1 if last else 1
            next_at = now + self._backoff(policy, failures, _end_of(record))
            look = Look(
                next_at=next_at,
                digest=policy.digest,
                failures=failures,
                problem=_told(error),
                alerts=last.alerts if last else (),  # this look has not seen that they are over
            )
            self.journal.note_look(lease, look, (), known=record, now=now)
        except JournalError as second:
            structlog.get_logger().warning("look.not_noted", policy=policy.name, reason=str(second))
            return self._failed(policy, error)
        return self._outcome(policy, Result.FAILED, next_at, cause=type(error).__name__, problems=(_told(error),))

    def _failed(self, policy: Policy, error: Exception) -> Outcome:
        """Nothing of the look could be written down: the next one starts from what the journal has."""
        next_at = self.clock.now() + self._backoff(policy, failures=1, ends=None)
        return self._outcome(policy, Result.FAILED, next_at, cause=type(error).__name__, problems=(_told(error),))

    def _outcome(self, policy: Policy, result: Result, next_at: datetime, **rest: object) -> Outcome:
        outcome = Outcome(policy=policy.name, result=result, next_at=next_at, **rest)  # type: ignore[arg-type]
        log = structlog.get_logger().bind(policy=policy.name)
        for sentence in outcome.done:
            log.info("done", what=sentence)
        for sentence in outcome.problems:
            log.error("problem", what=sentence)
        log.debug("looked", result=result, check=outcome.check, next_at=next_at.isoformat())
        return outcome

    def _backoff(self, policy: Policy, failures: int, ends: datetime | None) -> timedelta:
        """Doubles from half a minute to an hour, with jitter; eight tries fit at least into ``renew_before``.

        The nearer the current key's end is, the more often it is tried, down to half a minute again.

        :param ends: of the current key, where it is known.
        """
        longest = min(BACKOFF_LAST, policy.renew_before / 8)
        if ends is not None:
            shortest = min(BACKOFF_FIRST, longest / 8)
            longest = min(longest, max(shortest, abs(ends - self.clock.now()) / 8))
        wait: timedelta = min(BACKOFF_FIRST * 2 ** min(failures - 1, 10), longest)
        return wait * (0.75 + self.draw() / 4)

    def _failures(self, policy: Policy) -> int:
        last = self.journal.look(policy.name)
        return last.failures if last else 0

    def _release(self, lease: Lease) -> None:
        try:
            self.journal.release(lease)
        except RotatorError as error:
            structlog.get_logger().warning("lease.kept", policy=lease.policy, reason=str(error))


def _is_left_over(session: Session, decided: Plan) -> bool:
    """Whether another key is needed at once after the one that this look has made: one look makes no second one.

    An operator has asked for it meanwhile, or the key has ended in this look. Any other cause would come again and
    again, as fast as keys can be made.
    """
    ends = _end_of(session.record)
    is_pressing = decided.verdict.check in ASKED_FOR or (ends is not None and ends <= session.now())
    return is_pressing and any(isinstance(one, Issue) for one in decided.actions)


def _end_of(record: PolicyRecord) -> datetime | None:
    return record.current.expires_at if record.current else None


def _told(error: Exception) -> str:
    known = isinstance(error, RotatorError)
    return str(error) if known else f"unexpected {type(error).__name__}; the log has its traceback"


def is_due(policy: Policy, looks: Mapping[str, Look], now: datetime) -> bool:
    """Whether a policy is to be looked at: its moment has come, its configuration changed, or it is new.

    What was asked for of it counts as a change of its configuration, so that it is due also where the clock is behind
    that of the host where it was asked for.

    A moment that is further away than any look can have set was set before the clock stepped back.
    """
    look = looks.get(policy.name)
    if look is None or look.digest != policy.digest or look.next_at <= now:
        return True
    return look.next_at > now + max(policy.check_every, BACKOFF_LAST) + LARGEST_SKEW


def due_since(policy: Policy, looks: Mapping[str, Look], now: datetime) -> datetime:
    """Since when a due policy waits. The one that waits longest comes first, so that none starves in an overload."""
    look = looks.get(policy.name)
    return min(look.next_at, now) if look else now


_NO_LEASE = Lease(policy="", holder="", token=0, ttl=timedelta.max)
"""What a preview has: it never has to be prolonged, and the journal refuses every entry by it."""
