"""A small part of ``make week``, from a fixed seed."""

from __future__ import annotations

import shutil

from tests.domain.build import DAY
from tests.model.quiet import quiet_log
from tests.model.world import scratch
from tests.week.run import growth, week


def test_days_of_faults_restarts_and_reloads_break_no_promise_and_nothing_grows():
    """Promises 1 and 4; and the chain of events stays whole while it is pruned."""
    folder = scratch()
    try:
        with quiet_log():
            report = week(folder, seed=3, policies=6, days=20, retention=5 * DAY)
    finally:
        shutil.rmtree(folder)
    assert report.violations == []
    for what in ("restarts", "reloads", "crashes", "orders", "faults", "failed", "pruned chains"):
        assert report.counts[what] > 0, what
    assert {name: growth(report, name) for name in ("files", "threads")} == {"files": 1, "threads": 1}
    assert growth(report, "objects") < 1.05
