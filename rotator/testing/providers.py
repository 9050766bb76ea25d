"""The contract of ``rotator.ports.KeyProvider`` as tests, for whoever writes a provider.

Subclass ``ProviderContract`` and give it a fixture ``world``: a ``ProviderWorld``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from rotator.domain.model import Identity, IssuedKey, KeyFacts, KeyKind, Refused
from rotator.domain.secret import SecretValue
from rotator.errors import ProviderDenied, ProviderRejected
from rotator.ports import KeyProvider

DAY = timedelta(days=1)


class ProviderWorld(Protocol):
    """A provider, and the hand of a test that changes what is behind it. No key yet in either project."""

    project: str
    other_project: str

    @property
    def provider(self) -> KeyProvider:
        """What is tested."""
        ...

    def now(self) -> datetime:
        """By the provider's clock."""
        ...

    def advance(self, duration: timedelta) -> None:
        """Turn that clock."""
        ...

    def make_by_hand(self, name: str) -> tuple[str, SecretValue]:
        """A person makes a key in ``project``: its id and secret."""
        ...

    def revoke_by_hand(self, key_id: str) -> None:
        """A person revokes a key."""
        ...

    def legacy_key(self) -> tuple[str, SecretValue]:
        """The key that belongs to no project and can't be revoked: its id and secret."""
        ...

    def slow_news(self, *, accept_after: float, refuse_after: float) -> None:
        """From now on a new key is accepted, and a revoked one refused, so many seconds later."""
        ...


def _create(world: ProviderWorld, name: str = "rotator-test", lifetime: timedelta = 30 * DAY) -> IssuedKey:
    return world.provider.create_key(world.project, name, world.now() + lifetime)


def _listed(world: ProviderWorld) -> dict[str, KeyFacts]:
    return {facts.key_id: facts for facts in world.provider.list_keys(world.project)}


class PublicProviderContract:
    """What a provider keeps whose keys people make and revoke: whoami alone; the rest is refused, and not sent."""

    def test_a_key_that_a_person_made_is_what_whoami_says_it_is(self, world: ProviderWorld) -> None:
        key_id, secret = world.make_by_hand("by hand")
        identity = world.provider.identify(secret)
        assert isinstance(identity, Identity)
        assert (identity.kind, identity.key_id, identity.project) == (KeyKind.PROJECT, key_id, world.project)
        assert identity.organization

    def test_the_legacy_organisation_key_is_told_apart_by_whoami(self, world: ProviderWorld) -> None:
        key_id, secret = world.legacy_key()
        identity = world.provider.identify(secret)
        assert isinstance(identity, Identity)
        assert (identity.kind, identity.key_id, identity.project) == (KeyKind.LEGACY, key_id, None)

    def test_a_key_that_a_person_revoked_is_refused(self, world: ProviderWorld) -> None:
        key_id, secret = world.make_by_hand("by hand")
        world.revoke_by_hand(key_id)
        assert world.provider.identify(secret) == Refused("401 invalid_api_key")

    def test_nothing_that_manages_keys_is_sent(self, world: ProviderWorld) -> None:
        provider, ends = world.provider, world.now() + DAY
        for call in (
            lambda: provider.create_key(world.project, "name", ends),
            lambda: provider.list_keys(world.project),
            lambda: provider.set_expiration(world.project, "key_1", ends),
            lambda: provider.revoke_key(world.project, "key_1"),
        ):
            with pytest.raises(ProviderDenied) as refused:
                call()
            assert not refused.value.retryable


