"""How many rotations may begin, so that one wrong line of configuration can't replace every key of a company.

Counted by the journal, over all processes that share it: policies, not attempts, so that one which fails again and
again does not use up what the others need; and those that have failed share half of the places, so that many of them
don't either. What an operator asked for by name is not counted: a person has decided on that one. What is urgent waits
for no canary, and has as much again: a limit must not leave consumers without a key. Where it has to wait all the same,
people are told (``conditions.NEEDS``); of what is on schedule they hear when it is overdue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from rotator.domain.actions import Issue
from rotator.domain.model import Policy
from rotator.domain.request_actions import AskForKey
from rotator.errors import Deferred
from rotator.ports import Journal
from rotator.service.session import Session
from rotator.service.turns import NOT_SEEN, too_near, waits_for_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Lets rotations begin, canaries first.

    :param most: rotations that may begin since ``begins_at``.
    :param begins_at: from a moment to the beginning of the run, or of the sliding window, that it belongs to.
    :param policies: of the whole configuration, to know the canaries.
    """

    most: int
    begins_at: Callable[[datetime], datetime]
    journal: Journal
    policies: Sequence[Policy]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reserved: list[str] = field(default_factory=list)

    @contextmanager
    def place(self, session: Session, action: Issue | AskForKey) -> Iterator[None]:
        """A place for one rotation, until its intent is in the journal. Raises ``Deferred`` where there is none."""
        if session.record.requested:
            yield
            return
        policy = session.policy
        most = self.most * (1 + action.urgent)
        if not action.urgent:
            self._wait_for_canaries(policy, action, session.clock.now())
        if action.can_wait:
            self._let_wait(policy, action, waits_for_others(policy, self.policies, self.journal, session.now()))
        with self._lock:
            now = session.clock.now()
            if action.can_wait:  # under the lock: of two that look at the same time, one is the first
                self._let_wait(policy, action, self._too_near(policy, now))
            self._find_room(policy, action, most, now)
            self._reserved.append(policy.name)
        try:
            yield
        finally:
            with self._lock:
                self._reserved.remove(policy.name)

    def _find_room(self, policy: Policy, action: Issue | AskForKey, most: int, now: datetime) -> None:
        begun, failing = self.journal.begun_since(self.begins_at(now), besides=policy.name)
        begun += len(self._reserved)
        if begun >= most:
            raise Deferred(f"{action.reason}; left for later: {begun} rotations were begun, {most} are allowed")
        look, half = self.journal.look(policy.name), max(1, most // 2)
        if look is not None and look.failures and failing + len(self._reserved) >= half:
            told = f"{failing} policies that fail began a rotation, {half} such are allowed"
            raise Deferred(f"{action.reason}; left for later: {told}")

    def _wait_for_canaries(self, policy: Policy, action: Issue | AskForKey, now: datetime) -> None:
        for canary in self.policies:
            if policy.canary or not canary.canary or canary.provider != policy.provider:
                continue
            what = self._unproven(canary, now)
            if what:
                raise Deferred(f"{action.reason}; left for later: the canary {canary.name} {what}")

    def _too_near(self, policy: Policy, now: datetime) -> str:
        """Which other policy of the group began a rotation just now; empty when none did."""
        return too_near(policy, self.policies, self.journal, now, begin_now=self._reserved)

    @staticmethod
    def _let_wait(policy: Policy, action: Issue | AskForKey, why: str) -> None:
        if not why:
            return
        if not action.urgent:
            raise Deferred(f"{action.reason}; left for later: {why}")
        log = structlog.get_logger().bind(policy=policy.name)
        log.warning("alert", check="OutOfTurn", reason=f"{action.reason}; goes ahead although {why}")

    def _unproven(self, canary: Policy, now: datetime) -> str:
        """Why a canary does not yet show that all is well; empty when it does."""
        record = self.journal.load(canary.name)
        if record.held(now):
            return ""  # somebody decided that it tells nothing now
        look = self.journal.look(canary.name)
        if look is None or look.digest != canary.digest:
            return NOT_SEEN
        return "is in trouble" if look.failures else "is being rotated" if record.in_flight else ""
