"""Promises 1, 2, 4, 5 and 7 hold whatever comes: one shard is one seed, so that shards run beside each other."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.assisted import AssistedMachine
from tests.model.machine import Machine
from tests.model.quiet import quiet_log

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "120"))
SHARDS = 4
# Shrinking takes minutes, and the story is readable without it: `make model SEED=0 EXAMPLES=160` shrinks the same run.
SHRINK = (Phase.shrink,) if os.environ.get("MODEL_SHRINK") else ()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_promises_hold_whatever_operators_time_faults_and_restarts_do(shard):
    run(Machine, shard)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_promises_hold_where_people_make_and_revoke_keys(shard):
    run(AssistedMachine, shard)


def run(of: type[Machine], shard: int) -> None:
    """One shard's examples."""
    machine = type(f"Shard{shard}", (of,), {})
    with quiet_log():
        run_state_machine_as_test(
            seed(shard + int(os.environ.get("MODEL_SEED", "0")) * SHARDS)(machine),
            settings=settings(
                max_examples=EXAMPLES // SHARDS,
                stateful_step_count=25,
                deadline=None,
                database=None,
                verbosity=Verbosity.normal,
                phases=(Phase.generate, *SHRINK),
                suppress_health_check=list(HealthCheck),
            ),
        )
