"""The contract of the journal's history: what was recorded, in chains that can be verified (``domain.chain``)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from rotator.domain.chain import Entry, Head
from rotator.domain.verify import Remembered


class Chains(Protocol):
    """All chains as they are at one moment, as they are stored: whatever somebody wrote there is given."""

    def remembered(self) -> Remembered:
        """What the journal knows of them beside their entries."""
        ...

    def names(self) -> Sequence[str]:
        """Every chain that has an entry, whether its head is known or not."""
        ...

    def entries(self, policy: str) -> Iterator[Entry]:
        """All of a chain, by their numbers, whatever these are."""
        ...


class History(Protocol):
    """Every call raises ``JournalUnavailable`` when it can't be carried out. What returned is durable."""

    def at_one_moment(self) -> AbstractContextManager[Chains]:
        """The chains without what others add or prune meanwhile; nobody waits for the end of it."""
        ...

    def heads(self) -> Mapping[str, Head]:
        """Where each chain ends, by policy; the journal's own is that of the empty name."""
        ...

    def chains(self) -> Sequence[str]:
        """Every chain that has an entry, whether its head is known or not."""
        ...

    def entries(self, policy: str, after: int, most: int) -> Sequence[Entry]:
        """The next entries of a chain after that number, in order; none at its end."""
        ...

    def newest(self, policy: str | None, most: int) -> Sequence[Entry]:
        """The last entries of a policy, or of all of them, the newest last; without the journal's own."""
        ...

    def seal(self, now: datetime, every: timedelta) -> Head | None:
        """Name the heads of all chains that have grown in the journal's own chain, and give its head.

        ``None``, and nothing is written, where that was done less than ``every`` ago, by whatever process.
        """
        ...

    def prunable(self, before: datetime, now: datetime) -> Sequence[str]:
        """The chains that may have enough to be pruned; none where that was asked today already, by any process."""
        ...

    def prune(self, policy: str, before: datetime, now: datetime, readers: Collection[str] = ()) -> int:
        """Take out the oldest entries of a chain, those recorded before ``before``, and say so at its end.

        A bounded number, in one short transaction. What open rotations, live keys, or standing orders of the policy
        come from stays, and so does what somebody is still to be told of.

        :param readers: the channels that are told of events, each from its own place in the log.
        :returns: how many are gone; 0 where there is nothing left that is worth a pruning.
        """
        ...


class AnchorPlace(Protocol):
    """Where heads are written down, out of reach of whoever can change the journal."""

    def put(self, line: str) -> None:
        """Add one line, a JSON object. Raises ``AnchorFailed``."""
        ...
