"""Promises 1, 2, 3, 4 and 7 by exhaustion. ``make faults`` prints the same as a table; ``PAIRS=5000`` tries more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.explore import Share, explore
from tests.faults.life import Run
from tests.faults.stage import Stage

SHARES = 8
PAIRS = 500
SEED = 1


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as real_parts:
        yield real_parts


def told(runs: list[Run]) -> str:
    """Each violation, and the command that repeats it."""
    return "".join(
        f"\n{run.where}\n    {run.again}\n" + "".join(f"    {violation}\n" for violation in run.violations)
        for run in runs
        if run.violations
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(SHARES))
def test_no_fault_at_any_point_of_a_rotation_loses_or_leaks_a_key(stage: Stage, number: int) -> None:
    """Promises 1, 2, 3, 4 and 7: killed, an error or silence, before and after each request, commit and file effect."""
    runs = list(explore(stage, Share(number=number, of=SHARES)))

    assert len(runs) * SHARES > 500
    assert all(run.struck for run in runs), "every point is reached"
    assert not told(runs), told(runs)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(SHARES))
def test_no_two_faults_in_a_row_lose_or_leak_a_key(stage: Stage, number: int) -> None:
    """Promises 1, 2, 3, 4 and 7: the second fault strikes what is done about the first."""
    runs = list(explore(stage, Share(number=number, of=SHARES, singles=False, pairs=PAIRS, seed=SEED)))

    assert sum(run.struck == 2 for run in runs) >= PAIRS // SHARES
    assert not told(runs), told(runs)
