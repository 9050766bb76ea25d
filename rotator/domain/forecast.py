"""What is to come: the same planner, on a world in which everything works. Pure.

Each decision is ``planner.plan``'s; only its effects are imagined: every call succeeds at once, no consumer lags
behind, nobody intervenes. Draws of chance (jitter) that lie in the future are taken as their middle. Of what is decided
between policies, the distance in a group and ``depends_on`` are kept; a run's budget and canaries are not known here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.domain import actions as act
from rotator.domain.imagined import carried_out, world_of
from rotator.domain.lifecycle import fold_all
from rotator.domain.model import Policy
from rotator.domain.planner import Plan, plan
from rotator.domain.record import Origin, PolicyRecord
from rotator.domain.renewal import renewal_at
from rotator.domain.request_actions import AskForKey, AskForRevocation
from rotator.domain.text import duration, text
from rotator.domain.verdict import Decision

MOST = 200_000
"""So many looks are imagined at most, over all policies."""

_AGAIN = timedelta(minutes=5)
_STEP = timedelta(seconds=1)
_FAR = timedelta(days=36_500)


class What(StrEnum):
    """A happening."""

    ROTATION = "rotation"
    REVOCATION = "revocation"
    TROUBLE = "trouble"  # what never fits, or needs a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing to come.

    :param key_id: of the key that is replaced or revoked; ``new N`` for a key that does not exist yet.
    """

    at: datetime
    policy: str
    project: str
    what: What
    key_id: str
    why: str


def forecast(
    policies: Sequence[Policy], records: Mapping[str, PolicyRecord], now: datetime, until: datetime
) -> tuple[Happening, ...]:
    """Every rotation and revocation from now on, in the order of time; policies that nobody has looked at yet too.

    Where ``MOST`` looks do not reach that far, there is a trouble for each policy that has more to come.
    """
    state = _Forecast(policies, records, until)
    queue = [(now, number) for number in range(len(policies))]
    heapq.heapify(queue)
    found: list[Happening] = []
    for _ in range(MOST):
        if not queue:
            break
        at, number = heapq.heappop(queue)
        happened, again = state.look(policies[number], at)
        found += happened
        if again is not None and again <= until:
            heapq.heappush(queue, (max(again, at + _STEP), number))
    found += [state.end(policies[number], at) for at, number in queue]
    return tuple(sorted(found, key=lambda one: (one.at, one.policy, one.what)))


class _Forecast:
    def __init__(self, policies: Sequence[Policy], records: Mapping[str, PolicyRecord], until: datetime) -> None:
        self._policies = {policy.name: policy for policy in policies}
        self._records = {name: records.get(name, PolicyRecord(policy=name)) for name in self._policies}
        self._until = until
        self._made = 0
        self._told: set[tuple[str, str]] = set()

    def look(self, policy: Policy, at: datetime) -> tuple[list[Happening], datetime | None]:
        """One look: what happens at it, and when the next one is; ``None`` where only a person can go on."""
        record = self._records[policy.name]
        patient = replace(policy, check_every=_FAR)  # between the moments that matter nothing happens
        decided = plan(patient, world_of(policy, record, at).beside(record), at)
        happened: list[Happening] = list(self._troubles(policy, decided, at))
        for action in decided.actions:
            if isinstance(action, act.Issue | AskForKey) and (later := self._out_of_turn(policy, action, at)):
                return happened, later
            events = carried_out(policy, record, action, at, self._made + 1)
            if events is None:
                happened += self._once(policy, at, "a look must decide", f"{type(action).__name__} is decided then")
                return happened, None
            happened += self._told_of(policy, record, action, at)
            self._made += isinstance(action, act.Issue | AskForKey)
            record = self._records[policy.name] = fold_all(record, events)
        return happened, at + _STEP if decided.actions else decided.next_look

    def end(self, policy: Policy, at: datetime) -> Happening:
        """That a look there is imagined no more."""
        why = f"the forecast ends: {MOST} looks are imagined at most, and nothing is known of it from here on"
        return self._happening(policy, at, What.TROUBLE, "", why)

    def _troubles(self, policy: Policy, decided: Plan, at: datetime) -> Iterator[Happening]:
        verdict = decided.verdict
        if verdict.decision is Decision.SKIP:
            yield from self._once(policy, at, "hold", f"nothing happens: {verdict.reason}")
        elif verdict.decision in {Decision.BLOCKED, Decision.REFUSED} or verdict.alert:
            yield from self._once(policy, at, verdict.reason, f"{verdict.check}: {verdict.reason}")
        for item in decided.key_verdicts:
            if item.verdict.alert:
                yield from self._once(policy, at, item.key.key_id, f"{item.verdict.check}: {item.verdict.reason}")

    def _once(self, policy: Policy, at: datetime, subject: str, why: str) -> Iterator[Happening]:
        if (policy.name, subject) not in self._told:
            self._told.add((policy.name, subject))
            yield self._happening(policy, at, What.TROUBLE, "", why)

    def _told_of(self, policy: Policy, record: PolicyRecord, action: act.Action, at: datetime) -> Iterator[Happening]:
        current = record.current
        if isinstance(action, act.Issue | act.Resume | AskForKey):
            why = f"rotation {action.rotation_id} is finished" if isinstance(action, act.Resume) else action.reason
            why = f"a person is asked for a key: {why}" if isinstance(action, AskForKey) else why
            yield self._happening(policy, at, What.ROTATION, current.key_id if current else "", why)
        elif isinstance(action, act.Revoke | AskForRevocation):
            why = f"a person is asked to revoke it: {action.why}" if policy.assisted else action.why
            yield self._happening(policy, at, What.REVOCATION, action.key_id, why)
        elif isinstance(action, act.Close) and (key := record.key(action.key_id)) and key is current:
            ends = f" at {text(key.expires_at)}" if key.expires_at else ""
            why = f"{key.key_id} ends{ends} before it is replaced"
            yield from self._once(policy, at, why, why)

    def _out_of_turn(self, policy: Policy, action: act.Issue | AskForKey, at: datetime) -> datetime | None:
        """When to ask again, where others come first; as ``service.turns`` decides."""
        if not action.can_wait or action.urgent:
            return None
        for name in policy.depends_on:
            other, record = self._policies.get(name), self._records.get(name)
            due = other and record and record.current and renewal_at(other, record.current) <= at
            if due and record and not record.held(at):
                return at + _AGAIN
        if not policy.group:
            return None
        began = [
            last
            for name, other in self._policies.items()
            if name != policy.name and other.group == policy.group and (last := _last_began(self._records[name]))
        ]
        last = max(began, default=None)
        return last + policy.distance if last and at - last < policy.distance else None

    @staticmethod
    def _happening(policy: Policy, at: datetime, what: What, key_id: str, why: str) -> Happening:
        return Happening(at=at, policy=policy.name, project=policy.project, what=what, key_id=key_id, why=why)


def _last_began(record: PolicyRecord) -> datetime | None:
    made = (key.created_at or key.since for key in record.keys if key.origin is Origin.ISSUED)
    return max((*made, *(rotation.started_at for rotation in record.rotations)), default=None)


def summary(happenings: Sequence[Happening], length: timedelta) -> str:
    """One line."""
    counts = {what: sum(one.what is what for one in happenings) for what in What}
    return (
        f"{counts[What.ROTATION]} rotations and {counts[What.REVOCATION]} revocations in {duration(length)}, "
        f"{counts[What.TROUBLE]} things that a person should look at; nothing was changed"
    )
