"""What is asked of the service from outside, before its journal can be opened and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from rotator.clock import SystemClock
from rotator.config import Settings
from rotator.domain.channel import ChannelState
from rotator.domain.model import Policy
from rotator.domain.record import PolicyRecord
from rotator.errors import JournalUnavailable
from rotator.ports import Look, Observer, Work
from rotator.ports_read import Channels, Memory
from rotator.service.desk import Desk
from rotator.service.guard import GuardedBackend, GuardedProvider
from rotator.service.observe import SILENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy this process is, and with what.

    :param running: looks under way.
    :param queued: policies that are due and wait for a thread.
    :param refused: the configuration that was read last was refused, and this is an older one.
    """

    running: int = 0
    queued: int = 0
    refused: bool = False


class Served(Protocol):
    """What the answers over HTTP are made of: a wired ``bootstrap.Application``, or ``Unopened``."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> SystemClock: ...
    @property
    def journal(self) -> Memory: ...
    @property
    def outbox(self) -> Channels: ...
    @property
    def desk(self) -> Desk | None: ...
    @property
    def observer(self) -> Observer: ...
    def troubles(self) -> Mapping[str, str]: ...
    def guards(self) -> Mapping[str, GuardedProvider | GuardedBackend]: ...


class InForce(Protocol):
    """One configuration as it is wired, and its policies by name: never those of two."""

    @property
    def application(self) -> Served: ...
    @property
    def policies(self) -> Mapping[str, Policy]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What is in force while the journal is being opened."""

    application: Unopened
    policies: Mapping[str, Policy]


class Closed:
    """A journal that could not be opened yet: every question is answered with why.

    :ivar reason: of the last try.
    """

    def __init__(self) -> None:
        self.reason = "it is being opened"

    def _raise(self) -> NoReturn:
        raise JournalUnavailable(self.reason)

    def load(self, policy: str) -> PolicyRecord:  # noqa: ARG002 - see ``Memory``
        """See ``Memory``."""
        self._raise()

    def records(self) -> Mapping[str, PolicyRecord]:
        """See ``Memory``."""
        self._raise()

    def looks(self) -> Mapping[str, Look]:
        """See ``Memory``."""
        self._raise()

    def works(self) -> Mapping[str, Work]:
        """See ``Memory``."""
        self._raise()

    def look(self, policy: str) -> Look | None:  # noqa: ARG002 - see ``Memory``
        """See ``Memory``."""
        self._raise()

    def channels(self) -> Mapping[str, ChannelState]:
        """See ``Channels``."""
        self._raise()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unopened:
    """The service while it waits for its journal: nothing is wired, and no endpoint was asked."""

    settings: Settings
    clock: SystemClock
    journal: Closed
    observer: Observer = field(default=SILENT)

    @property
    def outbox(self) -> Closed:
        """In the same database."""
        return self.journal

    @property
    def desk(self) -> None:
        """No key can be taken: what was taken could not be recorded."""

    def troubles(self) -> Mapping[str, str]:
        """None is known."""
        return {}

    def guards(self) -> Mapping[str, GuardedProvider | GuardedBackend]:
        """There are none yet."""
        return {}
