"""One channel's own memory: how far it got, what it may still send, how it fails. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from rotator.domain.model import Policy
from rotator.domain.notices import Kind, Level, Notice
from rotator.domain.text import text

WINDOW = timedelta(hours=1)
"""What a channel's limit counts in."""

AGAIN_FIRST, AGAIN_LAST = timedelta(seconds=30), timedelta(minutes=30)
"""The pauses while a channel fails: from the first, doubled, to the last."""

GIVEN_UP_AFTER = timedelta(days=3)
"""A channel that has failed for so long leaves out what is as old: nothing waits for it for ever, nor the journal."""

_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a channel wants to hear.

    :param events: kinds of notices.
    :param policies: patterns of names (``prod-*``).
    :param level: the least that it hears of.
    :param per_hour: so many messages at most; as many critical ones besides.
    :param failed_after: so many looks in a row must have ended in an error.
    """

    name: str
    events: frozenset[str]
    policies: tuple[str, ...]
    level: Level
    per_hour: int
    failed_after: int

    def concern(self, kind: str, name: str, policy: Policy | None) -> bool:
        """Whether it hears of such things of that policy at all, at some level.

        :param policy: as it is configured; ``None`` where it is not any more.
        """
        is_named = self._is_named(policy) or (policy is not None and self.name in policy.escalate)
        return is_named and kind in self.events and any(fnmatchcase(name, pattern) for pattern in self.policies)

    def want(self, notice: Notice, policy: Policy | None) -> bool:
        """Whether it is told this. A policy may name its channels, and others for what is critical."""
        if not self.concern(notice.kind, notice.policy, policy):
            return False
        is_escalated = policy is not None and notice.level is Level.CRITICAL and self.name in policy.escalate
        return is_escalated or (self._is_named(policy) and notice.level.reaches(self.level))

    def _is_named(self, policy: Policy | None) -> bool:
        return policy is None or policy.notify is None or self.name in policy.notify


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """What is remembered of a channel. Durable.

    :param cursor: every event up to this one is dealt with.
    :param failures: tries in a row that failed; ``problem`` is the last one's.
    :param retry_at: not tried before.
    :param window_from: when the hour began in which ``sent`` and ``critical`` are counted.
    :param left_out: how many of which kind were not sent since ``left_since``, of which policies.
    """

    cursor: int
    failures: int = 0
    failing_since: datetime | None = None
    retry_at: datetime | None = None
    problem: str = ""
    window_from: datetime | None = None
    sent: int = 0
    critical: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    left_policies: tuple[str, ...] = ()
    left_since: datetime | None = None


def troubles_of(names: Iterable[str], known: Mapping[str, ChannelState]) -> list[str]:
    """Which of these channels fail, and why: a sentence each."""
    return [
        f"notifications {name}: failed {known[name].failures} times in a row: {known[name].problem}"
        for name in names
        if name in known and known[name].failures
    ]


def is_paused(state: ChannelState, now: datetime) -> bool:
    """Whether it failed a moment ago. A pause that is longer than any was set before the clock stepped back."""
    return state.retry_at is not None and now < state.retry_at <= now + 2 * AGAIN_LAST


class Fate(StrEnum):
    """What becomes of a notice that is to be sent."""

    SENT = "sent"
    LEFT_OUT = "left out"  # of an hour that is full
    GIVEN_UP = "given up"  # after the channel has failed for too long


def fates(state: ChannelState, notices: Sequence[Notice], per_hour: int, now: datetime) -> list[Fate]:
    """Of each; of more than fit into the hour the newest are sent. A flood of news keeps back nothing critical.

    What is late, because the channel failed or nobody was there to send, has half of the hour at most: the other half
    is for what happens now.

    :param notices: in the order in which they are to be sent.
    """
    is_begun = _in_window(state, now)
    used = {True: state.critical, False: state.sent} if is_begun else {True: 0, False: 0}
    found = []
    for notice in reversed(notices):
        is_critical, is_late = notice.level is Level.CRITICAL, now - notice.at > WINDOW
        if is_given_up(state, notice, now):
            found.append(Fate.GIVEN_UP)
        elif used[is_critical] < (max(1, per_hour // 2) if is_late else per_hour):
            used[is_critical] += 1
            found.append(Fate.SENT)
        else:
            found.append(Fate.LEFT_OUT)
    return found[::-1]


def is_digest_due(state: ChannelState, now: datetime) -> bool:
    """Whether it is time to say how many were left out."""
    return bool(state.left_out) and not _in_window(state, now)


def _in_window(state: ChannelState, now: datetime) -> bool:
    return state.window_from is not None and timedelta(0) <= now - state.window_from < WINDOW


def after_sending(state: ChannelState, level: Level, now: datetime) -> ChannelState:
    """The channel works, and has sent one more."""
    if not _in_window(state, now):
        state = replace(state, window_from=now, sent=0, critical=0)
    state = replace(state, failures=0, failing_since=None, retry_at=None, problem="")
    if level is Level.CRITICAL:
        return replace(state, critical=state.critical + 1)
    return replace(state, sent=state.sent + 1)


def after_leaving_out(state: ChannelState, notice: Notice, now: datetime) -> ChannelState:
    """One more is only counted."""
    counted = {**state.left_out, notice.kind: state.left_out.get(notice.kind, 0) + 1}
    policies = tuple(dict.fromkeys((*state.left_policies, notice.policy)))[: _NAMED + 1]
    return replace(state, left_out=counted, left_policies=policies, left_since=state.left_since or now)


def after_digest(state: ChannelState) -> ChannelState:
    """It was said how many were left out."""
    return replace(state, left_out={}, left_policies=(), left_since=None)


def after_failing(state: ChannelState, problem: str, now: datetime, retry_after: timedelta | None) -> ChannelState:
    """It did not work. ``retry_after``: when the other side asked to be tried again, an hour at most."""
    pause = min(AGAIN_FIRST * 2 ** min(state.failures, 10), AGAIN_LAST)
    if retry_after is not None:
        pause = max(pause, min(retry_after, 2 * AGAIN_LAST))
    return replace(
        state,
        failures=state.failures + 1,
        failing_since=min(state.failing_since or now, now),  # it may have been set before the clock stepped back
        retry_at=now + pause,
        problem=problem,
    )


def is_given_up(state: ChannelState, notice: Notice, now: datetime) -> bool:
    """Whether it is left out: it could not be sent for so long, as nothing could."""
    is_failing = state.failing_since is not None and now - state.failing_since > GIVEN_UP_AFTER
    return is_failing and now - notice.at > GIVEN_UP_AFTER


def digest(state: ChannelState, now: datetime) -> Notice:
    """How many were left out."""
    count, since = sum(state.left_out.values()), state.left_since or now
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(state.left_out.items()))
    more = " and others" if len(state.left_policies) > _NAMED else ""
    names = ", ".join(state.left_policies[:_NAMED])
    return Notice(
        ident=f"digest {since.isoformat()}",
        kind="digest",
        level=Level.WARNING if set(state.left_out) - _NEWS else Level.INFO,
        at=now,
        what=f"{count} messages since {text(since)} were left out ({kinds}); policies: {names}{more}.",
        advice="See 'rotator status' for how every policy stands.",
    )


_NEWS = {str(kind) for kind in (Kind.ROTATED, Kind.REVOKED, Kind.ADOPTED, Kind.ABOUT_TO_REVOKE, Kind.RECOVERED)}
