"""Tell people: one ``Sender`` for each channel, beside the looks and never in their way.

A round finds what is new (events after the channel's cursor, conditions that began, last or are over), claims the
channel, so that of several processes one sends, and sends it one by one. What was sent is recorded after it: a crash
in between sends it again. A round with nothing to send writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.domain import channel as ch
from rotator.domain.channel import ChannelState, Rules
from rotator.domain.conditions import Condition, conditions, is_certain
from rotator.domain.model import Policy
from rotator.domain.notices import TABLE, Entry, Kind, Notice, notice_of
from rotator.domain.record import PolicyRecord
from rotator.domain.standing import (
    CLOCK_AHEAD,
    Standing,
    after_telling,
    begun,
    is_forgotten,
    is_to_be_told,
    notice_of_condition,
    notice_of_end,
)
from rotator.ports import Clock, Journal
from rotator.ports_notify import Channel, Outbox
from rotator.service.deliver import CLAIM, Delivery, Item

BATCH = 200
"""Events that are read at a time."""

KEPT_EVERY = timedelta(hours=1)
"""How often it is written down how far a channel got with events that it is not told."""


@dataclass(slots=True, kw_only=True)
class Sender:
    """Everything about one channel; for one thread.

    :param make: the channel itself, made anew for each round that sends: its secrets are read when they are needed.
    :param clean: takes out of a text what looks like a secret: the last line of defence.
    :param holder: unique in all processes.
    :param count: see ``Observer.notified``.
    """

    rules: Rules
    make: Callable[[], Channel]
    outbox: Outbox
    journal: Journal
    clock: Clock
    policies: Mapping[str, Policy]
    instance: str
    holder: str
    clean: Callable[[str], str]
    count: Callable[[str, str], None]
    problem: str = ""
    _seen: int = 0
    _kept_at: datetime | None = None

    def round(self, *, lasting: bool = True, stopping: Callable[[], bool] = lambda: False) -> None:
        """Send what is to be sent now. Raises ``JournalError``; what the channel itself does wrong is remembered.

        :param lasting: look for conditions too, which takes reading all records.
        """
        now = self.clock.now()
        state = self.outbox.begin(self.rules.name)
        self.problem = state.problem
        if ch.is_paused(state, now):
            return
        items = self._items(state, now, lasting=lasting)
        is_news = any(item.notice or item.key for item in items) or ch.is_digest_due(state, now)
        if not is_news and not self._is_to_be_kept(state, now):
            return
        claimed = self.outbox.claim(self.rules.name, self.holder, now, CLAIM)
        if claimed is None:
            return
        if claimed != state:  # another one was faster: what it has sent is not sent again
            items = self._items(claimed, now, lasting=lasting)
        self._kept_at = now
        delivery = Delivery(
            rules=self.rules,
            make=self.make,
            outbox=self.outbox,
            clock=self.clock,
            instance=self.instance,
            holder=self.holder,
            clean=self.clean,
            count=self.count,
            state=claimed,
        )
        delivery.carry_out(items, stopping)
        self.problem = delivery.state.problem

    def _is_to_be_kept(self, state: ChannelState, now: datetime) -> bool:
        is_late = self._kept_at is None or abs(now - self._kept_at) >= KEPT_EVERY  # a clock may step back
        return self._seen > state.cursor and is_late

    def _items(self, state: ChannelState, now: datetime, *, lasting: bool) -> list[Item]:
        if ch.is_paused(state, now):
            return []
        events, lasts = list(self._events(state)), list(self._conditions(now) if lasting else ())
        # Whatever the channel does not take keeps back no condition: with each failure another one is tried first.
        turn = state.failures // 2 % len(lasts) if lasts else 0
        lasts = [*lasts[turn:], *lasts[:turn]]
        return [*lasts, *events] if state.failures % 2 else [*events, *lasts]

    def _events(self, state: ChannelState) -> Iterator[Item]:
        """The events that the channel is told, and how far that brings it."""
        after = max(state.cursor, self._seen)
        is_news = False
        while entries := self.outbox.entries(after, BATCH):
            for entry in entries:
                notice = self._notice(entry)
                if notice is not None:
                    is_news = True
                    yield Item(notice=notice, cursor=entry.seq)
                after = entry.seq
                if not is_news:
                    self._seen = after  # read once, and not written down for that alone
        if after > state.cursor:
            yield Item(cursor=after)

    def _notice(self, entry: Entry) -> Notice | None:
        tell, policy = TABLE.get(entry.kind), self.policies.get(entry.policy)
        if tell is None or not self.rules.concern(tell.kind, entry.policy, policy):
            return None
        notice = notice_of(entry, policy, self.journal.load(entry.policy))
        return notice if notice is not None and self.rules.want(notice, policy) else None

    def _conditions(self, now: datetime) -> Iterator[Item]:
        records, looks = self.journal.records(), self.journal.looks()
        known: dict[str, dict[str, Standing]] = {}
        for (name, key), standing in self.outbox.told(self.rules.name).items():
            known.setdefault(name, {})[key] = standing
        for name, policy in self.policies.items():
            record, look, told = records.get(name, PolicyRecord(policy=name)), looks.get(name), known.pop(name, {})
            here = {one.key: one for one in conditions(policy, record, look, now, self.rules.failed_after)}
            for key, condition in here.items():
                if self.rules.concern(condition.kind, name, policy):
                    yield from self._condition(condition, policy, told.pop(key, None), now)
            for key, standing in told.items():
                if key not in here and is_certain(key, record, look, now):
                    yield self._end(key, standing, policy, now)
                elif is_forgotten(standing, now):
                    yield Item(key=(name, key))
        # Another process of this journal may have policies that this one has not: what it was told is its own.
        for name, told in known.items():
            is_known = name in records or name in looks
            yield from (Item(key=(name, key)) for key, one in told.items() if not is_known or is_forgotten(one, now))

    def _end(self, key: str, standing: Standing, policy: Policy, now: datetime) -> Item:
        """Told where its beginning was."""
        was_told = standing.told > 0 and standing.kind is not Kind.ABOUT_TO_REVOKE
        is_wanted = was_told and self.rules.concern(Kind.RECOVERED, policy.name, policy)
        notice = notice_of_end(key, standing, policy.project, now) if is_wanted else None
        return Item(notice=notice, key=(policy.name, key))

    def _condition(self, condition: Condition, policy: Policy, known: Standing | None, now: datetime) -> Iterator[Item]:
        standing, key = known or begun(condition, policy.name, now), (policy.name, condition.key)
        if standing.since > now + CLOCK_AHEAD:
            standing = replace(standing, since=now)
        is_new = standing is not known
        if is_to_be_told(standing, condition, now):
            notice = notice_of_condition(standing, condition, policy.project, now)
            if self.rules.want(notice, policy):
                if is_new:
                    yield Item(key=key, standing=standing)
                yield Item(notice=notice, key=key, standing=after_telling(standing, condition, now))
                return
        if is_new and (condition.patience or condition.escalates):
            yield Item(key=key, standing=standing)  # since when it lasts
