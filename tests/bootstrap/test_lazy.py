"""Adapters are made once, and given back side by side."""

import threading

import structlog
from structlog.testing import capture_logs

from rotator.bootstrap_lazy import Lazy


class Adapter:
    """Its end waits for that of all others, as one that asks a server which hangs would."""

    def __init__(self, name: str, meeting: threading.Barrier) -> None:
        self.name, self.meeting, self.closed = name, meeting, 0

    def close(self) -> None:
        self.meeting.wait(10)
        self.closed += 1
        if self.name == "two":
            raise ValueError("a defect of a library")


def test_one_that_hangs_or_fails_at_its_end_keeps_no_other_and_each_is_closed_once() -> None:
    meeting = threading.Barrier(3)
    lazy: Lazy = Lazy(lambda name: Adapter(name, meeting))
    made = [lazy(name) for name in ("one", "two", "three")]
    assert lazy("one") is made[0]
    structlog.reset_defaults()
    with capture_logs() as told:
        lazy.close()
        lazy.close()
    assert [one.closed for one in made] == [1, 1, 1]
    assert [(one["event"], one["adapter"]) for one in told] == [("adapter.not_closed", "two")]
    assert lazy.made() == []
