"""What becomes of a rotation that was broken off."""

from dataclasses import replace

from rotator.domain.actions import Abandon, Resume
from rotator.domain.planner import plan
from rotator.domain.record import KeyState, Phase
from tests.domain.build import HOUR, NOW, POLICY, VAULT, facts, key, record, rotation, world

HALF = world("new", "old", listed=(facts("new"), facts("old")))
BROKEN_OFF = rotation(Phase.PUBLISHING, published=(VAULT.name,))


def planned(candidate):
    remembered = record(key("old"), candidate, rotations=(BROKEN_OFF,))
    return [
        action for action in plan(POLICY, HALF.beside(remembered), NOW).actions if isinstance(action, Abandon | Resume)
    ]


def test_it_is_finished_from_the_place_that_has_its_key():
    (resume,) = planned(key("new", KeyState.CANDIDATE))
    assert isinstance(resume, Resume)
    assert resume.held == (VAULT,)


def test_promise_1_it_is_given_up_where_its_key_ends_by_what_was_told_of_it_though_the_provider_accepts_it_yet():
    (given_up,) = planned(replace(key("new", KeyState.CANDIDATE), expires_at=NOW - HOUR))
    assert isinstance(given_up, Abandon)
    assert given_up.published
    assert given_up.displaced_in == (VAULT.name,)
