"""What can go wrong where: every effect of a run has a number, the same in all processes that take part.

The number is the line in a file that everybody appends to: the proxies (requests, in the process of the test) and
the rotator itself (commits and file effects, in its own). One look is one thread that waits for each answer, so the
order is that of the rotator's own steps, and the same in each run up to the first fault.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_WIDTH = 80


class Fault(StrEnum):
    """What happens at a point. "Before" means that the effect never comes."""

    KILL_BEFORE = "kill-before"
    KILL_AFTER = "kill-after"
    KILL_LATE = "kill-late"  # the request was sent already: it is carried out when the next process has looked
    ERROR_BEFORE = "error-before"  # HTTP 500; "disk is full"; ENOSPC
    ERROR_AFTER = "error-after"
    RESET_BEFORE = "reset-before"
    RESET_AFTER = "reset-after"
    HANG_BEFORE = "hang-before"  # no answer, to its repeats neither, until the client gives up
    HANG_AFTER = "hang-after"
    HANG_LATE = "hang-late"  # carried out when the process has ended already
    OUTAGE_BEFORE = "outage-before"  # like an error, and so is everything later in the same place in this process
    OUTAGE_AFTER = "outage-after"
    ARRIVAL = "arrival"  # nothing goes wrong here; but what a killed process had sent arrives just before

    @property
    def kills(self) -> bool:
        return self.startswith("kill")

    @property
    def hangs(self) -> bool:
        return self.startswith("hang")

    @property
    def lasts(self) -> bool:
        """Whether what comes after it in the same process meets it too."""
        return self.startswith(("hang", "outage"))

    @property
    def comes_after(self) -> bool:
        """Whether the effect is carried out."""
        return self.endswith("after")


LATE = (Fault.KILL_LATE, Fault.HANG_LATE)
HTTP = tuple(fault for fault in Fault if fault not in {*LATE, Fault.ARRIVAL})
LOCAL = (Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.OUTAGE_BEFORE)
# What changes nothing is the same before and after.
_READING = tuple(fault for fault in HTTP if fault.kills or not fault.comes_after)
CHANGING = (
    "POST login",
    "POST revoke-self",
    "POST keys",
    "PATCH key",
    "DELETE key",
    "POST data",
    "PATCH metadata",
    "PutSecretValue",
    "UpdateSecretVersionStage",
    "TagResource",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One effect of a run.

    :param place: ``together``, ``openbao``, ``aws``, ``journal`` or ``dotenv``.
    :param what: which of its effects: ``POST keys``, ``KeyIssued``, ``replace``.
    """

    number: int
    place: str
    what: str

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What can go wrong here."""
        if self.place in {"journal", "dotenv"}:
            return LOCAL
        return (*HTTP, *LATE) if self.what in CHANGING else _READING


class Trace:
    """The numbered effects of a run, and the faults that it is to meet.

    :param plan: number to fault.
    """

    def __init__(self, path: Path, plan: Mapping[int, Fault]) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._plan = plan

    def reach(self, place: str, what: str) -> Fault | None:
        """The next effect is about to be carried out; returns what shall happen to it."""
        number = os.fstat(self._file).st_size // _WIDTH + 1
        fault = self._plan.get(number)
        line = f"{place} {what.replace(' ', '_')} {fault or '-'}"
        os.write(self._file, f"{line[: _WIDTH - 1]:<{_WIDTH - 1}}\n".encode())
        return fault

    def points(self) -> list[Point]:
        """All effects so far."""
        return [
            Point(number, place, what.replace("_", " ")) for number, (place, what, _) in enumerate(self._lines(), 1)
        ]

    def struck(self) -> int:
        """How many faults of the plan were met."""
        return sum(fault != "-" for _, _, fault in self._lines())

    def close(self) -> None:
        """Give back the file."""
        os.close(self._file)

    def _lines(self) -> list[list[str]]:
        size = os.fstat(self._file).st_size
        return [line.split() for line in os.pread(self._file, size, 0).decode().splitlines()]
