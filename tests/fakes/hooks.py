"""Hooks in memory: what was told, and what is to fail."""

from __future__ import annotations

from collections.abc import Callable

from rotator.errors import HookFailed
from rotator.ports import HookRunner, News

NEWS = News(
    instance="prod",
    policy="chat",
    project="proj_a",
    key_id="key_new",
    old_key_ids=("key_old",),
    destinations=("vault:secret/chat#KEY", "dotenv:/srv/.env#KEY"),
)
"""What a hook is told after a rotation."""


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
