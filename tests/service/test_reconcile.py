"""One policy through its whole life, over fakes that keep the contracts. Each test asserts an end state."""

from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from rotator.domain import events as ev
from rotator.domain.model import Destination
from rotator.domain.record import KeyState
from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    JournalUnavailable,
    OutcomeUnknown,
    ProviderDenied,
    ProviderRejected,
    ProviderUnavailable,
    WrongDestination,
)
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, POLICY
from tests.service.conftest import PLACES

UNKNOWN = OutcomeUnknown("the answer was lost")
AWAY = BackendUnavailable("sealed")


def record(stage):
    return stage.journal.load(stage.policy.name)


def rotate_now(stage, *, compromised=False):
    event = ev.RotationRequested(reason="test", compromised=compromised)
    stage.journal.request(stage.policy.name, event, stage.clock.now())


def adopted(stage):
    old = stage.put_key_by_hand()
    assert stage.look().result is Result.OK
    return old


def settled(stage, *, keys=1):
    """The end state that every recovery must reach: one key in every destination, accepted, and no other alive."""
    stage.look_until_quiet(20 * POLICY.settle)
    held = stage.held()
    assert len(set(held)) == 1
    assert held[0] in stage.alive()
    assert len(stage.alive()) == keys
    assert not record(stage).in_flight
    assert not record(stage).open_intents
    return held[0]


# --- the plain life ------------------------------------------------------------------------------------------


def test_a_key_put_there_by_hand_is_adopted_and_not_rotated_merely_because_of_that(stage):
    old = stage.put_key_by_hand()
    outcome = stage.look()
    assert (outcome.result, outcome.done) == (Result.OK, (f"adopted {old}",))
    assert (stage.held(), stage.alive()) == ([old, old], {old})
    assert record(stage).current.key_id == old


def test_the_whole_life_of_an_adopted_key(stage):
    old = adopted(stage)
    stage.clock.advance(POLICY.lifetime - POLICY.renew_before)
    stage.look()
    new = stage.held()[0]
    assert stage.held() == [new, new] != [old, old]
    assert stage.alive() == {old, new}
    stage.clock.advance(POLICY.grace)
    outcome = stage.look()
    assert stage.alive() == {new}
    assert outcome.done == (
        f"revoked {old}",
        f"{old}: revoked, and refused by the provider: 401 invalid_api_key",
    )
    assert record(stage).rotations == ()
    assert [key.key_id for key in record(stage).keys] == [new]


def test_a_plain_rotation_asks_no_more_than_it_needs(stage):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    rotate_now(stage)
    calls = len(stage.provider.calls)
    stage.look()
    assert stage.provider.calls[calls:] == ["identify", "create_key", "identify", "list_keys", "set_expiration"]


def test_a_key_that_a_person_made_is_asked_for_once_more_before_it_is_touched(stage):
    adopted(stage)
    rotate_now(stage)
    calls = len(stage.provider.calls)
    stage.look()
    assert stage.provider.calls[calls:] == ["identify", "create_key", "identify", "identify", "set_expiration"]


def test_an_empty_destination_gets_its_first_key(stage):
    outcome = stage.look()
    assert outcome.result is Result.OK
    assert settled(stage) in stage.alive()


def test_nothing_is_intended_for_an_empty_destination_when_the_project_can_not_be_listed(stage):
    stage.provider.fail("list_keys", ProviderRejected("404 project_not_found"))
    assert stage.look().problems == ("ProviderUnreadable: 404 project_not_found",)
    assert record(stage).rotations == ()
    assert "create_key" not in stage.provider.calls


def test_a_policy_lives_for_a_year_without_a_problem_and_with_one_or_two_keys(stage):
    adopted(stage)
    outcomes = stage.look_until_quiet(365 * DAY)
    assert {outcome.result for outcome in outcomes} == {Result.OK}
    rotations = sum(" replaced by " in sentence for outcome in outcomes for sentence in outcome.done)
    assert rotations == pytest.approx(365 / 23, abs=2)
    assert len(stage.alive()) <= 2


