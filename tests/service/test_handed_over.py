"""What is recorded of a key that was handed over, when what was asked for has changed meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rotator.domain.handover import seen
from rotator.domain.record import Expiration
from rotator.domain.request_events import KeyRequestWithdrawn
from rotator.service.desk import Taken
from tests.service.people import PEOPLE, AssistedStage


@pytest.fixture
def asked(tmp_path: Path) -> AssistedStage:
    made = AssistedStage(f"sqlite:///{tmp_path}/state.db")
    made.change(assistance=PEOPLE)
    made.look()
    return made


def open_for(stage: AssistedStage, share: float) -> list[datetime]:
    """The request stays open for so much of a lifetime: the expirations that it asked for."""
    ends, until = [stage.record.awaiting.expires_at], stage.clock.now() + stage.policy.lifetime * share
    while stage.clock.now() < until:
        stage.clock.advance(timedelta(hours=12))
        stage.look()
        now_asked = stage.record.awaiting.expires_at
        ends += [now_asked] if now_asked != ends[-1] else []
    return ends


def test_a_key_made_as_asked_for_has_the_earliest_end_that_was_asked_for(asked: AssistedStage) -> None:
    first, second = open_for(asked, 0.6)
    assert asked.submit(asked.make_key().secret).taken is Taken.ACCEPTED
    assert asked.record.current.expires_at == first < second


def spoiled(stage: AssistedStage) -> None:
    """A person spoils what the places hold, and nobody keeps its secret; another key is handed over."""
    for place in stage.policy.destinations:
        stage.backends[place.backend].put_by_hand(place, "change-me")
        stage.backends[place.backend].put_by_hand(place, "change-me too")
    stage.restart()
    stage.look()
    assert stage.submit(stage.make_key().secret).taken is Taken.ACCEPTED


@pytest.mark.parametrize("is_lost", [False, True], ids=["journal kept", "journal lost"])
def test_promise_4_it_is_not_believed_to_have_ended_before_the_latest_one(
    asked: AssistedStage, *, is_lost: bool
) -> None:
    first, second = open_for(asked, 0.6)
    handed = asked.make_key(expires_at=second)
    assert asked.submit(handed.secret).taken is Taken.ACCEPTED
    latest = second
    if is_lost:  # then the latest is not known, but that it was asked for by now
        latest = asked.clock.now() + asked.policy.lifetime
        asked.lose_the_journal()
        asked.look()
        assert asked.record.current.expires_at == first
    spoiled(asked)
    asked.clock.current = latest
    asked.look()
    assert first + 2 * timedelta(days=1) < second, "the first would be believed"
    assert asked.record.key(handed.facts.key_id) is not None
    asked.clock.advance(timedelta(days=1, hours=12))
    asked.look()
    assert asked.record.key(handed.facts.key_id) is None


def test_promise_4_an_end_that_the_provider_has_contradicted_is_not_believed_later(asked: AssistedStage) -> None:
    """A person told the wrong year; nobody has its secret any more once it is replaced."""
    told = asked.clock.now() + timedelta(days=31)
    handed = asked.make_key()
    assert asked.submit(handed.secret, expires=Expiration(told)).taken is Taken.ACCEPTED
    asked.clock.current = told + timedelta(days=2)
    asked.look()
    new = asked.make_key().secret
    assert asked.submit(new).taken is Taken.ACCEPTED
    asked.clock.advance(asked.policy.grace + timedelta(hours=1))
    asked.look()
    old = asked.record.key(handed.facts.key_id)
    assert (old.revocation is not None, old.expires_at) == (True, None), "it was tried, and is accepted"
    for place in asked.policy.destinations:
        asked.backends[place.backend].read_previous = lambda _destination: None
    asked.restart()
    asked.look()
    assert asked.record.key(handed.facts.key_id) is not None


def test_promise_4_an_end_that_a_place_tells_of_a_key_that_is_accepted_after_it_is_not_believed(
    asked: AssistedStage,
) -> None:
    """Found with the journal lost, when it should have ended for long: nobody can try it again once it is replaced."""
    told = asked.clock.now() + timedelta(days=31)
    handed = asked.make_key()
    assert asked.submit(handed.secret, expires=Expiration(told)).taken is Taken.ACCEPTED
    asked.clock.advance(3 * asked.policy.lifetime)
    asked.lose_the_journal()
    asked.look()
    assert asked.record.current.expires_at is None
    assert asked.record.awaiting, "it is too old"
    spoiled(asked)
    asked.clock.advance(timedelta(days=2))
    asked.look()
    assert asked.record.key(handed.facts.key_id) is not None


def test_so_has_one_from_an_inbox(asked: AssistedStage) -> None:
    asked.use_inbox()
    first, _ = open_for(asked, 0.6)
    asked.put_into_inbox(asked.make_key().secret)
    asked.look()
    assert asked.record.current.expires_at == first


def test_an_end_that_is_near_or_over_by_then_keeps_no_key_out(asked: AssistedStage) -> None:
    """Taken at the end that it may have, and replaced at once; a date that is past can't be its end."""
    asked.use_inbox()
    first, *_ = open_for(asked, 0.9)
    assert first < asked.clock.now() + asked.policy.renew_before
    asked.put_into_inbox(asked.make_key().secret)
    asked.look()
    assert asked.record.current.expires_at == first
    assert asked.record.awaiting

    asked.clock.advance(timedelta(minutes=5))
    first, second, *_ = open_for(asked, 1.1)
    assert first < asked.clock.now() < second
    asked.put_into_inbox(asked.make_key().secret)
    asked.look()
    assert asked.record.current.expires_at == second


def test_what_the_person_says_counts_before_what_was_asked_for(asked: AssistedStage) -> None:
    _, second = open_for(asked, 0.6)
    assert asked.submit(asked.make_key().secret, expires=Expiration(second)).taken is Taken.ACCEPTED
    assert asked.record.current.expires_at == second


def test_of_another_request_the_end_is_not_taken_for_that_of_this_one(asked: AssistedStage) -> None:

    before = seen(asked.record)
    lease = asked.journal.acquire(asked.policy.name, "another", asked.clock.now(), timedelta(minutes=1))
    rotation = asked.record.awaiting
    withdrawn = KeyRequestWithdrawn(rotation_id=rotation.rotation_id, key_name=rotation.key_name, why="a test")
    asked.journal.append(lease, [withdrawn], asked.clock.now())
    asked.journal.release(lease)
    asked.look()
    assert asked.record.awaiting.rotation_id != before.rotation_id
    key = asked.make_key().secret
    handover = asked.submit(key, began=before)
    assert (handover.taken, asked.record.current) == (Taken.POSTPONED, None)
    assert "another key is asked for by now: say which expiration" in handover.why
    assert asked.submit(key, began=before, expires=Expiration(None)).taken is Taken.ACCEPTED
