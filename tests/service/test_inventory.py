"""The first inventory: what is found, and above all what is never sent to the provider. Promises 3 and 6."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rotator.domain.model import Identity, KeyKind, Refused
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, ProviderUnavailable, WrongDestination
from rotator.ports import Listed, Spot
from rotator.service.inventory import Inventory, Sending, sending, take_inventory
from tests.domain.build import NOW
from tests.fakes.provider import FakeProvider

KEY = "tgp_v1_" + "k" * 43


class FakeListing:
    """A ``Listing`` of places by name; a field that is an error is raised when the place is read."""

    def __init__(self, places: Mapping[str, Mapping[str, str] | Exception]) -> None:
        self.contents = places
        self.problems: tuple[tuple[str, str], ...] = ()

    def places(self, pattern: str) -> Listed:
        if pattern == "closed":
            raise BackendDenied("list on closed: permission denied")
        return Listed(tuple(Spot(options=(("path", name),), name=name) for name in self.contents), self.problems)

    def fields(self, spot: Spot) -> Mapping[str, SecretValue]:
        content = self.contents[spot.name]
        if isinstance(content, Exception):
            raise content
        return {name: SecretValue(text) for name, text in content.items()}


class AskedProvider(FakeProvider):
    """Remembers what it was asked about."""

    def __init__(self) -> None:
        super().__init__(now=lambda: NOW)
        self.asked: list[str] = []

    def identify(self, secret: SecretValue) -> Identity | Refused:
        self.asked.append(secret.reveal())
        return super().identify(secret)


@pytest.fixture
def provider() -> AskedProvider:
    return AskedProvider()


def take(
    provider: FakeProvider, places: Mapping[str, Mapping[str, str] | Exception], *, named: tuple[str, ...] = ()
) -> Inventory:
    listing = FakeListing(places)
    searches = [("one", "*"), ("one", "again/*")]
    return take_inventory(searches, listings=lambda _name: listing, provider=lambda: provider, named=named, workers=2)


def test_the_same_key_in_several_places_is_found_once_and_asked_about_once(provider: AskedProvider) -> None:
    one = provider.create_by_hand("proj_a", "one")
    two = provider.create_by_hand("proj_b", "two")
    first, second = one.secret.reveal(), two.secret.reveal()
    inventory = take(provider, {"a": {"KEY": first}, "b": {"KEY": first, "OTHER": second}, "c": {"TOKEN": second}})

    told = [(found.answer, [place.name for place in found.places]) for found in inventory.found]
    assert [(answer.key_id, answer.project, names) for answer, names in told if isinstance(answer, Identity)] == [
        (one.facts.key_id, "proj_a", ["one:a#KEY", "one:b#KEY"]),
        (two.facts.key_id, "proj_b", ["one:b#OTHER", "one:c#TOKEN"]),
    ]
    assert sorted(provider.asked) == sorted([first, second])
    assert inventory.looked_at == 3


OTHERS = {
    "DATABASE_URL": "postgresql://app:secret@db/app",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "OPENAI_API_KEY": "sk-proj-abcdef",
    "TOGETHER_API_KEY": "0123456789abcdef" * 4,
    "CONFIG": '{"auth": {"header": "Bearer ' + KEY + '"}}',
    "PEM": "tgp_v1_\n-----BEGIN PRIVATE KEY-----",
    "LONG": "tgp_v1_" + "x" * 600,
}


def test_no_value_of_another_form_is_ever_sent_and_its_place_alone_is_told(provider: AskedProvider) -> None:
    """Promise 3: a secret of somebody else's must not go to the provider."""
    inventory = take(provider, {"a": OTHERS})

    assert provider.asked == []
    assert inventory.found == ()
    assert dict(inventory.aside) == {
        "one:a#TOGETHER_API_KEY": Sending.OTHER_FORM,
        "one:a#CONFIG": Sending.WITHIN,
        "one:a#PEM": Sending.WITHIN,
        "one:a#LONG": Sending.WITHIN,
    }
    assert not any(text in repr(inventory) for text in OTHERS.values())


def test_a_field_that_the_operator_names_is_asked_about_and_no_other_one(provider: AskedProvider) -> None:
    legacy = provider.legacy_key().secret.reveal()
    inventory = take(provider, {"a": {**OTHERS, "LEGACY": legacy, "NAMED": "two words"}}, named=("LEGACY", "NAMED"))

    assert provider.asked == [legacy]
    (found,) = inventory.found
    assert isinstance(found.answer, Identity)
    assert found.answer.kind is KeyKind.LEGACY
    assert sending("NAMED", SecretValue("two words"), ["NAMED"]) is Sending.OTHER_FORM


def test_what_can_not_be_read_or_asked_is_told_and_stops_nothing(provider: AskedProvider) -> None:
    key = provider.create_by_hand("proj_a", "one")
    provider.fail("identify", ProviderUnavailable("503"))
    listing = FakeListing({"a": {"KEY": key.secret.reveal()}, "b": WrongDestination("b: the secret is binary")})
    listing.problems = (("deep", "list on deep: permission denied"),)
    inventory = take_inventory(
        [("one", "*"), ("one", "closed")],
        listings=lambda _name: listing,
        provider=lambda: provider,
        named=(),
        workers=1,
    )
    assert [found.answer for found in inventory.found] == ["503"]
    assert inventory.problems == (
        ("one:deep", "list on deep: permission denied"),
        ("one:closed", "list on closed: permission denied"),
        ("one:b", "b: the secret is binary"),
    )


def test_where_there_is_nothing_nobody_is_asked_and_no_provider_is_made() -> None:
    def none() -> FakeProvider:
        raise AssertionError("there is nothing to ask")

    listing = FakeListing({"a": {"MODEL": "big"}})
    inventory = take_inventory([("one", "*")], listings=lambda _name: listing, provider=none, named=(), workers=1)
    assert (inventory.found, inventory.aside, inventory.problems) == ((), (), ())
