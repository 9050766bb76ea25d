"""The configuration that is in force, and those before it that looks still use.

A look ends with the policy and the adapters that it began with, however the configuration changes meanwhile; the
adapters of an old one are closed when the last look that uses them is over.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rotator.bootstrap import Application
from rotator.domain.model import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One configuration, wired."""

    application: Application
    policies: Mapping[str, Policy]


def runtime_of(application: Application) -> Runtime:
    """With its policies by name."""
    return Runtime(application=application, policies={one.name: one for one in application.settings.policies})


class Runtimes:
    """Counts the looks that use each configuration."""

    def __init__(self, application: Application) -> None:
        self._current = runtime_of(application)
        self._users = {id(self._current): 0}
        self._changed = threading.Condition()

    @property
    def current(self) -> Runtime:
        """What a look that begins now uses."""
        return self._current

    @contextmanager
    def used(self) -> Iterator[Runtime]:
        """Around one look: its adapters are not closed before its end."""
        with self._changed:
            runtime = self._current
            self._users[id(runtime)] += 1
        try:
            yield runtime
        finally:
            with self._changed:
                self._users[id(runtime)] -= 1
                is_over = self._forget(runtime)
                self._changed.notify_all()
            if is_over:
                runtime.application.close_adapters()

    def swap(self, application: Application) -> None:
        """Put another configuration in force."""
        with self._changed:
            before, self._current = self._current, runtime_of(application)
            self._users[id(self._current)] = 0
            is_over = self._forget(before)
        if is_over:
            before.application.close_adapters()

    def wait_idle(self) -> None:
        """Until no look is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not any(self._users.values()))

    def _forget(self, runtime: Runtime) -> bool:
        """Whether it was an old one that nobody uses any more."""
        if runtime is self._current or self._users[id(runtime)]:
            return False
        del self._users[id(runtime)]
        return True
