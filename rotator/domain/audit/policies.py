"""Policies that can't hold what they promise. Read ``POLICIES`` at the end first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import combinations

from rotator.domain.audit.finding import Finding, Rule, Severity
from rotator.domain.audit.seen import Seen
from rotator.domain.audit.standards import CHANGED_PERIODICALLY, CRYPTOPERIODS, KEY_CHANGE, LONG_LIVED
from rotator.domain.model import Destination, Policy
from rotator.domain.record import KeyRecord
from rotator.domain.renewal import renewal_at
from rotator.domain.text import duration, text

LONGEST_PAUSE = timedelta(hours=1)
"""The longest pause between two attempts at a rotation that failed (``service.reconcile.BACKOFF_LAST``)."""

TOGETHER = timedelta(hours=1)
"""Two rotations that begin nearer than this strike a consumer at once."""

_TRIES = 4

TOO_LONG = Rule(
    id="ROT-P01",
    severity=Severity.MEDIUM,
    title="The policy lets keys live too long",
    why="A key that leaks today is worth something until its end.",
    todo="Shorten 'lifetime' (30d is the default); a rotation costs consumers nothing where the grace is right.",
    references=(LONG_LIVED, CRYPTOPERIODS, CHANGED_PERIODICALLY),
)


def too_long(seen: Seen) -> Iterator[Finding]:
    """A lifetime over the longest one."""
    for policy in seen.policies:
        if policy.lifetime > seen.limits.longest_lifetime:
            told = f"lifetime {duration(policy.lifetime)}, more than {duration(seen.limits.longest_lifetime)}"
            yield _of(TOO_LONG, policy, told)


GRACE_TOO_LONG = Rule(
    id="ROT-P02",
    severity=Severity.MEDIUM,
    title="The grace does not fit into what is left of the old key",
    why="A grace that is extended while consumers still use the old key ends with that key, in the middle of use.",
    todo="Make 'renew_before' longer than 'grace_limit', or 'grace_limit' shorter.",
    references=(KEY_CHANGE,),
)


def grace_too_long(seen: Seen) -> Iterator[Finding]:
    """The longest grace is longer than the time between renewal and end."""
    for policy in seen.policies:
        if policy.grace_limit > policy.renew_before:
            told = f"grace_limit {duration(policy.grace_limit)}, renew_before {duration(policy.renew_before)}"
            yield _of(GRACE_TOO_LONG, policy, told)


NO_TIME_TO_REPAIR = Rule(
    id="ROT-P03",
    severity=Severity.MEDIUM,
    title="No time to repair a rotation that fails",
    why="Between the first attempt and the key's end there are too few retries: one bad hour ends in an outage.",
    todo="Make 'renew_before' longer, at least a day; 'check_every' shorter.",
    references=(KEY_CHANGE,),
)


def no_time_to_repair(seen: Seen) -> Iterator[Finding]:
    """What is left after grace and a late look is less than some tries with the longest pause."""
    for policy in seen.policies:
        left = policy.renew_before - policy.grace
        need = min(_TRIES * LONGEST_PAUSE, policy.lifetime / 10)
        if left < need:
            told = f"{duration(max(left, timedelta(0)))} are left for retries (renew_before less grace); at least "
            yield _of(NO_TIME_TO_REPAIR, policy, told + duration(need))


PILED_UP = Rule(
    id="ROT-P04",
    severity=Severity.LOW,
    title="Old keys pile up",
    why="A key is replaced again before the grace of the one before is over, so several old ones are alive at once.",
    todo="Make 'lifetime' longer or 'grace_limit' shorter.",
    references=(LONG_LIVED,),
)


def piled_up(seen: Seen) -> Iterator[Finding]:
    """The longest grace is as long as the time from one renewal to the next."""
    for policy in seen.policies:
        every = policy.lifetime - policy.renew_before
        if policy.grace_limit >= every:
            told = f"renewed every {duration(every)}, with a grace of up to {duration(policy.grace_limit)}"
            yield _of(PILED_UP, policy, told)


WINDOW_TOO_LATE = Rule(
    id="ROT-P05",
    severity=Severity.HIGH,
    title="The next window opens after the key's end",
    why="The rotation can't wait for its window: it will begin outside, or consumers will be without a key.",
    todo="Widen the policy's 'windows', take a closed day back, or rotate now.",
    references=(KEY_CHANGE,),
)


def window_too_late(seen: Seen) -> Iterator[Finding]:
    """At the renewal no window is open, and the next one opens when the key has ended."""
    for policy, key in _current(seen):
        if policy.windows is None or key.expires_at is None:
            continue
        due = max(renewal_at(policy, key), seen.now)
        opens = policy.windows.opens(due)
        if opens is None or opens >= key.expires_at:
            when = f"the next one after {text(due)} opens at {text(opens)}" if opens else "none ever opens"
            told = f"{key.key_id} ends at {text(key.expires_at)}; {when}"
            yield WINDOW_TOO_LATE.found(
                policy.name, told, policy=policy.name, project=policy.project, key_id=key.key_id
            )


STRUCK_AT_ONCE = Rule(
    id="ROT-P06",
    severity=Severity.MEDIUM,
    title="Two rotations would strike one consumer at once",
    why="A consumer that reads both keys is reloaded for both at once; when that fails, it has lost both.",
    todo="Give both policies one 'group' with a 'distance', or let one depend on the other ('depends_on').",
    references=(KEY_CHANGE,),
)


def struck_at_once(seen: Seen) -> Iterator[Finding]:
    """Policies that share a file, a secret or a hook, are due within an hour, and are not kept apart."""
    due = {policy.name: begins for policy, key in _current(seen) if (begins := _begins(policy, key, seen.now))}
    by_consumer: dict[str, list[Policy]] = {}
    for policy in seen.policies:
        for consumer in _consumers(policy) if policy.name in due else ():
            by_consumer.setdefault(consumer, []).append(policy)
    told: set[tuple[str, str]] = set()
    for consumer, policies in by_consumer.items():
        for one, other in combinations(sorted(policies, key=lambda policy: policy.name), 2):
            pair = (one.name, other.name)
            if pair in told or _kept_apart(one, other) or abs(due[one.name] - due[other.name]) >= TOGETHER:
                continue
            told.add(pair)
            when = f"{text(due[one.name])} and {text(due[other.name])}"
            yield STRUCK_AT_ONCE.found(
                f"{one.name} and {other.name}", f"both have to do with {consumer}; due {when}", policy=one.name
            )


def _current(seen: Seen) -> Iterator[tuple[Policy, KeyRecord]]:
    for policy, record in seen.remembered():
        if record.current:
            yield policy, record.current


def _begins(policy: Policy, key: KeyRecord, now: datetime) -> datetime | None:
    due = max(renewal_at(policy, key), now)
    return due if policy.windows is None else policy.windows.opens(due)


def _consumers(policy: Policy) -> set[str]:
    """What is touched by a rotation: each hook, and each file or secret as a whole."""
    return {f"hook {hook}" for hook in policy.hooks} | {_whole(place) for place in policy.destinations}


def _whole(place: Destination) -> str:
    field = place.option("field")
    return place.name.removesuffix(f"#{field}") if field else place.name


def _kept_apart(one: Policy, other: Policy) -> bool:
    same_group = bool(one.group) and one.group == other.group
    return same_group or other.name in one.depends_on or one.name in other.depends_on


def _of(rule: Rule, policy: Policy, seen: str) -> Finding:
    return rule.found(policy.name, seen, policy=policy.name, project=policy.project)


POLICIES: tuple[tuple[Rule, Callable[[Seen], Iterator[Finding]]], ...] = (
    (TOO_LONG, too_long),
    (GRACE_TOO_LONG, grace_too_long),
    (NO_TIME_TO_REPAIR, no_time_to_repair),
    (PILED_UP, piled_up),
    (WINDOW_TOO_LATE, window_too_late),
    (STRUCK_AT_ONCE, struck_at_once),
)
"""Times that do not fit together."""
