"""Promise 7: what is not ours, or not any more, is neither revoked nor given an end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rotator.domain.record import Expiration
from rotator.service.desk import Taken
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR
from tests.service.conftest import Stage
from tests.service.people import PEOPLE, AssistedStage
from tests.service.test_hard_cases import adopted, rotate_now


@pytest.fixture
def changed_over(tmp_path: Path):
    """A policy whose keys people made until a moment ago, and a key that was handed over in vain."""
    stage = AssistedStage(f"sqlite:///{tmp_path}/state.db")
    stage.change(assistance=PEOPLE)
    stage.look()
    assert stage.submit(stage.make_key().secret).taken is Taken.ACCEPTED
    theirs = stage.make_key()
    refused = stage.submit(theirs.secret, expires=Expiration(None), began=None)
    assert "unless somebody uses it" in refused.why
    stage.change(assistance=None)
    yield stage, theirs.facts.key_id
    stage.journal.close()


def test_promise_7_a_key_that_was_handed_over_in_vain_is_not_revoked_by_a_rotator_that_makes_keys_now(changed_over):
    stage, theirs = changed_over
    stage.provider.use(theirs)
    assert stage.look().result is Result.OK
    stage.look_until_quiet(5 * DAY)
    assert theirs in stage.alive()
    ((check, reason),) = stage.journal.look("chat").alerts
    assert check == "HandedOverInVain"
    assert f"'rotator forget chat --key {theirs} --even-so --reason ...'" in reason


def test_it_is_closed_when_its_owner_has_revoked_it(changed_over):
    stage, theirs = changed_over
    stage.look()
    stage.provider.revoke_by_hand(theirs)
    stage.look_until_quiet(DAY)
    assert stage.record.key(theirs) is None
    assert stage.journal.look("chat").alerts == ()


def test_one_with_the_name_that_was_asked_for_is_ours_to_revoke(changed_over):
    stage, theirs = changed_over
    key = stage.provider._keys[theirs]
    key.facts = replace(key.facts, name="rotator_prod_chat_20261123_abcdefgh")
    stage.look()
    assert theirs not in stage.alive()


def test_promise_7_a_key_that_has_another_name_by_now_is_given_no_end(stage: Stage):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    taken = stage.provider._keys[stage.held()[0]]
    taken.facts = replace(taken.facts, name="batch jobs, do not touch")  # a person, in the console
    before = taken.facts.expires_at
    rotate_now(stage)
    stage.look_until_quiet(6 * DAY)
    assert taken.facts.expires_at == before


def test_promise_7_a_key_of_another_provider_is_given_no_end_at_this_one(stage: Stage):
    old = adopted(stage)
    stage.change_policy(provider="another", digest="d2")
    ended = []
    stage.provider.set_expiration = lambda _project, key_id, _at: ended.append(key_id)
    rotate_now(stage)
    stage.look_until_quiet(2 * DAY)
    assert old not in ended
    stage.clock.advance(HOUR)
