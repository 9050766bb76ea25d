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


def test_promise_4_it_is_not_believed_to_have_ended_before_the_latest_one(asked: AssistedStage) -> None:
    first, second = open_for(asked, 0.6)
    handed = asked.make_key(expires_at=second)
    assert asked.submit(handed.secret).taken is Taken.ACCEPTED
    for place in asked.policy.destinations:  # a person spoils it, and nobody keeps its secret
        asked.backends[place.backend].put_by_hand(place, "change-me")
        asked.backends[place.backend].put_by_hand(place, "change-me too")
    asked.restart()
    asked.look()
    assert asked.submit(asked.make_key().secret).taken is Taken.ACCEPTED
    asked.clock.current = second
    asked.look()
    assert first + 2 * timedelta(days=1) < second, "the first would be believed"
    assert asked.record.key(handed.facts.key_id) is not None
    asked.clock.advance(timedelta(days=1, hours=1))
    asked.look()
    assert asked.record.key(handed.facts.key_id) is None


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
