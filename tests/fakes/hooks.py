"""Hooks in memory: what was told, and what is to fail."""

from __future__ import annotations

from collections.abc import Callable

from rotator.errors import HookFailed
from rotator.ports import HookRunner, News


class FakeHooks(HookRunner):
    """Follows ``HookRunner``; ``failing`` has the names of the hooks that do not succeed."""

    def __init__(self) -> None:
        self.told: list[tuple[str, News]] = []
        self.tried: list[str] = []
        self.failing: set[str] = set()

    def run(self, hook: str, news: News, pulse: Callable[[], None]) -> None:
        pulse()
        self.tried.append(hook)
        if hook in self.failing:
            raise HookFailed(f"hook {hook}: ended with 1")
        self.told.append((hook, news))
