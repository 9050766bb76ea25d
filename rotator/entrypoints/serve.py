"""The service from its start on: it opens the journal, however long that takes, and then does its work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta

import structlog

from rotator import process
from rotator.bootstrap import Application, application
from rotator.clock import SystemClock
from rotator.config import Settings, load
from rotator.entrypoints import exits
from rotator.entrypoints.daemon import Daemon
from rotator.entrypoints.front import Front
from rotator.entrypoints.reload import REFUSED, refused
from rotator.entrypoints.signals import Signals
from rotator.entrypoints.supervisor import Supervisor
from rotator.errors import ConfigError, JournalError, ListenFailed, MissingSecret

AGAIN_FIRST = timedelta(seconds=1)
AGAIN_LAST = timedelta(minutes=1)

ONE_TRY = timedelta(minutes=3)
"""How long a try and the pause after it may take; later the service counts as hanging. As systemd is told."""


def serve(settings: Settings) -> int:
    """Run until a signal; returns the exit code."""
    process.forbid_core_dumps()  # the listener reads its token before anything is wired
    clock = SystemClock()
    signals, supervisor, front = Signals(clock), Supervisor(), Front(clock)
    signals.heed(settings.service.shutdown_timeout)
    with ExitStack() as stack:
        opener = Opener(
            lambda given: stack.enter_context(application(given, service=True, clock=clock)),
            signals,
            supervisor,
            front,
        )
        wired = opener.open(settings)
        if wired is None:
            front.stop()
            structlog.get_logger().info("service.stopped")
            return exits.OK
        return Daemon(wired, signals, supervisor, front).run()


class Opener:
    """Wires the application as soon as its journal can be opened.

    :param wire: raises ``JournalError`` or ``MissingSecret`` (the journal's password) where it can't be.
    """

    def __init__(
        self,
        wire: Callable[[Settings], Application],
        signals: Signals,
        supervisor: Supervisor,
        front: Front,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._wire = wire
        self._environ = environ
        self._signals = signals
        self._supervisor = supervisor
        self._front = front
        self._log = structlog.get_logger()

    def open(self, settings: Settings) -> Application | None:
        """The application; ``None`` when the service was told to stop before. SIGHUP reads the configuration anew.

        Raises ``ListenFailed``: the front listens as the configuration says, before the journal is there.
        """
        self._front.wait(settings)
        for pause in _pauses():
            self._front.heart.beat("", within=ONE_TRY.total_seconds())
            try:
                return self._wire(settings)
            except (JournalError, MissingSecret) as error:
                if isinstance(error, JournalError) and not error.retryable:
                    raise  # waiting would not mend it
                seconds = pause.total_seconds()
                self._log.error("journal.not_opened", reason=str(error), again_in_seconds=seconds)
                self._front.failed(str(error))
            self._supervisor.starting(f"waits for the journal, tries every {seconds:.0f} s; the log says why")
            self._signals.wake.wait(seconds)
            self._signals.wake.clear()
            if self._signals.stop.is_set():
                self._supervisor.stopping()
                return None
            if self._signals.reload.is_set():
                self._signals.reload.clear()
                settings = self._anew(settings)
        raise AssertionError("the pauses have no end")

    def _anew(self, settings: Settings) -> Settings:
        """Nothing runs yet, so that anything may have changed: where the journal is, and where HTTP listens, too."""
        try:
            after = load(settings.source, self._environ)
            self._front.wait(after)
        except (ConfigError, ListenFailed) as error:
            refused(error, settings.source)
            self._front.wait(settings)  # where it was before
            self._front.refused = REFUSED
            return settings
        self._front.refused = ""
        self._log.info("configuration.reloaded", policies=len(after.policies))
        return after


def _pauses() -> Iterator[timedelta]:
    pause = AGAIN_FIRST
    while True:
        yield pause
        pause = min(2 * pause, AGAIN_LAST)
