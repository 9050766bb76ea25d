"""One process of ours: the real service, guards and journal over fakes, on a clock that is driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.model import Policy
from rotator.metrics.counted import Counted
from rotator.service.assembly import assemble
from rotator.service.budget import Budget
from rotator.service.guard import DEFAULT, GuardedBackend, GuardedProvider, Limits
from rotator.service.session import RetiredSecrets
from rotator.service.upkeep import Upkeep
from tests.fakes.hooks import FakeHooks

LIMITS = Limits(concurrency=8, rate=None)
LEASE = timedelta(minutes=5)


class Process:
    """:param ports: the provider, and the backends by name."""

    def __init__(
        self,
        name: str,
        *,
        url: str,
        dead: set[str],
        clock: Any,
        provider: Any,
        backends: Mapping[str, Any],
        upkeep: Mapping[str, Any],
    ) -> None:
        self.name, self._clock, self._provider, self._backends = name, clock, provider, backends
        self.journal = SqlJournal.open(url, is_dead=dead.__contains__, who="service@here", pool_size=2)
        self.upkeep = Upkeep(history=self.journal.history, instance="prod", **upkeep)
        self._observer, self._retired, self._hooks = Counted(), RetiredSecrets(), FakeHooks()

    def configure(self, policies: Sequence[Policy]) -> None:
        """What a start and a reload do: every adapter anew, and the journal as it is."""
        guard = {"clock": self._clock, "limits": LIMITS, "observer": self._observer}
        provider = GuardedProvider(self._provider, name="together", **guard)
        made = {
            name: GuardedBackend(one, name=name, thresholds=DEFAULT, **guard) for name, one in self._backends.items()
        }

        assembled = assemble(
            providers=lambda _name: provider,
            backends=made.__getitem__,
            journal=self.journal,
            policies=tuple(policies),
            budget=Budget(
                most=10**6,
                begins_at=lambda now: now - timedelta(hours=1),
                journal=self.journal,
                policies=tuple(policies),
            ),
            runner=self._hooks,
            retired=self._retired,
            clock=self._clock,
            holder=self.name,
            lease_ttl=LEASE,
            draw=lambda: 0.5,
            observer=self._observer,
        )
        self.reconciler = assembled.reconciler
        self._hooks.told.clear()
        self._hooks.tried.clear()

    def close(self) -> None:
        self.journal.close()
