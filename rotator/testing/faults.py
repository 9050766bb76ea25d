"""What may go wrong around a backend, and what the port promises then: part of the contract of ``SecretBackend``.

Subclass ``FaultContract`` with a fixture ``case`` (see ``rotator.testing.backends``) and ``causes``: at least one
``Cause`` for each of ``FAULTS``, or a ``DoesNotApply`` that says why there is none::

    class TestFaults(FaultContract):
        causes = (
            Cause(fault="missing permission", what="SELECT", call="read", ends_in=BackendDenied, during=without_select),
            DoesNotApply("expired credential", "it has none"),
            ...
        )
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from rotator.domain.model import Destination, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    OutcomeUnknown,
    RotatorError,
    VersionConflict,
    WrongDestination,
)
from rotator.ports import SecretBackend
from rotator.testing.backends import FIELD, BackendCase, some_metadata

Call = Literal["read", "check_writable", "write"]
Ends = type[RotatorError] | None

FAULTS = (
    "lost answer",
    "conflict",
    "missing permission",
    "not found",
    "unreachable",
    "slow",
    "malformed",
    "expired credential",
)

_DOWN: tuple[Ends, ...] = (BackendUnavailable,)
_EMPTY: tuple[Ends, ...] = (None, WrongDestination)
_LOGIN: tuple[Ends, ...] = (None, BackendDenied)
PROMISES: Mapping[str, Mapping[Call, tuple[Ends, ...]]] = {
    "lost answer": {"read": (None, *_DOWN), "check_writable": (None, *_DOWN), "write": (None, OutcomeUnknown)},
    "conflict": {"write": (VersionConflict,)},
    # OutcomeUnknown: the right is missing that comes after the value, and the value is there.
    "missing permission": {
        "read": (BackendDenied,),
        "check_writable": (BackendDenied,),
        "write": (BackendDenied, OutcomeUnknown),
    },
    "not found": {"read": _EMPTY, "check_writable": _EMPTY, "write": _EMPTY},
    "unreachable": {"read": _DOWN, "check_writable": _DOWN, "write": (*_DOWN, OutcomeUnknown)},
    "slow": {"read": (None, *_DOWN), "check_writable": (None, *_DOWN), "write": (*_DOWN, OutcomeUnknown)},
    "malformed": {
        "read": (*_DOWN, WrongDestination),
        "check_writable": (*_DOWN, WrongDestination),
        "write": (*_DOWN, WrongDestination, OutcomeUnknown),
    },
    "expired credential": {"read": _LOGIN, "check_writable": _LOGIN, "write": _LOGIN},
}
"""For each fault and call, what it may end in. ``None``: nobody notices; a read of what is not found is empty.

Whatever it ends in: only after ``OutcomeUnknown``, or without an error, may the new value be there; no message, cause
or context shows a value; and when the fault is over, a look and a repeat with the same metadata come through.
"""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One way to bring a fault about.

    :param fault: one of ``FAULTS``.
    :param what: which request, permission or file it is, for the table.
    :param call: what is called while it lasts.
    :param ends_in: the error; ``None`` where nobody notices.
    :param during: a context in which the fault is there; it gives the backend to call. Afterwards all is well again.
    :param at: the place; the one of ``FIELD`` unless told otherwise.
    """

    fault: str
    what: str
    call: Call
    ends_in: Ends
    during: Callable[[Any], AbstractContextManager[SecretBackend]]
    at: Callable[[Any], Destination] = lambda case: case.at(FIELD)

    def __str__(self) -> str:
        return f"{self.call}: {self.fault}: {self.what}"


@dataclass(frozen=True)
class DoesNotApply:
    """A fault that this backend can't meet, and why."""

    fault: str
    reason: str


_OLD, _NEW = "tgp_v1_old", "tgp_v1_new"


class FaultContract:
    """What every backend keeps."""

    causes: ClassVar[Sequence[Cause | DoesNotApply]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each cause."""
        if "cause" in metafunc.fixturenames:
            causes = [cause for cause in self.causes if isinstance(cause, Cause)]
            metafunc.parametrize("cause", causes, ids=str)

    def test_every_fault_has_a_cause_or_a_reason_why_there_is_none(self) -> None:
        caused = {cause.fault for cause in self.causes if isinstance(cause, Cause)}
        reasons = {cause.fault for cause in self.causes if isinstance(cause, DoesNotApply) and cause.reason}
        assert sorted(caused | reasons) == sorted(FAULTS)
        assert not caused & reasons

    def test_every_cause_ends_in_what_the_port_promises(self) -> None:
        for cause in self.causes:
            if isinstance(cause, Cause):
                assert cause.ends_in in PROMISES[cause.fault][cause.call], str(cause)

    def test_a_fault_ends_as_promised_and_a_repeat_comes_through(self, case: BackendCase, cause: Cause) -> None:
        case.put(FIELD, _OLD)
        place, metadata, key = cause.at(case), some_metadata(), SecretValue(_NEW)
        seen = case.backend.read(place).version if cause.call == "write" else ""
        with cause.during(case) as backend:
            held, failure = _called(backend, cause.call, place, key=key, metadata=metadata, seen=seen)
        assert isinstance(failure, cause.ends_in or type(None)), f"{cause} ended in {failure!r}"
        if failure is not None:
            context = None if failure.__suppress_context__ else failure.__context__
            assert "tgp_v1_" not in f"{failure!r} {failure.__cause__!r} {context!r}"
            assert isinstance(failure, OutcomeUnknown) or case.other(FIELD) != _NEW, "it is written, and must not be"
        elif cause.call == "read":
            assert (held.reveal() if held else None) == (None if cause.fault == "not found" else _OLD)
        elif cause.call == "write":
            assert dict(case.backend.read(place).metadata) == (metadata.as_pairs() if case.keeps_metadata else {})
        self._a_repeat_comes_through(case, key, metadata)

    @staticmethod
    def _a_repeat_comes_through(case: BackendCase, key: SecretValue, metadata: KeyMetadata) -> None:
        place = case.at(FIELD)
        case.backend.check_writable(place)
        case.backend.write(place, key, metadata, case.backend.read(place).version)
        assert case.other(FIELD) == _NEW
        assert dict(case.backend.read(place).metadata) == (metadata.as_pairs() if case.keeps_metadata else {})


def _called(
    backend: SecretBackend, call: Call, place: Destination, *, key: SecretValue, metadata: KeyMetadata, seen: str
) -> tuple[SecretValue | None, RotatorError | None]:
    """What was read, and what it ended in."""
    try:
        match call:
            case "read":
                return backend.read(place).value, None
            case "check_writable":
                backend.check_writable(place)
            case "write":
                backend.write(place, key, metadata, seen)
    except RotatorError as failure:
        return None, failure
    return None, None
