"""``--test-hooks`` and ``--test-notifications``: these alone. No provider, backend or journal is asked or changed."""

from __future__ import annotations

import os
import sys

from rotator.bootstrap_hooks import hook_runner
from rotator.bootstrap_notifications import channels
from rotator.clock import SystemClock
from rotator.config import Settings
from rotator.entrypoints import exits
from rotator.errors import SendFailed
from rotator.service.hooks import tried
from rotator.service.messages import message_of, trial_notice
from rotator.telemetry import redact_text


def try_hooks(settings: Settings) -> int:
    """Run and print each policy's hooks, one after the other; returns the exit code."""
    count = failed = 0
    for trial in tried(settings.policies, hook_runner(settings, os.environ), SystemClock()):
        count, failed = count + 1, failed + bool(trial.problem)
        sys.stdout.write(f"{trial.policy}: {trial.problem or f'hook {trial.hook}: fine'}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{count} {'hook' if count == 1 else 'hooks'} run as a test, {failed} failed\n")
    return exits.FAILED if failed else exits.OK


def try_notifications(settings: Settings) -> int:
    """Send one test message over each channel, one after the other, and print what each said; the exit code."""
    made, failed = channels(settings, os.environ), 0
    for name, make in made.items():
        now = SystemClock().now()
        try:
            make().send(message_of(trial_notice(now), settings.instance, redact_text), now)
            said = "sent"
        except SendFailed as error:
            said, failed = redact_text(str(error)), failed + 1
        sys.stdout.write(f"{name}: {said}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(made)} channels tried, {failed} failed\n")
    return exits.FAILED if failed else exits.OK
