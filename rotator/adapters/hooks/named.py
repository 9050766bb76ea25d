"""The configured hooks by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from rotator.errors import HookFailed
from rotator.ports import HookRunner, News


class Hook(Protocol):
    """One hook; see ``HookRunner.run``. A message of ``HookFailed`` says what happened, without the name."""

    def tell(self, hook: str, news: News, pulse: Callable[[], None]) -> None:
        """Run it once."""
        ...


class NamedHooks(HookRunner):
    """``ports.HookRunner`` over hooks that are made when they are run: a secret is read when it is needed."""

    def __init__(self, hooks: Mapping[str, Callable[[], Hook]]) -> None:
        self._hooks = hooks

    def run(self, hook: str, news: News, pulse: Callable[[], None]) -> None:
        """See ``ports.HookRunner``."""
        make = self._hooks.get(hook)
        if make is None:
            raise HookFailed(f"hook {hook}: it is not configured")
        try:
            make().tell(hook, news, pulse)
        except HookFailed as error:
            raise HookFailed(f"hook {hook}: {error}") from error.__cause__