def test_every_look_of_a_quiet_policy_changes_nothing(stage):
    adopted(stage)
    before = list(stage.backends["one"].changes)
    calls = len(stage.provider.calls)
    for _ in range(5):
        stage.look()
    assert stage.backends["one"].changes == before
    assert set(stage.provider.calls[calls:]) == {"identify"}


def test_the_old_key_ends_by_itself_soon_after_its_last_possible_grace(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    (facts,) = [facts for facts in stage.provider.list_keys(POLICY.project) if facts.key_id == old]
    assert facts.expires_at == stage.clock.now() + POLICY.grace_limit + HOUR


def test_a_provider_that_cannot_set_an_expiration_is_no_problem(stage):
    adopted(stage)
    rotate_now(stage)
    stage.provider.fail("set_expiration", ProviderRejected("404"))
    assert stage.look().result is Result.OK


def test_a_compromised_key_is_revoked_in_the_same_look_after_its_replacement_is_everywhere(stage):
    old = adopted(stage)
    rotate_now(stage, compromised=True)
    stage.look()
    stage.look()
    assert old not in stage.alive()
    assert settled(stage) != old


def test_a_policy_on_hold_keeps_even_its_retiring_keys(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.journal.request(POLICY.name, ev.Held(reason="incident"), stage.clock.now())
    stage.clock.advance(3 * DAY)
    stage.look()
    assert old in stage.alive()
    stage.journal.request(POLICY.name, ev.Held(reason=""), stage.clock.now())
    stage.look()
    assert old not in stage.alive()


def test_our_own_calls_do_not_make_a_retiring_key_look_used(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace / 2)
    stage.look()
    (facts,) = [facts for facts in stage.provider.list_keys(POLICY.project) if facts.key_id == old]
    assert facts.last_used_at < stage.clock.now() - POLICY.grace / 4


def test_an_old_key_that_is_still_used_gets_a_longer_grace_and_is_revoked_when_quiet(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace)
    stage.provider.use(old)
    stage.look()
    assert old in stage.alive()
    stage.clock.advance(POLICY.quiet)
    stage.look()
    assert old not in stage.alive()


# --- promise 1: destinations never hold a key that the provider refuses ---------------------------------------


def test_promise_1_a_key_that_the_provider_never_accepts_is_not_published(stage):
    old = adopted(stage)
    stage.clock.advance(HOUR * 2)
    rotate_now(stage)
    stage.provider._accept_after = timedelta(hours=1)
    assert stage.look().result is Result.FAILED
    assert stage.held() == [old, old]
    stage.provider._accept_after = timedelta(0)
    assert settled(stage, keys=2) != old


def test_promise_1_a_key_that_takes_seconds_to_be_accepted_is_waited_for(stage):
    old = adopted(stage)
    stage.clock.advance(HOUR * 2)
    rotate_now(stage)
    stage.provider._accept_after = timedelta(seconds=20)
    assert stage.look().result is Result.OK
    assert stage.held()[0] != old


def test_promise_1_nothing_is_created_when_a_destination_can_not_be_written(stage):
    adopted(stage)
    rotate_now(stage)
    stage.backends["two"].fail("check_writable", BackendDenied("update on two"))
    outcome = stage.look()
    assert (outcome.result, "create_key" in stage.provider.calls) == (Result.FAILED, False)
    assert outcome.problems == ("update on two",)


@pytest.mark.parametrize("error", [AWAY, BackendDenied("403"), WrongDestination("no KV engine")])
def test_promise_1_nothing_is_created_while_a_destination_can_not_be_read(stage, error):
    adopted(stage)
    rotate_now(stage)
    stage.backends["two"].fail("read", error)
    assert stage.look().result is Result.FAILED
    assert "create_key" not in stage.provider.calls


def test_a_revoked_key_that_takes_seconds_to_be_refused_is_watched(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.provider._refuse_after = timedelta(seconds=45)
    stage.clock.advance(POLICY.grace)
    assert stage.look().result is Result.FAILED
    assert record(stage).key(old).state is KeyState.REVOKED
    outcomes = stage.look_until_quiet(timedelta(minutes=5))
    assert record(stage).key(old) is None
    assert f"{old}: revoked, and refused by the provider: 401 invalid_api_key" in [
        sentence for outcome in outcomes for sentence in outcome.done
    ]


def test_after_a_restart_the_refusal_is_seen_with_the_previous_value_of_a_destination(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.restart()
    stage.clock.advance(POLICY.grace)
    assert f"{old}: revoked, and refused by the provider: 401 invalid_api_key" in stage.look().done


# --- promise 2: revocation ------------------------------------------------------------------------------------


def test_promise_2_a_key_that_another_policys_destination_holds_is_not_revoked(stage):
    old = adopted(stage)
    copy = Destination(backend="other", name="other:copy#KEY", options=(("field", "KEY"), ("path", "copy")))
    stage.policies.append(replace(POLICY, name="other", destinations=(copy,)))
    old_secret = stage.backends["one"].read(PLACES[0]).value
    stage.backends["other"].put_by_hand(copy, old_secret.reveal())
    rotate_now(stage)
    stage.look()
    stage.clock.advance(10 * DAY)
    stage.look()
    assert old in stage.alive()
    stage.backends["other"].put_by_hand(copy, "something else")
    stage.look()
    assert old not in stage.alive()


def test_promise_2_a_key_stays_while_another_policys_destination_is_unknown(stage):
    old = adopted(stage)
    other = Destination(backend="other", name="other:x#KEY", options=(("field", "KEY"), ("path", "x")))
    stage.policies.append(replace(POLICY, name="other", destinations=(other,)))
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace)
    stage.backends["other"].fail("read", AWAY)
    stage.look()
    assert old in stage.alive()
    stage.look()
    assert old not in stage.alive()


def test_promise_2_a_key_that_a_person_put_back_is_not_revoked_before_a_full_grace(stage):
    old = adopted(stage)
    secret = stage.backends["one"].read(PLACES[0]).value.reveal()
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace - HOUR)
    for place in PLACES:
        stage.backends[place.backend].put_by_hand(place, secret)
    stage.look()  # its end was brought forward already: it is replaced again, by a third key
    assert stage.held()[0] not in {old, None}
    stage.clock.advance(POLICY.grace - HOUR)
    stage.look()
    assert old in stage.alive()
    settled(stage)


def test_promise_7_keys_of_others_are_never_touched(stage):
    others = {stage.provider.create_by_hand(POLICY.project, name).facts.key_id for name in ("ci", "rotator_dev_chat_x")}
    adopted(stage)
    stage.look_until_quiet(100 * DAY)
    assert others <= stage.alive()


def test_promise_7_a_legacy_key_is_replaced_and_never_revoked(stage):
    issued = stage.provider.legacy_key()
    for place in PLACES:
        stage.backends[place.backend].put_by_hand(place, issued.secret.reveal())
    stage.look_until_quiet(60 * DAY)
    assert not stage.provider.is_revoked(issued.facts.key_id)
    assert stage.held()[0] in stage.alive()


# --- what goes wrong around the creation ----------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_promise_4_a_lost_creation_is_looked_up_revoked_and_tried_with_a_new_name(stage, after):
    old = adopted(stage)
    rotate_now(stage)
    stage.provider.fail("create_key", UNKNOWN, after=after)
    assert stage.look().result is Result.FAILED
    assert stage.held() == [old, old]
    new = settled(stage, keys=2)
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert stage.alive() == {new}


@pytest.mark.parametrize("error", [ProviderDenied("401"), ProviderRejected("422"), ProviderUnavailable("429")])
def test_a_refused_creation_leaves_nothing_behind(stage, error):
    old = adopted(stage)
    rotate_now(stage)
    stage.provider.fail("create_key", error)
    assert stage.look().problems == (str(error),)
    assert (stage.alive(), record(stage).open_intents) == ({old}, ())
    settled(stage, keys=2)


def test_promise_4_a_key_that_could_not_be_journaled_is_revoked_at_once(stage, monkeypatch):
    old = adopted(stage)
    rotate_now(stage)
    append = stage.journal.append

    def full(lease, events, now):
        if isinstance(events[0], ev.KeyIssued):
            raise JournalUnavailable("disk full")
        return append(lease, events, now)

    monkeypatch.setattr(stage.journal, "append", full)
    assert stage.look().result is Result.FAILED
    assert stage.alive() == {old}
    monkeypatch.undo()
    settled(stage, keys=2)


def test_nothing_is_created_when_the_intent_can_not_be_journaled(stage, monkeypatch):
    adopted(stage)
    rotate_now(stage)

    def full(lease, events, now):
        raise JournalUnavailable("disk full")

    monkeypatch.setattr(stage.journal, "append", full)
    assert stage.look().problems == ("disk full",)
    assert "create_key" not in stage.provider.calls


def test_a_new_key_that_expires_too_soon_is_refused_and_revoked(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.policy = replace(stage.policy, lifetime=POLICY.renew_before + HOUR)
    make = stage.provider._make
    stage.provider._make = lambda project, name, _at, **rest: make(project, name, stage.clock.now() + DAY, **rest)
    assert stage.look().result is Result.FAILED
    assert stage.held() == [old, old]
    stage.look()
    assert len(stage.alive() - {old}) <= 1


# --- what goes wrong around the publication -------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("backend", ["one", "two"])
def test_a_lost_answer_of_a_write_is_decided_by_reading_back(stage, backend, when):
    old = adopted(stage)
    rotate_now(stage)
    stage.backends[backend].fail("write", UNKNOWN, when=when)
    assert stage.look().result is Result.OK
    assert settled(stage, keys=2) != old


@pytest.mark.parametrize("backend", ["one", "two"])
def test_a_destination_that_fails_is_finished_later_and_the_old_key_stays_until_then(stage, backend):
    old = adopted(stage)
    rotate_now(stage)
    stage.backends[backend].fail("write", AWAY)
    assert stage.look().result is Result.FAILED
    assert sorted(key == old for key in stage.held()) == [False, True]
    stage.clock.advance(timedelta(seconds=1))
    stage.look()
    new = settled(stage, keys=2)
    assert stage.provider.calls.count("create_key") == 1
    assert old in stage.alive() - {new}


def test_a_destination_that_fails_is_finished_after_a_restart_with_the_secret_read_back(stage):
    adopted(stage)
    rotate_now(stage)
    stage.backends["two"].fail("write", AWAY)
    stage.look()
    stage.restart()
    settled(stage, keys=2)
    assert stage.provider.calls.count("create_key") == 1


def test_promise_4_a_key_that_could_be_published_nowhere_is_revoked(stage):
    old = adopted(stage)
    rotate_now(stage)
    for backend in ("one", "two"):
        stage.backends[backend].fail("write", AWAY)
    assert stage.look().result is Result.FAILED
    assert stage.held() == [old, old]
    settled(stage, keys=2)
    assert stage.provider.calls.count("create_key") == 2


def test_a_value_that_somebody_wrote_in_the_middle_wins_and_the_candidate_is_revoked(stage):
    adopted(stage)
    rotate_now(stage)
    theirs = stage.provider.create_by_hand(POLICY.project, "theirs")
    _in_the_middle(stage, "one", lambda: stage.backends["one"].put_by_hand(PLACES[0], theirs.secret.reveal()))
    assert stage.look().result is Result.FAILED
    assert stage.held()[0] == theirs.facts.key_id
    new = settled(stage, keys=3)
    assert new != theirs.facts.key_id


def test_a_value_that_somebody_wrote_after_the_first_publication_is_not_overwritten_either(stage):
    old = adopted(stage)
    rotate_now(stage)
    theirs = stage.provider.create_by_hand(POLICY.project, "theirs")
    _in_the_middle(stage, "two", lambda: stage.backends["two"].put_by_hand(PLACES[1], theirs.secret.reveal()))
    assert stage.look().result is Result.FAILED
    assert stage.held()[1] == theirs.facts.key_id
    assert {old, *stage.held()} <= stage.alive()
    stage.look_until_quiet(POLICY.grace / 2)
    assert len(set(stage.held())) == 1


def test_a_write_beside_our_value_is_no_conflict(stage):
    old = adopted(stage)
    rotate_now(stage)
    beside = Destination(backend="one", name="one:app#OTHER", options=(("field", "OTHER"), ("path", "app")))
    _in_the_middle(stage, "one", lambda: stage.backends["one"].put_by_hand(beside, "x"))
    assert stage.look().result is Result.OK
    assert old not in stage.held()


def _in_the_middle(stage, backend, act):
    """Somebody acts between our look and our write."""
    write = stage.backends[backend].write

    def late(*arguments, **named):
        stage.backends[backend].write = write
        act()
        return write(*arguments, **named)

    stage.backends[backend].write = late


# --- restarts -------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here: nothing catches it."""


@pytest.mark.parametrize("phase", [ev.RotationIntended, ev.KeyIssued, ev.KeyVerified, ev.DestinationPublished,
                                   ev.GraceStarted, ev.RevocationIntended, ev.KeyRevoked])  # fmt: skip
@pytest.mark.parametrize("durable", [False, True])
def test_promise_4_a_restart_after_a_kill_at_any_phase_ends_well(stage, phase, durable, monkeypatch):
    adopted(stage)
    rotate_now(stage)
    append = stage.journal.append

    def killed(lease, events, now):
        if durable:
            append(lease, events, now)
        if any(isinstance(event, phase) for event in events):
            raise Killed
        return None if durable else append(lease, events, now)

    def killed_once(lease, events, now):
        if any(isinstance(event, phase) for event in events):
            return killed(lease, events, now)
        return append(lease, events, now)

    monkeypatch.setattr(stage.journal, "append", killed_once)
    with pytest.raises(Killed):
        stage.look_until_quiet(3 * DAY)
    stage.restart()
    stage.look_until_quiet(3 * DAY)
    held = stage.held()
    assert len(set(held)) == 1
    assert stage.alive() == set(held)
    assert [key.key_id for key in record(stage).keys] == held[:1]
    assert record(stage).rotations == record(stage).open_intents == ()


# --- isolation and stopping -----------------------------------------------------------------------------------


def test_promise_9_an_unexpected_error_ends_as_an_outcome(stage):
    adopted(stage)
    stage.backends["one"].fail("read", ZeroDivisionError("a defect"))
    outcome = stage.look()
    assert outcome.problems == ("unexpected ZeroDivisionError; the log has its traceback",)
    assert stage.look().result is Result.OK


def test_a_look_whose_end_can_not_be_told_keeps_no_lease(stage):
    def stumbles(_logger, _method, told):
        if told["event"] == "look.crashed":
            raise ValueError("a defect of the log")
        return told

    adopted(stage)
    stage.backends["one"].fail("read", ZeroDivisionError("a defect"))
    structlog.configure(processors=[stumbles, structlog.processors.KeyValueRenderer()])
    try:
        with pytest.raises(ValueError, match="a defect of the log"):
            stage.look()
    finally:
        structlog.reset_defaults()
    stage.journal._is_dead = lambda _holder: False
    assert stage.look().result is Result.OK


def test_a_service_that_stops_begins_no_rotation(stage):
    adopted(stage)
    rotate_now(stage)
    stage.clock.stopping = True
    assert stage.look().result is Result.STOPPED
    assert "create_key" not in stage.provider.calls
    stage.clock.stopping = False
    assert stage.look().result is Result.OK


def test_a_policy_that_another_process_holds_is_left_to_it(stage):
    adopted(stage)
    stage.journal._is_dead = lambda _holder: False
    stage.journal.acquire(POLICY.name, "another", stage.clock.now(), timedelta(minutes=5))
    assert stage.look().result is Result.BUSY


def test_failures_are_tried_again_ever_more_slowly_and_never_more_than_an_hour_apart(stage):
    adopted(stage)
    waits = []
    for _ in range(12):
        stage.backends["one"].fail("read", AWAY)
        outcome = stage.look()
        waits.append(outcome.next_at - stage.clock.now())
        stage.clock.current = outcome.next_at
    assert waits == sorted(waits)
    assert timedelta(seconds=20) < waits[0] < timedelta(seconds=31)
    assert waits[-1] <= HOUR
