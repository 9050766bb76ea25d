"""What those read of the journal who only tell others: a page, a scrape, a probe. It is a part of ``ports``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rotator.domain.channel import ChannelState
from rotator.domain.record import PolicyRecord
from rotator.ports import Look, Work


class Memory(Protocol):
    """What is read of a journal; each call raises ``JournalError``. See ``ports.Journal``."""

    def load(self, policy: str) -> PolicyRecord: ...
    def records(self) -> Mapping[str, PolicyRecord]: ...
    def looks(self) -> Mapping[str, Look]: ...
    def works(self) -> Mapping[str, Work]: ...
    def look(self, policy: str) -> Look | None: ...


class Channels(Protocol):
    """What is read of the notifications; raises ``JournalError``. See ``ports_notify.Outbox``."""

    def channels(self) -> Mapping[str, ChannelState]: ...
