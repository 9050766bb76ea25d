"""Reading the configuration anew while the service runs: checked as a whole first, applied whole or not at all.

It happens in a thread of its own: a file or a plug-in that hangs must not hold up the service, which keeps its last
good configuration.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path

import structlog

from rotator.bootstrap import Application
from rotator.config import Settings, Watched, load
from rotator.entrypoints.runtimes import give_back
from rotator.entrypoints.signals import Signals
from rotator.entrypoints.supervisor import Supervisor
from rotator.errors import ConfigError, Problem, RotatorError

MOST_TOLD = 100
"""So many faults of one configuration are logged; ``rotator validate`` prints all."""

REFUSED = "the new configuration is wrong, the last good one is kept; the log says why"

ON_CHANGE = "on-change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What another configuration differs in: names alone, never a value, which could be a secret."""

    policies_added: tuple[str, ...]
    policies_removed: tuple[str, ...]
    policies_changed: tuple[str, ...]
    backends: tuple[str, ...]
    providers: tuple[str, ...]
    hooks: tuple[str, ...]
    notifications: tuple[str, ...]
    service: tuple[str, ...]
    state: tuple[str, ...]

    def told(self) -> dict[str, list[str]]:
        """For the log: what there is any of."""
        return {one.name: list(names) for one in fields(self) if (names := getattr(self, one.name))}


def changes(before: Settings, after: Settings) -> Changes:
    """What differs."""
    old, new = ({policy.name: policy for policy in settings.policies} for settings in (before, after))
    return Changes(
        policies_added=tuple(sorted(new.keys() - old.keys())),
        policies_removed=tuple(sorted(old.keys() - new.keys())),
        policies_changed=tuple(sorted(name for name in old.keys() & new.keys() if old[name] != new[name])),
        backends=_different(before.backends, after.backends),
        providers=_different(before.providers, after.providers),
        hooks=_different(before.hooks, after.hooks),
        notifications=_different(before.notifications, after.notifications),
        service=tuple(
            one.name
            for one in fields(before.service)
            if getattr(before.service, one.name) != getattr(after.service, one.name)
        ),
        state=tuple(
            one.name
            for one in fields(before.history)
            if getattr(before.history, one.name) != getattr(after.history, one.name)
        ),
    )


def _different(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, ...]:
    names = before.keys() | after.keys()
    return tuple(sorted(name for name in names if before.get(name) != after.get(name)))


_AT_START: Mapping[str, Callable[[Settings], object]] = {
    "instance": lambda settings: settings.instance,
    "state.url": lambda settings: settings.state_url,
    "state.password": lambda settings: settings.state_password,
    "service.workers": lambda settings: settings.service.workers,  # threads, and connections to the journal
    "log": lambda settings: settings.log,
    "http": lambda settings: settings.http,
}
"""What a running service can't change."""


def need_a_restart(before: Settings, after: Settings) -> list[Problem]:
    """Every setting that differs and is only read at the start."""
    return [
        Problem(str(after.source), 0, name, "another value than at the start", "it needs a restart")
        for name, value in _AT_START.items()
        if value(before) != value(after)
    ]


class Reloader:
    """Makes an application of every good configuration that comes after the first one.

    :param application: what runs now.
    :param apply_soon: called when ``take`` has something.
    :param trouble: ``REFUSED``, where what runs now is not what was read last.
    """

    def __init__(
        self,
        application: Application,
        supervisor: Supervisor,
        apply_soon: Callable[[], None],
        *,
        trouble: str = "",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._latest = application
        self._supervisor = supervisor
        self._apply_soon = apply_soon
        self._environ = environ
        self._watched = Watched(application.settings.source)
        self._seen = ""  # nothing: a file may have changed since it was read at the start
        self._ready: queue.SimpleQueue[tuple[Application, Changes]] = queue.SimpleQueue()
        self.trouble = trouble
        self.threads: list[threading.Thread] = []

    def run(self, signals: Signals, every: timedelta) -> None:
        """Never returns; in a thread of its own, that ends with the process."""

        def watch() -> None:
            while True:
                asked = signals.reload.wait(every.total_seconds())
                signals.reload.clear()
                self.look(asked=asked)

        self.threads = [threading.Thread(target=watch, name="configuration", daemon=True)]
        self.threads[0].start()

    def take(self) -> tuple[Application, Changes] | None:
        """A configuration that is to be put in force, and what is new in it; the oldest first."""
        return None if self._ready.empty() else self._ready.get()

    def look(self, *, asked: bool) -> None:
        """Read the configuration anew, if somebody asked for it or if its files have changed.

        :param asked: put it in force even if nothing in it has changed: with credentials that are read anew.
        """
        settings = self._latest.settings
        on_change = settings.service.reload == ON_CHANGE
        if not asked and not on_change:
            return
        digest = self._watched.digest()
        if not asked and digest == self._seen:
            return
        self._seen = digest
        self._supervisor.reloading()
        candidate: Application | None = None
        try:
            after = load(settings.source, self._environ)
            if problems := need_a_restart(settings, after):
                raise ConfigError(problems)  # noqa: TRY301 - refused like any other that is wrong
            if asked or after != settings:
                candidate = self._latest.rewired(after)
                _try_out(candidate)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service runs on with what it has
            if candidate:
                give_back(candidate)
            self.trouble = REFUSED
            refused(error, settings.source)
            self._supervisor.reloaded(self.trouble)
            return
        self.trouble = ""
        if candidate is None:
            self._supervisor.reloaded("the configuration is as it was")
            return
        self._latest = candidate
        self._ready.put((candidate, changes(settings, after)))
        self._apply_soon()


def _try_out(candidate: Application) -> None:
    """Make the adapters: what is wrong with their settings shows now. What may pass is left for the looks."""
    for name, make in candidate.adapters():
        try:
            make()
        except RotatorError as error:
            if not error.retryable:
                raise
            structlog.get_logger().warning("adapter.not_made", adapter=name, reason=str(error))


def refused(error: Exception, source: Path) -> None:
    """Log every fault of a configuration that is not put in force."""
    log = structlog.get_logger()
    if isinstance(error, ConfigError):
        for one in error.problems[:MOST_TOLD]:
            told = {part.name: getattr(one, part.name) for part in fields(one)}
            told["allowed"] = one.allowed.removeprefix("allowed: ")  # a word of the sentence; here the field says it
            log.error("configuration.fault", **told)
        reason = f"faults: {len(error.problems)}"
    elif isinstance(error, RotatorError):
        reason = str(error)
    else:
        log.error("configuration.crashed", exc_info=error)
        reason = f"unexpected {type(error).__name__}; the log has its traceback"
    log.error("configuration.kept", file=str(source), reason=reason)
