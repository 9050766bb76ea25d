"""What can go wrong at a port call, and the gate through which each call of a holder goes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from rotator.errors import (
    BackendUnavailable,
    JournalUnavailable,
    OutcomeUnknown,
    ProviderDenied,
    ProviderNonsense,
    ProviderUnavailable,
    RotatorError,
    VersionConflict,
)

_Answer = TypeVar("_Answer")

PATIENCE = 60
"""Seconds that a thread may take to end or to pause: only a deadlock takes longer."""


class Crash(BaseException):
    """The process is gone. Nothing of ours may catch it."""


class What(StrEnum):
    """Kinds of trouble, the plain ones first: Hypothesis shrinks towards them."""

    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    CONFLICT = "conflict"
    NONSENSE = "nonsense"
    DENIED = "denied"
    CRASH = "crash"
    PAUSE = "pause"
    LATE = "late"  # the answer is lost, and the effect comes some minutes later
    STALE = "stale"  # a list from some minutes ago


@dataclass(frozen=True, slots=True)
class Trouble:
    """At the ``nth`` such call of the look."""

    call: str
    what: What
    after: bool = False
    nth: int = 1

    def __repr__(self) -> str:
        return f"Trouble({self.call!r}, {str(self.what)!r}, after={self.after}, nth={self.nth})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", What(self.what))


_CHANGES = ("create_key", "write", "revoke_key", "set_expiration")
_READS = ("read", "identify", "list_keys", "check_writable", "read_previous")
_JOURNAL = ("append", "note_look", "load", "acquire", "observations", "release")


MOMENTS = ("append", "write", "create_key", "revoke_key", "set_expiration", "read", "identify", "list_keys")
"""Where a look is paused or ends."""


def _kinds() -> list[tuple[str, What, bool]]:
    found: list[tuple[str, What, bool]] = []
    for call in _CHANGES:
        found.append((call, What.UNAVAILABLE, False))
        found += [(call, What.UNKNOWN, after) for after in (False, True)]
        found.append((call, What.LATE, False))
    found.append(("write", What.CONFLICT, False))
    found += [("create_key", what, False) for what in (What.NONSENSE, What.DENIED)]
    found += [(call, What.UNAVAILABLE, False) for call in _READS]
    found += [("identify", What.NONSENSE, False), ("list_keys", What.NONSENSE, False), ("list_keys", What.STALE, False)]
    found += [(call, What.UNAVAILABLE, after) for call in _JOURNAL for after in (False, True)]
    # An append stands on either side of each effect: it is where most of the different moments are.
    for call in (*_CHANGES, "append", "append", "append", "read", "identify", "note_look"):
        found += [(call, what, after) for what in (What.CRASH, What.PAUSE) for after in (False, True)]
    return found


KINDS = tuple(_kinds())


def _error(call: str, what: What) -> RotatorError:
    if call in _JOURNAL:
        return JournalUnavailable("disk full")
    if call in {"read", "read_previous", "check_writable", "write"}:
        errors = {What.CONFLICT: VersionConflict("somebody wrote"), What.UNKNOWN: OutcomeUnknown("write: no answer")}
        return errors.get(what, BackendUnavailable("sealed"))
    errors = {
        What.NONSENSE: ProviderNonsense("HTML"),
        What.DENIED: ProviderDenied("403"),
        What.UNKNOWN: OutcomeUnknown(f"{call}: no answer"),
    }
    return errors.get(what, ProviderUnavailable("503"))


class Gate:
    """Every port call of one holder passes here, one at a time.

    :param later: called with an effect that is to come some minutes later.
    """

    def __init__(self, later: Callable[[Callable[[], object]], None]) -> None:
        self._later = later
        self._troubles: list[Trouble] = []
        self._calls: Counter[str] = Counter()
        self._parked = threading.Event()
        self._go = threading.Event()
        self._killed = False
        self.paused = False
        self.struck = False

    def arm(self, troubles: tuple[Trouble, ...]) -> None:
        """The troubles of the next look."""
        self._troubles = list(troubles)
        self._calls.clear()
        self.struck = False

    def disarm(self) -> None:
        """No more trouble, in a look that is under way either."""
        self._troubles.clear()

    def run(self, work: Callable[[], None]) -> None:
        """Run until the end, or until a pause."""
        if not any(trouble.what is What.PAUSE for trouble in self._troubles):
            work()
            return

        def whole() -> None:
            try:
                work()
            finally:
                self._parked.set()

        self._parked.clear()
        threading.Thread(target=whole, daemon=True).start()
        self._wait()

    def resume(self, *, killed: bool = False) -> None:
        """Let a paused look go on to its end; or end it here."""
        self._killed, self.paused = killed, False
        self._parked.clear()
        self._go.set()
        self._wait()

    def call(self, call: str, effect: Callable[[], _Answer], stale: Callable[[], _Answer] | None = None) -> _Answer:
        """Do the effect, with the trouble that is armed for it."""
        self._calls[call] += 1
        trouble = next((t for t in self._troubles if t.call == call and t.nth == self._calls[call]), None)
        if trouble is None:
            return effect()
        self._troubles.remove(trouble)
        self.struck = True
        if trouble.what is What.STALE and stale is not None:
            return stale()
        if trouble.what is What.LATE:
            self._later(effect)
            raise OutcomeUnknown(f"{call}: no answer")
        if not trouble.after:
            self._strike(trouble)
            return effect()
        answer = effect()
        self._strike(trouble)
        return answer

    def _strike(self, trouble: Trouble) -> None:
        if trouble.what is What.CRASH:
            raise Crash
        if trouble.what is not What.PAUSE:
            raise _error(trouble.call, trouble.what)
        self.paused = True
        self._parked.set()
        assert self._go.wait(PATIENCE * 10), "nobody resumed a paused look"
        self._go.clear()
        if self._killed:
            raise Crash

    def _wait(self) -> None:
        assert self._parked.wait(PATIENCE), "a look neither ended nor paused"
