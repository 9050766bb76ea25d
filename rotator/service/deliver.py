"""Send what one round of a channel has found, one by one, and record each after it was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from rotator.domain import channel as ch
from rotator.domain.channel import ChannelState, Rules
from rotator.domain.notices import Notice
from rotator.domain.standing import Standing
from rotator.errors import SendFailed
from rotator.ports import Clock
from rotator.ports_notify import Channel, Outbox
from rotator.service.messages import message_of

CLAIM = timedelta(minutes=3)
"""After how much silence another process may send in a channel's place: longer than a send may take."""


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
        if ch.is_digest_due(self.state, self.clock.now()):
            notice = ch.digest(self.state, self.clock.now())
            self._send(notice)
            self.state = ch.after_digest(self.state)
            self._save(keep=True)
        for item in items:
            if stopping() or ch.is_paused(self.state, self.clock.now()):
                break
            is_sent = item.notice is not None and self._sent_or_counted(item.notice)
            self._note(item)
            if is_sent:
                self._save(keep=True)

    def _note(self, item: Item) -> None:
        if item.cursor is not None:
            self.state = replace(self.state, cursor=item.cursor)
        if item.key is not None and item.standing is not None:
            self._told[item.key] = item.standing
        elif item.key is not None:
            self._over.append(item.key)

    def _sent_or_counted(self, notice: Notice) -> bool:
        """Whether it was sent. Raises ``SendFailed``, unless the channel has failed for too long already."""
        now = self.clock.now()
        if not ch.is_allowed(self.state, notice.level, self.rules.per_hour, now):
            self.state = ch.after_leaving_out(self.state, notice, now)
            self.count(self.rules.name, "left_out")
            return False
        try:
            self._send(notice)
        except SendFailed as error:
            if not ch.is_given_up(self.state, now):
                raise
            self._failed(error)
            self.state = ch.after_leaving_out(self.state, notice, now)
            self.count(self.rules.name, "left_out")
            structlog.get_logger().error("notification.given_up", channel=self.rules.name, kind=notice.kind)
            return False
        return True

    def _send(self, notice: Notice) -> None:
        if self._channel is None:
            self._channel = self.make()
        now = self.clock.now()
        self._channel.send(message_of(notice, self.instance, self.clean), now)
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
