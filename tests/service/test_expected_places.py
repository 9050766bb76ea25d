"""A destination in another account, cluster or machine than the policy means is refused before anything is created."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.errors import BackendDenied
from tests.service.conftest import Stage


def expecting(stage: Stage, **facts: str) -> None:
    places = tuple(replace(place, expect=tuple(facts.items())) for place in stage.policy.destinations)
    stage.policy = replace(stage.policy, destinations=places)


def test_a_key_is_not_created_for_a_destination_that_is_somewhere_else(stage: Stage) -> None:
    expecting(stage, place="production")
    stage.backends["two"].place = "staging"
    stage.backends["one"].place = "production"

    outcome = stage.look()

    assert outcome.check == "WrongDestination"
    assert outcome.problems == (
        "WrongDestination: two:app#KEY: place should be production, and the backend says staging",
    )
    assert stage.alive() == set()
    assert stage.held() == [None, None]


def test_a_destination_where_the_policy_means_it_is_rotated(stage: Stage) -> None:
    expecting(stage, place="here")
    assert stage.look().check == "NothingDue"
    assert len(stage.alive()) == 1


def test_what_the_backend_can_not_tell_is_not_taken_for_granted(stage: Stage) -> None:
    expecting(stage, account="123456789012")
    assert "account should be 123456789012, and the backend says nothing" in stage.look().problems[0]


def test_an_old_key_is_not_revoked_while_a_destination_is_somewhere_else(stage: Stage) -> None:
    """Promise 2, and how one big outage happened: the new key went to the wrong environment."""
    stage.look()
    stage.clock.advance(stage.policy.lifetime - stage.policy.renew_before + timedelta(hours=1))
    stage.look()
    expecting(stage, place="here")
    stage.backends["two"].place = "staging"
    before = stage.alive()
    stage.clock.advance(stage.policy.grace + timedelta(hours=1))
    stage.look()
    assert stage.alive() == before
    assert len(before) == 2


def test_a_backend_that_does_not_say_where_it_is_blocks_the_policy(stage: Stage) -> None:
    expecting(stage, place="here")
    stage.backends["one"].fail("whereabouts", BackendDenied("one: denied"))
    assert stage.look().check == "DestinationUnreadable"
    assert stage.alive() == set()
