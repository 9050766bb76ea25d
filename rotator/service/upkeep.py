"""The journal's upkeep, beside all rotations: its chain is sealed and anchored, and what is too old is pruned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from rotator.domain.chain import Head, canonical
from rotator.domain.text import text
from rotator.errors import AnchorFailed, JournalError
from rotator.ledger import AnchorPlace, History

ANCHOR = "journal.head"
"""By which an anchor is known, in the log, a file or a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """Runs as often as one likes: what is due is told by the journal, so that several processes share the work.

    :param places: where heads are written down, besides the log.
    :param every: how often.
    :param retention: how long events are kept at least.
    :param readers: the channels of the configuration: what these are still to be told of is kept.
    """

    history: History
    instance: str
    places: Sequence[AnchorPlace]
    every: timedelta
    retention: timedelta
    readers: Collection[str] = ()

    def run(self, now: datetime, *, stopping: Callable[[], bool] = lambda: False, most: int | None = None) -> None:
        """What is due. Never raises: what failed is in the log, and is tried again the next time.

        :param stopping: asked between two steps.
        :param most: so many prunings at most; ``None``: all that there is to prune.
        """
        try:
            if (head := self.history.seal(now, self.every)) is not None and head.number:
                self._anchor(head, now)
            if not stopping():
                self._prune(now, stopping, most)
        except JournalError as error:
            structlog.get_logger().warning("journal.not_kept_up", reason=str(error))

    def _anchor(self, head: Head, now: datetime) -> None:
        told = {"instance": self.instance, "number": head.number, "hash": head.hash}
        structlog.get_logger().info(ANCHOR, **told)
        line = canonical({"event": ANCHOR, "format": 1, "at": text(now), **told})
        for place in self.places:
            try:
                place.put(line)
            except AnchorFailed as error:
                structlog.get_logger().warning("journal.not_anchored", reason=str(error), number=head.number)

    def _prune(self, now: datetime, stopping: Callable[[], bool], most: int | None) -> None:
        before, times = now - self.retention, 0
        for policy in self.history.prunable(before, now):
            gone = 0
            while not stopping() and (most is None or times < most):
                count = self.history.prune(policy, before, now, self.readers)
                gone, times = gone + count, times + 1
                if not count:
                    break
            if gone:
                structlog.get_logger().info("journal.pruned", policy=policy, events=gone)
