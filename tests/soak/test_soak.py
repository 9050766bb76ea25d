"""A small part of ``make soak``, from a fixed seed: every kind of fault, kills, freezes. No call is ever refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.run import crowd, storm

pytestmark = pytest.mark.timeout(900)  # it waits for what must happen, on a machine that may be busy


def test_no_call_is_refused_and_no_key_is_lost_or_left_while_everything_fails_and_the_service_is_killed(
    tmp_path: Path,
) -> None:
    """Promises 1 to 4."""
    report = storm(tmp_path, seed=1, size=12, at_least=24)

    assert report.violations == []
    assert report.counts["calls sdk"] > 0
    assert report.counts["refused"] == 0
    assert report.counts["keys left"] == report.counts["policies"]


def test_several_rotators_on_one_journal_never_have_two_candidates_even_where_one_of_them_was_frozen(
    tmp_path: Path,
) -> None:
    """Promise 5."""
    report = crowd(tmp_path, seed=1, size=20, at_least=30)

    assert report.violations == []
    assert report.counts["freezes"] > 1
    assert report.counts["rotations taken over"] > 0
    assert report.counts["refused"] == 0
    assert report.counts["keys left"] == report.counts["policies"]
