"""The service over fakes and a real journal, on a clock that the test drives."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.model import Destination, Policy
from rotator.errors import Stopping
from rotator.service.assembly import assemble
from rotator.service.budget import Budget
from rotator.service.reconcile import Outcome
from rotator.service.session import RetiredSecrets
from tests.domain.build import NOW, POLICY
from tests.fakes.backend import FakeBackend
from tests.fakes.hooks import FakeHooks
from tests.fakes.provider import FakeProvider

PLACES = tuple(
    Destination(backend=name, name=f"{name}:app#KEY", options=(("field", "KEY"), ("path", "app")))
    for name in ("one", "two")
)


class DrivenClock:
    """Time stands still until somebody sleeps, or the test moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self.current = now
        self.stopping = False

    def now(self) -> datetime:
        return self.current

    def sleep(self, duration: timedelta) -> None:
        if self.stopping:
            raise Stopping("the service is shutting down")
        self.current += duration

    def advance(self, duration: timedelta) -> None:
        self.current += duration


class Stage:
    """One policy with two destinations, its provider, and everything to look at them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = DrivenClock()
        self.provider = FakeProvider(now=self.clock.now)
        self.backends = {"one": FakeBackend(), "two": FakeBackend(), "other": FakeBackend()}
        self.hooks = FakeHooks()
        self.policy: Policy = replace(POLICY, destinations=PLACES)
        self.policies: list[Policy] = [self.policy]
        self.most = 50
        self.restart()

    def restart(self) -> None:
        """A new process: nothing is kept but the journal and the world."""
        self.journal = SqlJournal.open(self.url, is_dead=lambda _holder: True)
        self.budget = Budget(
            most=self.most,
            begins_at=lambda now: now - timedelta(hours=1),
            journal=self.journal,
            policies=self.policies,
        )
        assembled = assemble(
            providers=self._provider,
            backends=self.backends.__getitem__,
            journal=self.journal,
            policies=self.policies,
            budget=self.budget,
            runner=self.hooks,
            retired=RetiredSecrets(),
            clock=self.clock,
            holder="test",
            lease_ttl=timedelta(minutes=5),
            draw=lambda: 0.5,
        )
        self.reconciler, self.desk = assembled.reconciler, assembled.desk

    def _provider(self, _name: str) -> FakeProvider:
        return self.provider

    def look(self) -> Outcome:
        return self.reconciler.reconcile(self.policy)

    def look_until_quiet(self, limit: timedelta) -> list[Outcome]:
        """Look whenever the last outcome says so, until nothing happens before ``limit`` from now."""
        end, outcomes = self.clock.now() + limit, [self.look()]
        while outcomes[-1].next_at <= end:
            self.clock.current = max(self.clock.current, outcomes[-1].next_at)
            outcomes.append(self.look())
        return outcomes

    def change_policy(self, **changes: object) -> None:
        """An edit of the configuration."""
        index = self.policies.index(self.policy)
        self.policy = self.policies[index] = replace(self.policy, **changes)

    def another_policy(self, name: str, **changes: object) -> Policy:
        """A second policy of the same project, with one destination of its own."""
        place = Destination(backend="other", name=f"other:{name}#KEY", options=(("field", "KEY"), ("path", name)))
        policy = replace(self.policy, name=name, destinations=(place,), **changes)
        self.policies.append(policy)
        return policy

    def put(self, policy: Policy, secret: str) -> None:
        """A person writes a value into every destination of a policy."""
        for place in policy.destinations:
            self.backends[place.backend].put_by_hand(place, secret)

    def lose_the_journal(self) -> None:
        """A new and empty journal."""
        self.journal.close()
        self.url = self.url.replace("state.db", "new.db")
        self.restart()

    def put_key_by_hand(self, **facts: object) -> str:
        """A person makes a key in the console, and pastes it into both destinations. Answers its id."""
        issued = self.provider.create_by_hand(self.policy.project, "my first key", **facts)
        for place in self.policy.destinations:
            self.backends[place.backend].put_by_hand(place, issued.secret.reveal())
        return issued.facts.key_id

    def held(self) -> list[str | None]:
        """The ids of the keys that the destinations hold."""
        values = [self.backends[place.backend].read(place).value for place in self.policy.destinations]
        return [self.provider._ids_by_fingerprint.get(value.fingerprint()) if value else None for value in values]

    def alive(self) -> set[str]:
        """The ids of all live keys of the project."""
        return set(self.provider.live(self.policy.project))


@pytest.fixture
def stage(tmp_path):
    made = Stage(f"sqlite:///{tmp_path}/state.db")
    yield made
    made.journal.close()
