"""The contract of ``rotator.ports.KeyProvider``: what the fake and the real adapter have in common, guarded or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from rotator.adapters.providers.together import TogetherProvider
from rotator.clock import SystemClock
from rotator.domain.model import Identity, IssuedKey, KeyFacts, KeyKind, Refused
from rotator.domain.secret import SecretValue
from rotator.errors import ProviderRejected
from rotator.ports import KeyProvider
from rotator.service.guard import GuardedProvider, Limits
from tests.fakes.provider import DrivenClock, FakeProvider
from tests.parts.simulator import OTHER_PROJECT, PROJECT, Simulator

DAY = timedelta(days=1)


class World(Protocol):
    """A provider, and the hand of a test that changes what is behind it."""

    provider: KeyProvider

    def now(self) -> datetime: ...
    def advance(self, duration: timedelta) -> None: ...
    def make_by_hand(self, name: str) -> tuple[str, SecretValue]: ...
    def revoke_by_hand(self, key_id: str) -> None: ...
    def legacy_key(self) -> tuple[str, SecretValue]: ...
    def slow_news(self, *, accept_after: float, refuse_after: float) -> None: ...


class FakeWorld:
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
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = FakeWorld() if request.param.endswith("fake") else _real(request.getfixturevalue("simulator"))
    yield GuardedWorld(made) if request.param.startswith("guarded") else made
    made.provider.close()


def _real(simulator: Simulator) -> RealWorld:
    provider = TogetherProvider(base_url=simulator.base_url, management_key=simulator.management_key)
    return RealWorld(simulator, provider)


def create(world: World, name: str = "rotator-test", lifetime: timedelta = 30 * DAY) -> IssuedKey:
    return world.provider.create_key(PROJECT, name, world.now() + lifetime)


def listed(world: World) -> dict[str, KeyFacts]:
    return {facts.key_id: facts for facts in world.provider.list_keys(PROJECT)}


def test_a_created_key_is_what_whoami_says_it_is(world: World) -> None:
    issued = create(world)
    identity = world.provider.identify(issued.secret)
    assert isinstance(identity, Identity)
    assert (identity.kind, identity.key_id, identity.project) == (KeyKind.PROJECT, issued.facts.key_id, PROJECT)


def test_a_created_key_has_the_name_project_and_expiration_that_were_asked_for(world: World) -> None:
    expires_at = world.now() + DAY
    facts = world.provider.create_key(PROJECT, "rotator-prod-chat", expires_at).facts
    assert (facts.name, facts.project, facts.expires_at) == ("rotator-prod-chat", PROJECT, expires_at)
    assert facts.created_at is not None
    assert facts.created_at.tzinfo is UTC


def test_the_list_shows_a_created_key_without_its_secret(world: World) -> None:
    issued = create(world)
    assert listed(world)[issued.facts.key_id] == issued.facts


def test_the_list_shows_the_keys_of_its_project_only(world: World) -> None:
    other = world.provider.create_key(OTHER_PROJECT, "elsewhere", world.now() + DAY)
    assert other.facts.key_id not in listed(world)


def test_the_list_has_all_pages(world: World) -> None:
    ids = [create(world, f"key-{number}").facts.key_id for number in range(205)]
    assert list(listed(world)) == ids


def test_the_list_tells_who_made_a_key_by_hand(world: World) -> None:
    key_id, _ = world.make_by_hand("by hand")
    assert listed(world)[key_id].name == "by hand"


def test_a_second_creation_makes_a_second_key_even_with_the_same_name(world: World) -> None:
    first, second = create(world, "same"), create(world, "same")
    assert first.facts.key_id != second.facts.key_id
    assert not first.secret.same_as(second.secret)


def test_a_revoked_key_is_refused_and_leaves_the_list(world: World) -> None:
    issued = create(world)
    world.provider.revoke_key(PROJECT, issued.facts.key_id)
    assert world.provider.identify(issued.secret) == Refused("401 invalid_api_key")
    assert issued.facts.key_id not in listed(world)


def test_revoking_a_key_that_is_gone_is_a_success(world: World) -> None:
    issued = create(world)
    world.revoke_by_hand(issued.facts.key_id)
    world.provider.revoke_key(PROJECT, issued.facts.key_id)
    world.provider.revoke_key(PROJECT, "key_that_never_was")
    assert listed(world) == {}


def test_revoking_touches_no_other_key(world: World) -> None:
    keep, drop = create(world, "keep"), create(world, "drop")
    world.provider.revoke_key(PROJECT, drop.facts.key_id)
    assert list(listed(world)) == [keep.facts.key_id]
    assert isinstance(world.provider.identify(keep.secret), Identity)


def test_the_legacy_organisation_key_is_told_apart_and_can_not_be_revoked(world: World) -> None:
    key_id, secret = world.legacy_key()
    with pytest.raises(ProviderRejected):
        world.provider.revoke_key(PROJECT, key_id)
    identity = world.provider.identify(secret)
    assert isinstance(identity, Identity)
    assert (identity.kind, identity.key_id, identity.project) == (KeyKind.LEGACY, key_id, None)


def test_a_key_is_refused_from_its_expiration_on(world: World) -> None:
    issued = create(world, lifetime=DAY)
    world.advance(DAY)
    assert isinstance(world.provider.identify(issued.secret), Refused)
    assert issued.facts.key_id not in listed(world)


def test_an_expiration_can_be_set_again_and_again(world: World) -> None:
    issued = create(world)
    sooner = world.now() + DAY
    for _ in range(2):
        world.provider.set_expiration(PROJECT, issued.facts.key_id, sooner)
    assert listed(world)[issued.facts.key_id].expires_at == sooner


def test_setting_the_expiration_of_a_key_that_is_gone_is_rejected(world: World) -> None:
    with pytest.raises(ProviderRejected):
        world.provider.set_expiration(PROJECT, "key_that_never_was", world.now() + DAY)


def test_an_expiration_in_the_past_is_rejected_and_changes_nothing(world: World) -> None:
    issued = create(world)
    with pytest.raises(ProviderRejected):
        world.provider.set_expiration(PROJECT, issued.facts.key_id, world.now() - DAY)
    assert listed(world)[issued.facts.key_id] == issued.facts


def test_whoami_counts_as_use_and_the_list_shows_it(world: World) -> None:
    issued = create(world)
    assert listed(world)[issued.facts.key_id].last_used_at is None
    world.provider.identify(issued.secret)
    assert listed(world)[issued.facts.key_id].last_used_at is not None


def test_a_secret_that_nobody_issued_is_refused(world: World) -> None:
    assert world.provider.identify(SecretValue("tgp_v1_" + "x" * 43)) == Refused("401 invalid_api_key")


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "naïve", "\ud800"])
def test_a_text_that_no_header_can_carry_is_refused_unsent(world: World, text: str) -> None:
    assert world.provider.identify(SecretValue(text)) == Refused("malformed: never sent")


def test_a_new_key_may_take_seconds_to_be_accepted_and_a_revoked_one_to_be_refused(world: World) -> None:
    world.slow_news(accept_after=5, refuse_after=5)
    issued = create(world)
    assert isinstance(world.provider.identify(issued.secret), Refused)
    world.advance(timedelta(seconds=6))
    assert isinstance(world.provider.identify(issued.secret), Identity)
    world.provider.revoke_key(PROJECT, issued.facts.key_id)
    assert isinstance(world.provider.identify(issued.secret), Identity)
    world.advance(timedelta(seconds=6))
    assert isinstance(world.provider.identify(issued.secret), Refused)
