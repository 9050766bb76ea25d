"""Send what one round of a channel has found, one by one, and record each after it was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from rotator.domain import channel as ch
from rotator.domain.channel import ChannelState, Fate, Rules
from rotator.domain.notices import Notice
from rotator.domain.standing import Standing
from rotator.errors import SendFailed
from rotator.ports import Clock
from rotator.ports_notify import Channel, Outbox
from rotator.service.messages import message_of

CLAIM = timedelta(minutes=3)
"""After how much silence another process may send in a channel's place: longer than a send may take."""

REFUSED_BEFORE = 2
"""After so many tries that failed, an event that is refused once more is passed over, to see whether it is alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One notice, and what is true of the channel once it is dealt with.

    :param notice: ``None`` where there is only something to write down.
    :param cursor: every event up to this one is dealt with then.
    :param key: of a condition: its policy and its key.
    :param standing: of that condition; ``None``: it is over.
    """

    notice: Notice | None = None
    cursor: int | None = None
    key: tuple[str, str] | None = None
    standing: Standing | None = None


class _Lost(Exception):
    """Another process has taken the channel over."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """Of one round; the fields are those of ``Sender``, and the state that was claimed."""

    rules: Rules
    make: Callable[[], Channel]
    outbox: Outbox
    clock: Clock
    instance: str
    holder: str
    clean: Callable[[str], str]
    count: Callable[[str, str], None]
    state: ChannelState
    _channel: Channel | None = None
    _refusal: SendFailed | None = None  # of an event that is passed over
    _told: dict[tuple[str, str], Standing] = field(default_factory=dict)
    _over: list[tuple[str, str]] = field(default_factory=list)

    def carry_out(self, items: Sequence[Item], stopping: Callable[[], bool]) -> None:
        """Deal with one after the other; at the end the channel is given back."""
        try:
            try:
                self._all(items, stopping)
            except SendFailed as error:
                self._failed(error)
            self._save(keep=False)
        except _Lost:
            structlog.get_logger().info("notification.taken_over", channel=self.rules.name)

    def _all(self, items: Sequence[Item], stopping: Callable[[], bool]) -> None:
        now = self.clock.now()
        if ch.is_paused(self.state, now):
            return  # another process has tried it a moment ago
        is_digest_due = ch.is_digest_due(self.state, now)  # before an hour begins with what is sent now
        notices = [item.notice for item in items if item.notice is not None]
        fates = iter(ch.fates(self.state, notices, self.rules.per_hour, now))
        # Beyond the hour's limit, or refused: counted once a later one is sent, and until then they wait like it.
        held: list[Item] = []
        for item in items:
            if stopping():
                return
            held = self._one(item, next(fates) if item.notice is not None else None, held)
        if self._refusal is not None:
            raise self._refusal
        self._leave_out(held)
        # The last: what is known only by its number keeps back nothing that can still be told.
        if is_digest_due or ch.is_digest_due(self.state, now):
            self._send(ch.digest(self.state, now))
            self.state = ch.after_digest(self.state)

    def _one(self, item: Item, fate: Fate | None, held: list[Item]) -> list[Item]:
        """Deal with one; which ones wait after it."""
        waits = fate is Fate.LEFT_OUT or (fate is Fate.GIVEN_UP and self._refusal is not None)
        if waits or (fate is None and item.cursor is not None and held):
            return [*held, item]
        if item.notice is not None and fate is Fate.SENT:
            if self._told:  # since when it lasts is a part of its id: a repeat after a crash has the same one
                self._save(keep=True)
            if not self._is_taken(item.notice, is_event=item.cursor is not None):
                return [*held, item]
        self._leave_out(held)
        if fate is Fate.GIVEN_UP:
            self._leave_out([item])
            structlog.get_logger().error("notification.given_up", channel=self.rules.name)
        else:
            self._note(item)
        if fate is Fate.SENT:
            self._save(keep=True)
        return []

    def _is_taken(self, notice: Notice, *, is_event: bool) -> bool:
        """Send it; ``False``: it is passed over, for a channel that takes the next one refuses this one alone."""
        is_tried = is_event and self._refusal is None and self.state.failures >= REFUSED_BEFORE
        try:
            self._send(notice)
        except SendFailed as error:
            if not (is_tried and error.is_refusal):
                raise
            self._refusal = error
            return False
        if self._refusal is not None:
            reason = self.clean(str(self._refusal))
            structlog.get_logger().error("notification.refused", channel=self.rules.name, reason=reason)
            self._refusal = None
        return True

    def _note(self, item: Item) -> None:
        if item.cursor is not None:
            self.state = replace(self.state, cursor=item.cursor)
        if item.key is not None and item.standing is not None:
            self._told[item.key] = item.standing
        elif item.key is not None:
            self._over.append(item.key)

    def _leave_out(self, items: Sequence[Item]) -> None:
        """Count what is not sent, and note all."""
        for item in items:
            if item.notice is not None:
                self.state = ch.after_leaving_out(self.state, item.notice, self.clock.now())
                self.count(self.rules.name, "left_out")
            self._note(item)

    def _send(self, notice: Notice) -> None:
        now = self.clock.now()
        try:
            if self._channel is None:
                self._channel = self.make()
            self._channel.send(message_of(notice, self.instance, self.clean), now)
        except SendFailed:
            raise
        except Exception as error:  # noqa: BLE001 - a library's defect is this channel's failure; it may show an address
            raise SendFailed(f"unexpected {type(error).__name__}") from None
        self.state = ch.after_sending(self.state, notice.level, now)
        self.count(self.rules.name, "sent")
        log = structlog.get_logger()
        log.info("notification.sent", channel=self.rules.name, kind=str(notice.kind), policy=notice.policy)

    def _failed(self, error: SendFailed) -> None:
        wait = timedelta(seconds=error.retry_after) if error.retry_after is not None else None
        self.state = ch.after_failing(self.state, self.clean(str(error)), self.clock.now(), wait)
        self.count(self.rules.name, "failed")
        structlog.get_logger().warning(
            "notification.failed",
            channel=self.rules.name,
            reason=self.state.problem,
            times=self.state.failures,
            again_at=self.state.retry_at.isoformat(timespec="seconds") if self.state.retry_at else "",
        )

    def _save(self, *, keep: bool) -> None:
        until = self.clock.now() + CLAIM if keep else None
        is_ours = self.outbox.save(
            self.rules.name, self.holder, self.state, told=self._told, over=self._over, until=until
        )
        if not is_ours:
            raise _Lost
        self._told, self._over = {}, []
