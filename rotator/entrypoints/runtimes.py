"""The configuration that is in force, and those before it that looks still use.

A look ends with the policy and the adapters that it began with, however the configuration changes meanwhile; the
adapters of an old one are closed when the last look that uses them is over.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

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
        self._closing: list[threading.Thread] = []

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
                self._close(runtime)

    def swap(self, application: Application) -> None:
        """Put another configuration in force."""
        with self._changed:
            before, self._current = self._current, runtime_of(application)
            self._users[id(self._current)] = 0
            is_over = self._forget(before)
        if is_over:
            self._close(before)

    def wait_idle(self) -> None:
        """Until no look is under way, and what they used is closed."""
        with self._changed:
            self._changed.wait_for(lambda: not any(self._users.values()))
        self.wait_closed()

    def wait_closed(self) -> None:
        """Until the adapters of every configuration that is over are closed."""
        for thread in list(self._closing):
            thread.join()

    def _close(self, runtime: Runtime) -> None:
        """In a thread of its own: giving back a token asks a server, which may hang."""

        def close() -> None:
            try:
                runtime.application.close_adapters()
            except Exception:  # noqa: BLE001 - it is logged; the service runs on with the new configuration
                structlog.get_logger().exception("adapters.not_closed")

        thread = threading.Thread(target=close, name="closing", daemon=True)
        self._closing = [*(one for one in self._closing if one.is_alive()), thread]
        thread.start()

    def _forget(self, runtime: Runtime) -> bool:
        """Whether it was an old one that nobody uses any more."""
        if runtime is self._current or self._users[id(runtime)]:
            return False
        del self._users[id(runtime)]
        return True
