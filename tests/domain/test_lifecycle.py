"""The table of legal moves, and what the events make of a record."""

from itertools import product

import pytest

from rotator.domain import events as ev
from rotator.domain.lifecycle import fold, fold_all
from rotator.domain.moves import LEGAL_MOVES
from rotator.domain.record import KeyState, Origin, Phase
from rotator.errors import IllegalMove
from tests.domain.build import DAY, DOTENV, HOUR, NOW, VAULT, fingerprint, key, record, retiring, rotation

ISSUED = ev.KeyIssued(rotation_id="r1", key=key("new", KeyState.CANDIDATE))
VERIFIED = ev.KeyVerified(rotation_id="r1")
PUBLISHED = ev.DestinationPublished(rotation_id="r1", destination=VAULT.name)
GRACE = ev.GraceStarted(rotation_id="r1", grace_until=NOW + DAY, grace_limit=NOW + 2 * DAY)
ABANDONED = ev.RotationAbandoned(rotation_id="r1", why="test", revoke_after=NOW)
INTENDED = ev.RotationIntended(rotation=rotation(Phase.INTENDED))
MOVES = {
    Phase.ISSUED: ISSUED,
    Phase.VERIFIED: VERIFIED,
    Phase.PUBLISHING: PUBLISHED,
    Phase.GRACE: GRACE,
    Phase.ABANDONED: ABANDONED,
}


def in_phase(phase):
    return record(key("old"), key("new", KeyState.CANDIDATE), rotations=(rotation(phase),))


@pytest.mark.parametrize(("before", "after"), list(product(LEGAL_MOVES, MOVES)))
def test_only_moves_of_the_table_are_possible(before, after):
    if after in LEGAL_MOVES[before]:
        fold(MOVES[after], in_phase(before))
    else:
        with pytest.raises(IllegalMove):
            fold(MOVES[after], in_phase(before))


def test_a_second_rotation_cannot_begin_while_one_is_in_flight():
    with pytest.raises(IllegalMove):
        fold(INTENDED, in_phase(Phase.VERIFIED))


def test_a_whole_rotation_ends_with_one_current_key_and_nothing_else():
    done = fold_all(
        record(key("old", origin=Origin.ADOPTED), requested="please"),
        [
            INTENDED,
            ISSUED,
            VERIFIED,
            PUBLISHED,
            GRACE,
            ev.RevocationIntended(key_id="key_old", why="grace over"),
            ev.KeyRevoked(key_id="key_old", revoked_at=NOW),
            ev.KeyClosed(key_id="key_old", evidence="401"),
        ],
    )
    assert done == record(key("new"), closed=("key_old",))


def test_the_grace_makes_every_replaced_key_retiring_and_keeps_earlier_deadlines():
    earlier = retiring("older", replaced_by="r0")
    done = fold(
        GRACE, record(key("old"), key("new", KeyState.CANDIDATE), earlier, rotations=(rotation(Phase.PUBLISHING),))
    )
    assert done.key("key_old").grace_until == NOW + DAY
    assert done.key("key_older") == earlier


@pytest.mark.parametrize(
    ("older", "until"),
    [
        (retiring("older", replaced_by="r0", grace_until=NOW + HOUR), NOW + DAY),
        (retiring("older", replaced_by="r0", grace_until=NOW + 2 * DAY), NOW + 2 * DAY),
        (retiring("older", replaced_by="r0", leaked=True), NOW - HOUR),
        (retiring("older", replaced_by="r0", condemned=True), NOW - HOUR),
    ],
    ids=["shorter", "longer", "leaked", "condemned"],
)
def test_promise_2_where_a_place_had_no_key_the_keys_replaced_before_have_the_whole_grace_again(older, until):
    empty = rotation(Phase.PUBLISHING, replaces={DOTENV.name: fingerprint("old")})
    done = fold(GRACE, record(key("old"), key("new", KeyState.CANDIDATE), older, rotations=(empty,))).key("key_older")
    assert done.grace_until == until
    assert done.expiry_forwarded == (until < NOW + DAY)  # else its end is to be brought along


