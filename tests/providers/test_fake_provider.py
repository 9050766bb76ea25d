"""The fake's own hooks; what it has in common with the real adapter is in ``test_contract``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.errors import OutcomeUnknown, ProviderUnavailable
from tests.fakes.provider import DrivenClock, FakeProvider

DAY = timedelta(days=1)


@pytest.mark.parametrize("after", [False, True])
def test_a_given_error_is_raised_before_or_after_the_effect_of_the_nth_call(*, after: bool) -> None:
    clock = DrivenClock()
    fake = FakeProvider(clock)
    fake.fail("create_key", OutcomeUnknown("lost"), nth=2, after=after)
    fake.create_key("p", "first", clock() + DAY)
    with pytest.raises(OutcomeUnknown):
        fake.create_key("p", "second", clock() + DAY)
    fake.create_key("p", "third", clock() + DAY)
    names = [facts.name for facts in fake.list_keys("p")]
    assert names == (["first", "second", "third"] if after else ["first", "third"])


def test_several_errors_are_raised_each_at_its_own_call() -> None:
    fake = FakeProvider(DrivenClock())
    fake.fail("list_keys", ProviderUnavailable("one"), nth=1)
    fake.fail("list_keys", ProviderUnavailable("three"), nth=3)
    outcomes: list[int | str] = []
    for _ in range(4):
        try:
            outcomes.append(len(fake.list_keys("p")))
        except ProviderUnavailable as error:
            outcomes.append(str(error))
    assert outcomes == ["one", 0, "three", 0]


def test_a_consumers_use_shows_in_the_list_and_a_look_at_live_keys_is_no_call() -> None:
    clock = DrivenClock()
    fake = FakeProvider(clock)
    key_id = fake.create_by_hand("p").facts.key_id
    clock.advance(DAY)
    fake.use(key_id)
    assert fake.live("p") == [key_id]
    assert fake.calls == []
    assert fake.list_keys("p")[0].last_used_at == clock()
