"""One durable commit for the changes of several threads.

A commit waits for the disk, for milliseconds, and SQLite carries out one at a time: with a commit for each change, the
threads of a pass spend most of it in the queue. So whoever comes while one is under way shares the next one with all
others who came. To its caller a change is a transaction of its own: it sees all changes before it, it is carried out
as a whole or not at all, and what returned is durable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from rotator.errors import JournalUnavailable

_T = TypeVar("_T")

Transaction = Callable[[], AbstractContextManager[Connection]]
"""A writing transaction, committed at the end of its block. Raises ``JournalUnavailable``."""


class Commits(Protocol):
    """How changes become durable."""

    def carry_out(self, change: Callable[[Connection], _T]) -> _T:
        """Returns when the change is durable; raises what it raised, or ``JournalUnavailable``.

        :param change: may be called twice, in any thread; what the first call wrote is undone before the second.
        """
        ...


class OwnCommits:
    """Each change has a transaction of its own: where the database itself brings commits together (PostgreSQL)."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def carry_out(self, change: Callable[[Connection], _T]) -> _T:
        """See ``Commits``."""
        with self._transaction() as connection:
            return change(connection)


class SharedCommits:
    """Changes that come while a commit is under way share the next one. A thread that comes alone waits for nobody."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._lock = threading.Lock()
        self._waiting: list[_Turn] = []
        self._led = False  # whether a thread is at work on the turns of all

    def carry_out(self, change: Callable[[Connection], _T]) -> _T:
        """See ``Commits``."""
        turn = _Turn(change)
        with self._lock:
            self._waiting.append(turn)
            leads, self._led = not self._led, True
        if not leads:
            turn.told.wait()
        if not turn.decided:  # so it is this thread's to lead
            self._lead()
        if turn.error is not None:
            raise turn.error
        result: _T = turn.result
        return result

    def _lead(self) -> None:
        """Carry out all that wait, and leave those that came meanwhile to the first of them."""
        with self._lock:
            turns, self._waiting = self._waiting, []
        try:
            if len(turns) == 1 or not self._together(turns):
                for turn in turns:
                    self._alone(turn)
        finally:
            with self._lock:
                self._led = bool(self._waiting)
                following = self._waiting[:1]
            for turn in turns:
                turn.decide()
            for turn in following:
                turn.told.set()

    def _together(self, turns: Sequence[_Turn]) -> bool:
        """Whether they are decided. Where one of them fails nothing was written, and each is tried by itself."""
        carried_out = False
        try:
            with self._transaction() as connection:
                for turn in turns:
                    turn.result = turn.change(connection)
                carried_out = True
        except Exception as error:  # noqa: BLE001 - raised again in the thread whose change it is
            if not carried_out:
                return False
            # The commit itself: it may be there or not, as with any that fails. Each thread gets its own exception.
            for turn in turns:
                turn.error = JournalUnavailable(str(error)).with_traceback(error.__traceback__)
                turn.error.__cause__ = error
        for turn in turns:
            turn.decided = True
        return True

    def _alone(self, turn: _Turn) -> None:
        try:
            with self._transaction() as connection:
                turn.result = turn.change(connection)
        except Exception as error:  # noqa: BLE001 - raised again in the thread whose change it is
            turn.error = error
        turn.decided = True


class _Turn:
    """A change, and what came of it."""

    def __init__(self, change: Callable[[Connection], Any]) -> None:
        self.change = change
        self.told = threading.Event()  # its thread need not wait any more
        self.decided = False
        self.result: Any = None
        self.error: Exception | None = None

    def decide(self) -> None:
        """Wake its thread. One that was left undecided met the end of the thread that led."""
        if not self.decided:
            self.error = JournalUnavailable("the journal can't be used: the thread that wrote has ended")
            self.decided = True
        self.told.set()