def test_a_compromise_ends_the_grace_of_older_keys_too():
    older = retiring("older", grace_until=NOW + 9 * DAY)
    answer = rotation(Phase.PUBLISHING, compromised=True)
    remembered = record(key("old"), key("new", KeyState.CANDIDATE), older, rotations=(answer,), compromised=True)
    at_once = ev.GraceStarted(rotation_id="r1", grace_until=NOW, grace_limit=NOW)
    assert {k.grace_until for k in fold(at_once, remembered).in_state(KeyState.RETIRING)} == {NOW}


def test_since_when_a_key_is_retiring_is_recorded_and_not_moved_by_what_prolongs_its_grace():
    begun = record(key("old"), key("new", KeyState.CANDIDATE), rotations=(rotation(Phase.PUBLISHING, grace=2 * DAY),))
    done = fold(ev.GraceStarted(rotation_id="r1", grace_until=NOW + 2 * DAY, grace_limit=NOW + 4 * DAY), begun)
    done = fold(ev.GraceProlonged(key_ids=("key_old",), grace_until=NOW + 9 * DAY, reason="x"), done)
    assert (done.key("key_old").retired_at, done.current.retired_at) == (NOW, None)


def test_an_abandoned_rotation_leaves_an_orphan_when_it_was_published_nowhere():
    done = fold(ABANDONED, in_phase(Phase.VERIFIED))
    assert (done.key("key_new").state, done.key("key_new").revoke_after) == (KeyState.ORPHAN, NOW)
    assert not done.in_flight


def test_an_abandoned_rotation_leaves_a_retiring_key_when_it_was_published_somewhere():
    event = ev.RotationAbandoned(rotation_id="r1", why="x", grace_until=NOW + DAY, grace_limit=NOW + 2 * DAY)
    assert fold(event, in_phase(Phase.PUBLISHING)).key("key_new").state is KeyState.RETIRING


def test_a_creation_of_unknown_outcome_stays_open_until_it_is_settled():
    event = ev.RotationAbandoned(rotation_id="r1", why="timeout", revoke_after=NOW, settled_at=NOW + DAY)
    remembered = fold(event, record(key("old"), rotations=(rotation(Phase.INTENDED),)))
    (intent,) = remembered.open_intents
    assert fold(ev.IntentSettled(key_name=intent.key_name), remembered) == record(key("old"))


def test_a_current_key_cannot_be_revoked():
    with pytest.raises(IllegalMove):
        fold(ev.RevocationIntended(key_id="key_old", why="mistake"), record(key("old")))


def test_promise_7_a_persons_key_that_a_person_replaced_is_theirs_again():
    event = ev.KeyAdopted(key=key("hand", origin=Origin.ADOPTED), grace_until=NOW + DAY, grace_limit=NOW + DAY)
    assert [k.key_id for k in fold(event, record(key("old", origin=Origin.ADOPTED))).keys] == ["key_hand"]


def test_our_key_that_a_person_replaced_is_retiring():
    event = ev.KeyAdopted(key=key("hand", origin=Origin.ADOPTED), grace_until=NOW + DAY, grace_limit=NOW + DAY)
    assert fold(event, record(key("old"))).key("key_old").state is KeyState.RETIRING


def test_a_rotation_that_was_begun_before_a_leak_was_told_is_no_answer_to_it():
    before = record(
        key("old"), key("new", KeyState.CANDIDATE), rotations=(rotation(Phase.PUBLISHING),), requested="leak",
        compromised=True,
    )  # fmt: skip
    done = fold(ev.GraceStarted(rotation_id="r1", grace_until=NOW + DAY, grace_limit=NOW + DAY), before)
    assert (done.compromised, done.requested) == (True, "leak")
