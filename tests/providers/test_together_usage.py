"""What billing tells of a key's use, and what the clock of the provider says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from rotator.adapters.providers.together import TogetherProvider
from rotator.domain.secret import SecretValue
from rotator.errors import ProviderNonsense, ProviderUnavailable
from tests.parts.simulator import ORGANIZATION, PROJECT, Simulator
from tests.providers.tiny import TinyServer

HOUR = timedelta(hours=1)


@pytest.fixture
def together(simulator: Simulator) -> Iterator[TogetherProvider]:
    provider = TogetherProvider(base_url=simulator.base_url, management_key=simulator.management_key, timeout=5)
    yield provider
    provider.close()


def test_a_key_that_was_billed_is_told_with_the_end_of_its_hour(
    simulator: Simulator, together: TogetherProvider
) -> None:
    key, other = (simulator.create_key_by_hand(PROJECT, name) for name in ("used", "quiet"))
    simulator.chat(key.secret)
    now = simulator.advance(3600)
    found = together.used_until([key.key_id, other.key_id], now - timedelta(days=1), other.secret, ORGANIZATION)
    assert found == {key.key_id: now.replace(minute=0, second=0, microsecond=0)}
    assert together.used_until([key.key_id], now + HOUR, other.secret, ORGANIZATION) == {}


def test_an_organisation_without_billing_tells_nothing(simulator: Simulator) -> None:
    organization = simulator.create_organization("Initech", billing_usage=False)
    project = simulator.create_project("Web", organization=organization)
    key = simulator.create_key_by_hand(project)
    manager = simulator.create_management_key(organization)
    provider = TogetherProvider(base_url=simulator.base_url, management_key=manager, timeout=5)
    simulator.chat(key.secret)
    now = simulator.advance(3600)
    assert provider.used_until([key.key_id], now - timedelta(days=1), key.secret, organization) == {}
    provider.close()


def test_every_month_since_the_moment_is_asked_for(tiny: TinyServer) -> None:
    provider = TogetherProvider(
        base_url=tiny.base_url,
        management_key=SecretValue("management"),
        now=lambda: datetime(2027, 1, 15, tzinfo=UTC),
    )
    tiny.say("/v1/billing/usage", 200, {"data": [], "next_cursor": None})
    assert provider.used_until(["key_1"], datetime(2026, 11, 30, tzinfo=UTC), SecretValue("k" * 20), "org_1") == {}
    assert len(tiny.seen) == 3
    provider.close()


@pytest.mark.parametrize(
    "body",
    [
        {"data": {}},
        {"data": [{"end_time": "2026-11-01T00:00:00Z"}]},
        {"data": [{"line_items": []}]},
        {"data": [{"end_time": "yesterday", "line_items": []}]},
    ],
)
def test_figures_that_can_not_be_read_are_nonsense(
    tiny: TinyServer, provider: TogetherProvider, body: dict[str, object]
) -> None:
    tiny.say("/v1/billing/usage", 200, body)
    with pytest.raises(ProviderNonsense):
        provider.used_until(["key_1"], datetime.now(UTC), SecretValue("k" * 20), None)


def test_figures_that_can_not_be_had_now_are_no_absence_of_use(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say("/v1/billing/usage", 503, {})
    with pytest.raises(ProviderUnavailable):
        provider.used_until(["key_1"], datetime.now(UTC), SecretValue("k" * 20), None)


@pytest.mark.parametrize("year", ["1969", "9999"])
def test_a_date_that_no_clock_shows_is_none(tiny: TinyServer, provider: TogetherProvider, year: str) -> None:
    """A lifetime before or after it there may be no date: each look would end in that."""
    tiny.say("/v1/billing/usage", 503, {}, Date=f"Thu, 01 Jan {year} 00:00:00 GMT")
    with pytest.raises(ProviderUnavailable):
        provider.used_until(["key_1"], datetime.now(UTC), SecretValue("k" * 20), None)
    assert provider.skew() is None


def test_the_provider_s_clock_is_compared_with_ours(simulator: Simulator, together: TogetherProvider) -> None:
    assert together.skew() is None
    together.list_keys(PROJECT)
    skew = together.skew()
    assert skew is not None
    assert abs(skew) < timedelta(seconds=5)
    simulator.advance(3 * 3600)
    together.list_keys(PROJECT)
    skew = together.skew()
    assert skew is not None
    assert abs(skew - 3 * HOUR) < timedelta(seconds=5)
