"""``--test-hooks``: the hooks alone. No provider, no backend and no journal is asked or changed."""

from __future__ import annotations

import os
import sys

from rotator.bootstrap_hooks import hook_runner
from rotator.clock import SystemClock
from rotator.config import Settings
from rotator.entrypoints import exits
from rotator.service.hooks import tried


def try_hooks(settings: Settings) -> int:
    """Run and print each policy's hooks, one after the other; returns the exit code."""
    count = failed = 0
    for trial in tried(settings.policies, hook_runner(settings, os.environ), SystemClock()):
        count, failed = count + 1, failed + bool(trial.problem)
        sys.stdout.write(f"{trial.policy}: {trial.problem or f'hook {trial.hook}: fine'}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{count} {'hook' if count == 1 else 'hooks'} run as a test, {failed} failed\n")
    return exits.FAILED if failed else exits.OK
