"""A command of the rotator in this process: most of what a process of its own takes is importing."""

from __future__ import annotations

from click.testing import CliRunner, Result

from rotator.entrypoints.cli import cli
from tests.parts.rotator import Rotator


def here(rotator: Rotator, *arguments: str) -> Result:
    """Like ``Rotator.call``; ``exit_code``, ``stdout`` and ``stderr`` of it. A defect is raised."""
    done = CliRunner(env=rotator.environ).invoke(cli, ["--config", str(rotator.config), *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done
