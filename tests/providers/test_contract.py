"""The contract of ``rotator.ports.KeyProvider``: what the fake and the real adapter have in common, guarded or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from rotator.adapters.providers.together import TogetherPaths, TogetherProvider
from rotator.clock import SystemClock
from rotator.domain.secret import SecretValue
from rotator.ports import KeyProvider
from rotator.service.guard import GuardedProvider, Limits
from rotator.testing.providers import ProviderContract, ProviderWorld, PublicProviderContract
from tests.fakes.provider import DrivenClock, FakeProvider
from tests.parts.simulator import OTHER_PROJECT, PROJECT, Simulator


class FakeWorld:
    project, other_project = PROJECT, OTHER_PROJECT

    def __init__(self) -> None:
        self.clock = DrivenClock()
        self.fake = FakeProvider(self.clock)
        self.provider: KeyProvider = self.fake

    def now(self) -> datetime:
        return self.clock()

    def advance(self, duration: timedelta) -> None:
        self.clock.advance(duration)

    def make_by_hand(self, name: str) -> tuple[str, SecretValue]:
        issued = self.fake.create_by_hand(PROJECT, name)
        return issued.facts.key_id, issued.secret

    def revoke_by_hand(self, key_id: str) -> None:
        self.fake.revoke_by_hand(key_id)

    def legacy_key(self) -> tuple[str, SecretValue]:
        issued = self.fake.legacy_key()
        return issued.facts.key_id, issued.secret

    def slow_news(self, *, accept_after: float, refuse_after: float) -> None:
        self.fake = FakeProvider(
            self.clock, accept_after=timedelta(seconds=accept_after), refuse_after=timedelta(seconds=refuse_after)
        )
        self.provider = self.fake


@dataclass
class RealWorld:
    simulator: Simulator
    provider: KeyProvider
    project: str = PROJECT
    other_project: str = OTHER_PROJECT

    def now(self) -> datetime:
        return datetime.fromisoformat(self.simulator.state()["now"])

    def advance(self, duration: timedelta) -> None:
        self.simulator.advance(duration.total_seconds())

    def make_by_hand(self, name: str) -> tuple[str, SecretValue]:
        key = self.simulator.create_key_by_hand(PROJECT, name)
        return key.key_id, key.secret

    def revoke_by_hand(self, key_id: str) -> None:
        self.simulator.revoke_by_hand(key_id)

    def legacy_key(self) -> tuple[str, SecretValue]:
        key = self.simulator.regenerate_legacy_key()
        return key.key_id, key.secret

    def slow_news(self, *, accept_after: float, refuse_after: float) -> None:
        self.simulator.settings(accept_after=accept_after, refuse_after=refuse_after)


class GuardedWorld:
    """Another world, whose provider is called through a guard. Every other attribute is the other world's."""

    def __init__(self, world: FakeWorld | RealWorld) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    @property
    def provider(self) -> KeyProvider:
        return GuardedProvider(
            self._world.provider, name="guarded", clock=SystemClock(), limits=Limits(concurrency=1, rate=1000)
        )


@pytest.fixture(params=["fake", "guarded fake", "together", "guarded together"])
def world(request: pytest.FixtureRequest) -> Iterator[ProviderWorld]:
    made = FakeWorld() if request.param.endswith("fake") else _real(request.getfixturevalue("simulator"))
    yield GuardedWorld(made) if request.param.startswith("guarded") else made
    made.provider.close()


def _real(simulator: Simulator) -> RealWorld:
    provider = TogetherProvider(base_url=simulator.base_url, management_key=simulator.management_key)
    return RealWorld(simulator, provider)


class TestEveryProvider(ProviderContract):
    """With the fixture ``world`` above."""


@pytest.mark.parametrize("paths", [TogetherPaths(), TogetherPaths(whoami="/v3/unknown")], ids=["nested", "flat"])
class TestAProviderWhoseKeysPeopleMake(PublicProviderContract):
    """With both forms of whoami; at the end, no endpoint that manages keys was called."""

    @pytest.fixture
    def world(self, simulator: Simulator, paths: TogetherPaths) -> Iterator[ProviderWorld]:
        simulator.clear_requests()
        provider = TogetherProvider(base_url=simulator.base_url, management_key=None, paths=paths)
        yield RealWorld(
            simulator, GuardedProvider(provider, name="people", clock=SystemClock(), limits=Limits(concurrency=4))
        )
        provider.close()
        assert not any("api-keys" in request.template for request in simulator.requests())
