"""The contracts of notifications: a channel that sends, and the outbox, which remembers how far each channel got.

The journal's events are the outbox: what is recorded with a move is told for certain, at least once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from rotator.domain.channel import ChannelState
from rotator.domain.notices import Entry
from rotator.domain.standing import Standing

Told = Mapping[tuple[str, str], Standing]
"""By policy and the condition's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a channel sends.

    :param ident: the same for every try and every repeat: letters, digits and ``_``.
    :param fields: the same as ``title`` and ``body``, for programs: texts and lists of texts.
    :param level: info, warning or critical.
    """

    ident: str
    kind: str
    level: str
    at: datetime
    title: str
    body: str
    fields: Mapping[str, object] = field(default_factory=dict)


class Channel(Protocol):
    """Sends messages to one place. Bounded in time."""

    def send(self, message: Message, now: datetime) -> None:
        """Send it, once. ``SendFailed`` where nobody took it, or nobody knows: it may be sent again."""
        ...


class Outbox(Protocol):
    """How far each channel got, durable. Every call raises ``JournalUnavailable`` when it can't be carried out."""

    def channels(self) -> Mapping[str, ChannelState]:
        """Every channel that ever was."""
        ...

    def begin(self, channel: str) -> ChannelState:
        """The channel's state; a new one begins at the newest event: nobody wants to be told a history."""
        ...

    def claim(self, channel: str, holder: str, now: datetime, ttl: timedelta) -> ChannelState | None:
        """Take the channel for this holder alone; ``None`` while another one has it."""
        ...

    def save(
        self,
        channel: str,
        holder: str,
        state: ChannelState,
        *,
        told: Told,
        over: Collection[tuple[str, str]],
        until: datetime | None,
    ) -> bool:
        """Record state and standings in one transaction; whether the holder still has the channel.

        :param told: standings that are new or have changed.
        :param over: standings that are not there any more.
        :param until: the holder keeps the channel so long; ``None``: it is given back.
        """
        ...

    def told(self, channel: str) -> Told:
        """What the channel was told of conditions."""
        ...

    def entries(self, after: int, limit: int) -> Sequence[Entry]:
        """The next events, in their order; no event with a smaller number comes later."""
        ...
