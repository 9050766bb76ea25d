"""The current key may end earlier than was known: somebody has set that, or nobody could know it before."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.record import Expiration
from rotator.service.desk import Taken
from rotator.service.forget import Forgotten, forget
from tests.domain.build import DAY
from tests.service.people import PEOPLE, AssistedStage
from tests.service.test_hard_cases import adopted, record, rotate_now


@pytest.fixture
def people(tmp_path):
    made = AssistedStage(f"sqlite:///{tmp_path}/state.db")
    made.change(assistance=PEOPLE)
    yield made
    made.journal.close()


def ends_well(stage, before):
    """Replaced ahead of its end."""
    stage.look_until_quiet(before - stage.clock.now() - timedelta(hours=1))
    (held,) = set(stage.held())
    assert record(stage).current.expires_at > before
    assert held == record(stage).current.key_id


def test_promise_1_an_earlier_end_that_a_person_sets_in_the_console_is_seen_within_a_day(stage):
    adopted(stage)
    stage.look_until_quiet(DAY)
    key_id, ends = record(stage).current.key_id, stage.clock.now() + 3 * DAY
    stage.provider.set_expiration(stage.policy.project, key_id, ends)
    ends_well(stage, ends)


def test_promise_1_the_end_of_a_persons_key_is_known_as_soon_as_there_is_a_list(people):
    ends = people.clock.now() + 3 * DAY
    people.put_key_by_hand(expires_at=ends)
    people.look()
    assert people.record.current.expires_at is None
    people.change(assistance=None)
    people.restart()
    ends_well(people, ends)


def test_promise_1_a_list_that_shows_a_later_end_changes_nothing(people):
    told = people.clock.now() + 20 * DAY
    given = people.make_key(expires_at=told + DAY)
    assert people.submit(given.secret, expires=Expiration(told)).taken is Taken.ACCEPTED
    people.change(assistance=None)
    people.restart()
    people.look()
    assert people.record.current.expires_at == told


def test_promise_1_a_look_that_was_suspended_for_days_looks_again_at_once(stage):
    adopted(stage)
    stage.put_key_by_hand(expires_at=stage.clock.now() + 2 * DAY)
    identify = stage.provider.identify

    def suspended(secret):
        answer = identify(secret)
        stage.provider.identify = identify
        stage.clock.advance(5 * DAY)
        return answer

    stage.provider.identify = suspended
    assert stage.look().next_at == stage.clock.now()
    stage.look()
    assert set(stage.held()) <= stage.alive()


def of_another_provider(stage):
    """The policy's provider is another one now; the key that it had before is past its grace. Answers its id."""
    rotate_now(stage)
    stage.look()
    old = stage.held()[0]
    stage.policy = stage.policies[0] = replace(stage.policy, provider="another", digest="d2")
    rotate_now(stage)
    stage.look()
    stage.clock.advance(2 * DAY)
    stage.look()
    assert alerts(stage) == ["OfAnotherProvider"]
    return old


def alerts(stage):
    return [check for check, _ in stage.journal.look(stage.policy.name).alerts]


def test_promise_4_the_alarm_of_a_key_of_another_provider_ends_with_the_key(stage):
    old = of_another_provider(stage)
    ends = record(stage).key(old).expires_at
    stage.look_until_quiet(ends - stage.clock.now())
    assert alerts(stage) == ["OfAnotherProvider"]
    stage.look_until_quiet(2 * DAY)
    assert (record(stage).key(old), alerts(stage)) == (None, [])
    assert not stage.provider.is_revoked(old)


def test_promise_4_where_people_make_the_keys_too_it_ends_with_the_key(people):
    first = people.make_key(expires_at=people.clock.now() + 30 * DAY)
    people.look()
    assert people.submit(first.secret, expires=Expiration(people.clock.now() + 30 * DAY)).taken is Taken.ACCEPTED
    people.change(provider="another", digest="d2")
    rotate_now(people)
    people.look()
    assert people.submit(people.make_key().secret).taken is Taken.ACCEPTED
    people.clock.advance(2 * DAY)
    people.look()
    assert alerts(people) == ["OfAnotherProvider"]
    people.clock.advance(29 * DAY)
    people.look()
    assert people.record.key(first.facts.key_id) is None
    assert "OfAnotherProvider" not in alerts(people)


def test_a_key_of_another_provider_that_was_revoked_by_hand_can_be_forgotten(stage):
    old = of_another_provider(stage)
    stage.provider.revoke_by_hand(old)
    (_, told), *_ = stage.journal.look(stage.policy.name).alerts
    assert f"'rotator forget {stage.policy.name} --key {old} --even-so --reason ...'" in told
    insisted = {"key_id": old, "is_configured": True, "even_so": True}
    assert isinstance(forget(stage.reconciler, stage.policy.name, "revoked (ann)", **insisted), Forgotten)
    stage.look_until_quiet(2 * DAY)
    assert (record(stage).key(old), alerts(stage)) == (None, [])