class ProviderContract:
    """What every provider keeps."""

    def test_a_created_key_is_what_whoami_says_it_is(self, world: ProviderWorld) -> None:
        issued = _create(world)
        identity = world.provider.identify(issued.secret)
        assert isinstance(identity, Identity)
        assert (identity.kind, identity.key_id, identity.project) == (
            KeyKind.PROJECT,
            issued.facts.key_id,
            world.project,
        )

    def test_a_created_key_has_the_name_project_and_expiration_that_were_asked_for(self, world: ProviderWorld) -> None:
        expires_at = world.now() + DAY
        facts = world.provider.create_key(world.project, "rotator-prod-chat", expires_at).facts
        assert (facts.name, facts.project, facts.expires_at) == ("rotator-prod-chat", world.project, expires_at)
        assert facts.created_at is not None
        assert facts.created_at.tzinfo is UTC

    def test_the_list_shows_a_created_key_without_its_secret(self, world: ProviderWorld) -> None:
        issued = _create(world)
        assert _listed(world)[issued.facts.key_id] == issued.facts

    def test_the_list_shows_the_keys_of_its_project_only(self, world: ProviderWorld) -> None:
        other = world.provider.create_key(world.other_project, "elsewhere", world.now() + DAY)
        assert other.facts.key_id not in _listed(world)

    def test_the_list_has_all_pages(self, world: ProviderWorld) -> None:
        ids = [_create(world, f"key-{number}").facts.key_id for number in range(205)]
        assert list(_listed(world)) == ids

    def test_the_list_tells_who_made_a_key_by_hand(self, world: ProviderWorld) -> None:
        key_id, _ = world.make_by_hand("by hand")
        assert _listed(world)[key_id].name == "by hand"

    def test_a_second_creation_makes_a_second_key_even_with_the_same_name(self, world: ProviderWorld) -> None:
        first, second = _create(world, "same"), _create(world, "same")
        assert first.facts.key_id != second.facts.key_id
        assert not first.secret.same_as(second.secret)

    def test_a_revoked_key_is_refused_and_leaves_the_list(self, world: ProviderWorld) -> None:
        issued = _create(world)
        world.provider.revoke_key(world.project, issued.facts.key_id)
        assert world.provider.identify(issued.secret) == Refused("401 invalid_api_key")
        assert issued.facts.key_id not in _listed(world)

    def test_revoking_a_key_that_is_gone_is_a_success(self, world: ProviderWorld) -> None:
        issued = _create(world)
        world.revoke_by_hand(issued.facts.key_id)
        world.provider.revoke_key(world.project, issued.facts.key_id)
        world.provider.revoke_key(world.project, "key_that_never_was")
        assert _listed(world) == {}

    def test_revoking_touches_no_other_key(self, world: ProviderWorld) -> None:
        keep, drop = _create(world, "keep"), _create(world, "drop")
        world.provider.revoke_key(world.project, drop.facts.key_id)
        assert list(_listed(world)) == [keep.facts.key_id]
        assert isinstance(world.provider.identify(keep.secret), Identity)

    def test_the_legacy_organisation_key_is_told_apart_and_can_not_be_revoked(self, world: ProviderWorld) -> None:
        key_id, secret = world.legacy_key()
        with pytest.raises(ProviderRejected):
            world.provider.revoke_key(world.project, key_id)
        identity = world.provider.identify(secret)
        assert isinstance(identity, Identity)
        assert (identity.kind, identity.key_id, identity.project) == (KeyKind.LEGACY, key_id, None)

    def test_a_key_is_refused_from_its_expiration_on(self, world: ProviderWorld) -> None:
        issued = _create(world, lifetime=DAY)
        world.advance(DAY)
        assert isinstance(world.provider.identify(issued.secret), Refused)
        assert issued.facts.key_id not in _listed(world)

    def test_an_expiration_can_be_set_again_and_again(self, world: ProviderWorld) -> None:
        issued = _create(world)
        sooner = world.now() + DAY
        for _ in range(2):
            world.provider.set_expiration(world.project, issued.facts.key_id, sooner)
        assert _listed(world)[issued.facts.key_id].expires_at == sooner

    def test_setting_the_expiration_of_a_key_that_is_gone_is_rejected(self, world: ProviderWorld) -> None:
        with pytest.raises(ProviderRejected):
            world.provider.set_expiration(world.project, "key_that_never_was", world.now() + DAY)

    def test_an_expiration_in_the_past_is_rejected_and_changes_nothing(self, world: ProviderWorld) -> None:
        issued = _create(world)
        with pytest.raises(ProviderRejected):
            world.provider.set_expiration(world.project, issued.facts.key_id, world.now() - DAY)
        assert _listed(world)[issued.facts.key_id] == issued.facts

    def test_whoami_counts_as_use_and_the_list_shows_it(self, world: ProviderWorld) -> None:
        issued = _create(world)
        assert _listed(world)[issued.facts.key_id].last_used_at is None
        world.provider.identify(issued.secret)
        assert _listed(world)[issued.facts.key_id].last_used_at is not None

    def test_a_secret_that_nobody_issued_is_refused(self, world: ProviderWorld) -> None:
        assert world.provider.identify(SecretValue("tgp_v1_" + "x" * 43)) == Refused("401 invalid_api_key")

    @pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "naïve", "\ud800"])
    def test_a_text_that_no_header_can_carry_is_refused_unsent(self, world: ProviderWorld, text: str) -> None:
        assert world.provider.identify(SecretValue(text)) == Refused("malformed: never sent")

    def test_a_new_key_may_take_seconds_to_be_accepted_and_a_revoked_one_to_be_refused(
        self, world: ProviderWorld
    ) -> None:
        world.slow_news(accept_after=5, refuse_after=5)
        issued = _create(world)
        assert isinstance(world.provider.identify(issued.secret), Refused)
        world.advance(timedelta(seconds=6))
        assert isinstance(world.provider.identify(issued.secret), Identity)
        world.provider.revoke_key(world.project, issued.facts.key_id)
        assert isinstance(world.provider.identify(issued.secret), Identity)
        world.advance(timedelta(seconds=6))
        assert isinstance(world.provider.identify(issued.secret), Refused)
