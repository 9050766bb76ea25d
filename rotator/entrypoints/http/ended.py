"""How handovers by the page of a link ended, to be told once the browser asks; see ``Ended``."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition

from rotator.domain.links import digest_of
from rotator.domain.record import PolicyRecord
from rotator.service.desk import Handover, Taken

_REMEMBERED = 64

_TOLD_WITHIN = 5.0
"""Seconds in which a browser that is sent on asks; a program that sends a form may never do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told of one link: several people may have used it.

    :param newest: what came of the newest form.
    :param taken: what came of the form whose key was taken, as far as one was; nothing that comes later hides it.
    :param rotation_id: of what was asked for.
    :param unneeded: ids of good keys that came too late, and that somebody has to revoke.
    """

    newest: Handover
    taken: Handover | None = None
    rotation_id: str = ""
    unneeded: tuple[str, ...] = ()

    def stands(self, record: PolicyRecord) -> tuple[str, Handover]:
        """Once the link opens nothing any more: which page tells it, and of what; see ``handing``."""
        taken = self.taken
        if taken is None or self._asked_again(record):
            return "refused" if self.newest.taken is Taken.REFUSED else "postponed", self.newest
        current, flying = record.current, record.in_flight
        if taken.taken is Taken.ACCEPTED and (current is None or current.key_id == taken.key_id):
            return "accepted", taken
        if current and current.rotation_id == self.rotation_id:  # the service has finished it meanwhile
            return "accepted", Handover(taken=Taken.ACCEPTED, key_id=current.key_id)
        return "open" if flying and flying.rotation_id == self.rotation_id else "over", taken

    def _asked_again(self, record: PolicyRecord) -> bool:
        return record.awaiting is not None and record.awaiting.rotation_id == self.rotation_id


class Ended:
    """By policy, and by the digest of the link's token. ``monotonic``: seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._changed = Condition()
        self._known: OrderedDict[tuple[str, str], Told] = OrderedDict()
        self._untold: dict[tuple[str, str], float] = {}

    def note(self, policy: str, token: str, handover: Handover, rotation_id: str = "") -> None:
        """What came of a form. Of many links, the oldest is forgotten."""
        link = policy, digest_of(token)
        with self._changed:
            before = self._known.pop(link, None)
            taken = before.taken if before else None
            if handover.taken in {Taken.ACCEPTED, Taken.UNFINISHED} and (
                taken is None or taken.taken is not Taken.ACCEPTED
            ):
                taken = handover
            late = (handover.unneeded,) if handover.unneeded else ()
            self._known[link] = Told(
                newest=handover,
                taken=taken,
                rotation_id=rotation_id,
                unneeded=tuple(dict.fromkeys((*(before.unneeded if before else ()), *late))),
            )
            self._untold[link] = self._monotonic()
            if len(self._known) > _REMEMBERED:
                forgotten, _ = self._known.popitem(last=False)
                self._untold.pop(forgotten, None)

    def of(self, policy: str, token: str) -> Told | None:
        """``None`` where nothing was handed over by it, or another process took it."""
        link = policy, digest_of(token)
        with self._changed:
            self._untold.pop(link, None)
            self._changed.notify_all()
            return self._known.get(link)

    def wait_told(self) -> None:
        """Until every browser that sent a form a moment ago has asked how it ended; a few seconds at most."""
        with self._changed:
            while seconds := self._left():
                self._changed.wait(seconds)

    def _left(self) -> float:
        now = self._monotonic()
        return max(0.0, *(at + _TOLD_WITHIN - now for at in self._untold.values())) if self._untold else 0.0
