"""Rare sequences that once broke a promise: two things go wrong, or come late, at the worst moment."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain import events as ev
from rotator.domain.model import Destination, Refused
from rotator.domain.record import KeyState
from rotator.errors import BackendUnavailable, JournalUnavailable, LeaseHeld, OutcomeUnknown, ProviderUnavailable
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, POLICY
from tests.service.conftest import PLACES
from tests.service.test_hard_cases import adopted, look, record, rotate_now, secret_of

AWAY = BackendUnavailable("sealed")
UNKNOWN = OutcomeUnknown("the answer was lost")


def single(stage):
    stage.policy = replace(stage.policy, destinations=PLACES[:1])
    stage.policies[:] = [stage.policy]


@pytest.mark.parametrize("answer", ["lost", "ok"])
def test_promise_1_a_write_that_can_not_be_read_back_is_not_taken_for_none(stage, answer):
    single(stage)
    adopted(stage)
    rotate_now(stage)
    if answer == "lost":
        stage.backends["one"].fail("write", UNKNOWN, when="after")
    stage.backends["one"].fail("read", AWAY, nth=2)  # 1: the look, 2: the read back
    stage.look()
    assert set(stage.held()) <= stage.alive()


@pytest.mark.parametrize("places", [1, 2])
def test_promise_1_a_lost_write_may_land_late_after_a_read_back_that_failed(stage, places):
    if places == 1:
        single(stage)
    adopted(stage)
    rotate_now(stage)
    one, pending = stage.backends["one"], []
    write = one.write

    def lost(*arguments, **named):
        pending.append((arguments, named))
        raise UNKNOWN

    one.write = lost
    one.fail("read", AWAY, nth=2)  # 1: the look, 2: the read back
    if places == 2:
        stage.backends["two"].fail("write", AWAY)
    stage.look()
    one.write = write
    one.fail("check_writable", AWAY)  # so that no other key takes its place yet
    stage.look()
    arguments, named = pending[-1]
    write(*arguments, **named)  # lands late
    assert set(stage.held()) <= stage.alive()


def test_promise_1_a_lost_write_may_land_late_after_somebody_else_wrote_the_other_place(stage):
    adopted(stage)
    rotate_now(stage)
    theirs = stage.provider.create_by_hand(POLICY.project, "theirs")
    one, two, pending = stage.backends["one"], stage.backends["two"], []
    write_one, write_two = one.write, two.write

    def lost(*arguments, **named):
        pending.append((arguments, named))
        raise UNKNOWN

    def late(*arguments, **named):
        two.write = write_two
        two.put_by_hand(PLACES[1], theirs.secret.reveal())
        return write_two(*arguments, **named)

    one.write, two.write = lost, late
    stage.look()
    one.write = write_one
    one.fail("check_writable", AWAY)  # so that no other key takes its place yet
    stage.look()
    arguments, named = pending[-1]
    write_one(*arguments, **named)  # lands late
    assert set(stage.held()) <= stage.alive()


def test_a_place_that_was_made_anew_and_has_its_old_version_number_is_somebody_elses_write(stage):
    """In Vault the versions of a secret whose metadata was deleted begin at 1 again."""
    adopted(stage)
    rotate_now(stage)
    two = stage.backends["two"]
    two.fail("write", AWAY)
    assert stage.look().result is not Result.OK
    theirs = stage.provider.create_by_hand(POLICY.project, "theirs")
    two.put_by_hand(PLACES[1], theirs.secret.reveal())
    two._find(PLACES[1])[0].version -= 1
    one_key, two_key = stage.held()
    assert (one_key != two_key, two_key) == (True, theirs.facts.key_id)
    stage.look()
    assert record(stage).key(theirs.facts.key_id) is not None, "it was overwritten unseen"
    assert {one_key, two_key} <= stage.alive()
    assert set(stage.held()) <= stage.alive()


def test_promise_2_a_look_without_the_provider_does_not_say_that_a_place_is_empty(stage):
    old = adopted(stage)
    secret = secret_of(stage)
    rotate_now(stage)
    stage.look()
    other = stage.another_policy("other")
    stage.put(other, secret)  # a person copies it during its grace
    stage.clock.advance(POLICY.grace - timedelta(minutes=1))
    stage.provider.fail("identify", ProviderUnavailable("503"))
    assert look(stage, other).check == "ProviderUnreadable"
    stage.clock.advance(timedelta(minutes=1))
    stage.look()
    assert old in stage.alive(), "the other policy's destination holds it"


@pytest.mark.parametrize("change", [{"project": "proj_b"}, {"provider": "together-eu"}])
def test_promise_2_a_key_that_lies_in_a_place_of_another_project_or_provider_is_kept(stage, change):
    old = adopted(stage)
    other = stage.another_policy("other", **change)
    stage.put(other, secret_of(stage))
    look(stage, other)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert old in stage.alive(), "a destination of another policy holds it"


def test_a_leak_that_is_told_during_a_rotation_is_answered_after_it(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.backends["two"].fail("write", AWAY)
    stage.look()
    assert record(stage).in_flight
    rotate_now(stage, compromised=True)
    stage.look_until_quiet(HOUR)
    assert old not in stage.alive()


def test_what_is_asked_for_during_a_look_is_not_forgotten(stage):
    adopted(stage)
    look_at, asked = stage.reconciler.gatherer.look, []

    def asking(policy):
        gathered = look_at(policy)
        if not asked:
            asked.append(True)
            rotate_now(stage, compromised=True)
        return gathered

    read = stage.backends["one"].read

    def reading(place):
        stage.backends["one"].read = read
        rotate_now(stage, compromised=True)
        return read(place)

    stage.backends["one"].read = reading
    stage.look()
    assert record(stage).compromised
    assert stage.journal.looks()[POLICY.name].next_at <= stage.clock.now() + timedelta(minutes=1)


@pytest.mark.parametrize("compromised", [False, True])
def test_promise_2_a_key_that_begins_to_retire_in_this_look_keeps_another_policys_grace(stage, compromised):
    adopted(stage)
    rotate_now(stage)
    stage.look()  # K0 retiring, K1 current
    shared = stage.held()[0]
    other = stage.another_policy("other", grace=6 * DAY, grace_limit=6 * DAY)
    stage.put(other, secret_of(stage))
    look(stage, other)
    rotate_now(stage, other)
    look(stage, other)  # its consumers have six days
    promised = record(stage, other).key(shared).grace_until
    stage.clock.advance(POLICY.grace)
    rotate_now(stage, compromised=compromised)
    stage.look()  # K0 revoked, K1 replaced
    stage.look()
    assert shared in stage.alive()
    (facts,) = [f for f in stage.provider.list_keys(POLICY.project) if f.key_id == shared]
    assert facts.expires_at is None or facts.expires_at >= promised


def test_promise_7_a_key_of_another_project_beside_an_empty_place_is_not_overwritten(stage):
    foreign = stage.provider.create_by_hand("proj_b", "foreign")
    stage.backends["two"].put_by_hand(PLACES[1], foreign.secret.reveal())
    revoked = []
    revoke = stage.provider.revoke_key
    stage.provider.revoke_key = lambda project, key_id: (revoked.append(key_id), revoke(project, key_id))
    stage.look()
    held = stage.held()[1]
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert foreign.facts.key_id not in revoked, "asked to revoke"
    assert held == foreign.facts.key_id


def test_promise_7_a_key_of_another_project_is_not_overwritten_in_an_emergency_either(stage):
    adopted(stage)
    foreign = stage.provider.create_by_hand("proj_b", "foreign")
    stage.put(stage.policy, foreign.secret.reveal())
    rotate_now(stage, compromised=True)
    stage.look()
    assert stage.held()[1] == foreign.facts.key_id


@pytest.mark.parametrize("dotenv", [True, False])
def test_promise_4_keys_of_the_former_project_of_a_policy_are_revoked_there(stage, dotenv):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    ours = stage.held()[0]
    stage.policy = replace(stage.policy, project="proj_b", digest="d2")
    stage.policies[:] = [stage.policy]
    stage.restart()
    stage.put_key_by_hand()
    if dotenv:
        for b in ("one", "two"):
            stage.backends[b].read_previous = lambda _d: None
    for _ in range(20):
        out = stage.look()
        stage.clock.advance(6 * HOUR)
    assert ours not in stage.provider.live("proj_a"), (record(stage).key(ours), out)


def test_promise_4_a_key_that_one_list_lacked_is_not_forgotten(stage):
    rotate_now(stage)
    stage.look()
    old = stage.held()[0]
    rotate_now(stage)
    stage.look()
    stage.restart()
    for b in ("one", "two"):
        stage.backends[b].read_previous = lambda _d: None  # dotenv
    stage.clock.advance(POLICY.grace)
    listed = stage.provider.list_keys
    stage.provider.list_keys = lambda project: [f for f in listed(project) if f.key_id != old]
    stage.look()
    stage.provider.list_keys = listed
    # the forwarded expiration, where the provider has it, ends it later; assume that it can't
    stage.provider._keys[old].facts = replace(stage.provider._keys[old].facts, expires_at=None)
    stage.look_until_quiet(200 * DAY)
    assert old not in stage.alive()


def test_promise_4_a_moments_refusal_and_a_partial_list_leave_no_key_behind(stage):
    rotate_now(stage)
    stage.look()
    old = stage.held()[0]
    listed, identify = stage.provider.list_keys, stage.provider.identify
    old_fp = stage.backends["one"].read(PLACES[0]).value.fingerprint()
    stage.provider.list_keys = lambda project: [f for f in listed(project) if f.key_id != old]
    stage.provider.identify = lambda s: Refused("401 invalid_api_key") if s.fingerprint() == old_fp else identify(s)
    stage.look()
    stage.provider.list_keys, stage.provider.identify = listed, identify
    stage.provider._keys[old].facts = replace(stage.provider._keys[old].facts, expires_at=None)
    stage.look_until_quiet(200 * DAY)
    assert old not in stage.alive()


def test_promise_1_a_canary_in_trouble_lets_no_other_key_expire(stage):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    canary = stage.another_policy("canary", canary=True)
    foreign = stage.provider.create_by_hand("proj_b", "foreign")
    stage.put(canary, foreign.secret.reveal())  # refused, until a person comes
    seen = []
    for _ in range(31 * 4):
        look(stage, canary)
        seen.append(stage.look())
        stage.clock.advance(6 * HOUR)
    assert set(stage.held()) <= stage.alive(), (seen[-1].result, seen[-1].reason)


def test_promise_9_a_canary_on_hold_blocks_nobody(stage):
    adopted(stage)
    canary = stage.another_policy("canary", canary=True)
    issued = stage.provider.create_by_hand(POLICY.project, "c")
    stage.put(canary, issued.secret.reveal())
    look(stage, canary)
    rotate_now(stage, canary)

    class Killed(BaseException):
        pass

    append = stage.journal.append

    def killed(lease, events, now):
        done = append(lease, events, now)
        if isinstance(events[0], ev.KeyIssued):
            raise Killed
        return done

    stage.journal.append = killed
    with pytest.raises(Killed):
        look(stage, canary)
    stage.restart()
    stage.journal.request("canary", ev.Held(reason="x"), stage.clock.now())
    stage.provider.revoke_by_hand(stage.held()[0])
    look(stage, canary)
    outcome = stage.look()
    assert set(stage.held()) <= stage.alive(), (outcome.result, outcome.reason)


def test_promise_5_a_clock_a_millisecond_behind_steals_no_lease(stage):
    stage.journal._is_dead = lambda _h: False
    now = stage.clock.now()
    stage.journal.acquire(POLICY.name, "a", now, timedelta(minutes=5))
    with pytest.raises(LeaseHeld):
        stage.journal.acquire(POLICY.name, "b", now - timedelta(milliseconds=1), timedelta(minutes=5))


def test_a_hold_covers_the_key_that_another_policy_shares(stage):
    shared = adopted(stage)
    other = stage.another_policy("other")
    stage.put(other, secret_of(stage))
    look(stage, other)
    rotate_now(stage)
    rotate_now(stage, other)
    look(stage, other)
    stage.look()
    stage.journal.request("other", ev.Held(reason="incident"), stage.clock.now())
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert shared in stage.alive()


def test_promise_9_a_policy_that_fails_again_and_again_does_not_use_up_the_budget(stage):
    stage.most = 3
    stage.restart()
    bad = stage.another_policy("bad")
    good = stage.another_policy("good")
    for p in (bad, good):
        issued = stage.provider.create_by_hand(POLICY.project, p.name, expires_at=stage.clock.now() + DAY)
        stage.put(p, issued.secret.reveal())
    for _ in range(3):
        stage.backends["other"].fail("write", AWAY)
        look(stage, bad)
        stage.clock.advance(timedelta(minutes=2))
    before = stage.provider.calls.count("create_key")
    outcome = look(stage, good)
    assert stage.provider.calls.count("create_key") == before + 1, outcome.reason


def test_promise_2_one_wrong_date_of_the_provider_shortens_no_grace(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.provider.ahead = -3 * DAY
    stage.look()
    stage.provider.ahead = timedelta(0)
    stage.clock.advance(POLICY.quiet + HOUR)
    stage.look()
    assert old in stage.alive()


def test_a_look_that_crashes_is_counted(stage):
    canary = stage.another_policy("canary", canary=True)
    issued = stage.provider.create_by_hand(POLICY.project, "c")
    stage.put(canary, issued.secret.reveal())
    look(stage, canary)
    stage.backends["other"].fail("read", ZeroDivisionError("x"))
    assert look(stage, canary).result is Result.FAILED
    assert stage.journal.look("canary").failures == 1


# 17 destination added and filled with the candidate by hand
def test_a_destination_that_is_added_in_the_middle_of_a_rotation_is_published_too(stage):
    adopted(stage)
    rotate_now(stage)
    stage.backends["two"].fail("write", AWAY)
    stage.look()
    three = Destination(backend="other", name="other:three#KEY", options=(("field", "KEY"), ("path", "three")))
    stage.policy = replace(stage.policy, destinations=(*PLACES, three))
    stage.policies[:] = [stage.policy]
    stage.restart()
    stage.backends["other"].put_by_hand(three, secret_of(stage))
    outcome = stage.look()
    assert not any("unexpected" in p for p in outcome.problems), outcome.problems


# 18 legacy / revoked wrong project created
def test_promise_4_a_key_that_was_made_in_another_project_is_revoked_there(stage):
    adopted(stage)
    rotate_now(stage)
    make = stage.provider._make
    made = []

    def elsewhere(project, *a, **k):
        issued = make("proj_b", *a, **k)
        made.append(issued.facts.key_id)
        return replace(issued, facts=replace(issued.facts, project=project))

    stage.provider._make = elsewhere
    out = stage.look()
    stage.provider._make = make
    stage.look_until_quiet(2 * HOUR)
    assert made[0] not in stage.provider.live("proj_b") or record(stage).key(made[0]), out


# 19 key copied by a person after the observation
def test_promise_2_a_place_that_was_looked_at_minutes_ago_is_looked_at_again_before_a_revocation(stage):
    old = adopted(stage)
    secret = secret_of(stage)
    rotate_now(stage)
    stage.look()
    other = stage.another_policy("other")
    stage.put(other, stage.provider.create_by_hand(POLICY.project, "x").secret.reveal())
    stage.clock.advance(POLICY.grace - timedelta(minutes=14))
    look(stage, other)
    stage.put(other, secret)
    stage.clock.advance(timedelta(minutes=14))
    stage.look()
    assert old in stage.alive()


def test_promise_1_an_expiration_that_comes_late_does_not_surprise_a_key_that_was_put_back(stage):
    """A holder paused before set_expiration; a person puts the key back, it is adopted; then the call lands."""
    old = adopted(stage)
    secret = secret_of(stage)
    pending = []
    set_expiration = stage.provider.set_expiration

    class Paused(BaseException):
        pass

    def paused(*arguments):
        pending.append(arguments)
        raise Paused

    stage.provider.set_expiration = paused
    rotate_now(stage)
    with pytest.raises(Paused):
        stage.look()
    stage.provider.set_expiration = set_expiration
    stage.restart()
    stage.put(stage.policy, secret)
    stage.look()
    assert old in stage.alive()
    set_expiration(*pending[0])
    for _ in range(6 * 24 * 2):
        stage.clock.advance(HOUR / 2)
        assert set(stage.held()) <= stage.alive()
        stage.look()


def test_a_journal_that_is_busy_is_used_again_when_it_is_free(stage):
    adopted(stage)
    path = stage.url.removeprefix("sqlite:///")
    blocker = sqlite3.connect(path, isolation_level=None)
    # shorten
    with stage.journal._write() as w:
        w.exec_driver_sql("PRAGMA busy_timeout=50")
    blocker.execute("BEGIN IMMEDIATE")
    out = stage.look()
    assert out.result is Result.FAILED
    blocker.execute("ROLLBACK")
    assert stage.look().result is Result.OK


def test_a_list_that_shows_a_key_twice_is_read_once(stage):
    rotate_now(stage)
    stage.look()
    rotate_now(stage)
    stage.look()
    stage.lose_the_journal()
    listed = stage.provider.list_keys
    stage.provider.list_keys = lambda project: [f for f in listed(project) for _ in range(2)]
    out = stage.look()
    assert out.problems == ()


# 23 hold in mid look
def test_a_hold_that_comes_during_the_look_stops_the_revocation(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace)
    lst = stage.provider.list_keys

    def listing(project):
        stage.provider.list_keys = lst
        stage.journal.request(POLICY.name, ev.Held(reason="incident"), stage.clock.now())
        return lst(project)

    stage.provider.list_keys = listing
    stage.look()
    assert old in stage.alive()


# 24 transient refusal of an adopted key on the first day
@pytest.mark.parametrize("backwards", [True])
def test_a_refusal_that_never_comes_is_asked_for_ever_more_slowly(stage, backwards):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.provider._refuse_after = 100 * DAY
    stage.clock.advance(POLICY.grace)
    for _ in range(20):
        outcome = stage.look()
        wait = outcome.next_at - stage.clock.now()
        stage.clock.current = outcome.next_at
    assert wait > timedelta(minutes=5)


# 25 a crash look leaves next_at in the past -> hot loop?
def test_promise_7_a_journal_that_was_lost_touches_no_key_of_another_instance(stage):
    """B adopted A's key K. A loses its journal: K is a stray of A by name, held by B's destination."""
    rotate_now(stage)
    stage.look()
    shared = stage.held()[0]
    other = stage.another_policy("other")
    stage.put(other, secret_of(stage))
    look(stage, other)
    rotate_now(stage)
    stage.look()
    stage.lose_the_journal()
    stage.look()
    look(stage, other)
    for _ in range(20):
        stage.clock.advance(HOUR * 6)
        stage.look()
    assert shared in stage.alive()
    (facts,) = [f for f in stage.provider.list_keys(POLICY.project) if f.key_id == shared]
    assert facts.expires_at > stage.clock.now() + 10 * DAY


# 26 same key, ids: stray beside another ending key
def test_promise_2_a_stray_that_another_policy_holds_is_given_no_end(stage):
    rotate_now(stage)
    stage.look()
    other = stage.another_policy("other", grace=6 * DAY, grace_limit=6 * DAY)
    rotate_now(stage)
    stage.look()
    made = stage.provider.create_key(
        POLICY.project, "rotator_prod_chat_20261101_abcdefgh", stage.clock.now() + 90 * DAY
    )
    stage.put(other, made.secret.reveal())
    stage.clock.advance(POLICY.grace)
    stage.look()
    (facts,) = [f for f in stage.provider.list_keys(POLICY.project) if f.key_id == made.facts.key_id]
    assert facts.expires_at > stage.clock.now() + 80 * DAY


def test_promise_2_after_a_change_of_project_places_of_the_former_one_are_still_looked_at(stage):
    rotate_now(stage)
    stage.look()
    ours, value = stage.held()[0], secret_of(stage)
    other = stage.another_policy("other")
    stage.put(other, stage.provider.create_by_hand(POLICY.project).secret.reveal())
    look(stage, other)
    stage.change_policy(project="proj_b", digest="d2")
    stage.put_key_by_hand()
    stage.look()
    assert record(stage).key(ours).state is KeyState.RETIRING
    stage.clock.advance(POLICY.grace - HOUR)
    look(stage, other)
    stage.put(other, value)  # a person; the next look at that policy is hours away
    stage.clock.advance(HOUR)
    stage.look()
    assert ours in stage.provider.live("proj_a")


def test_promise_3_a_place_s_value_is_shown_to_its_own_provider_alone(stage):
    """Two providers have a project of the same id; a key of the first was found by its name in its list."""
    asked = []
    provider = stage.provider

    class Another:
        def identify(self, secret):
            asked.append(secret.fingerprint())
            return provider.identify(secret)

        def __getattr__(self, name):
            return getattr(provider, name)

    adopted(stage)
    other = stage.another_policy("other", provider="another")
    theirs = provider.create_by_hand(POLICY.project).secret
    stage.put(other, theirs.reveal())
    identify, shown = provider.identify, []
    provider.identify = lambda secret: shown.append(secret.fingerprint()) or identify(secret)
    another = Another()
    stage.reconciler = replace(
        stage.reconciler,
        gatherer=replace(stage.reconciler.gatherer, providers=lambda name: another if name == "another" else provider),
    )
    made = provider.create_key(POLICY.project, "rotator_prod_chat_20261101_abcdefgh", stage.clock.now() + 90 * DAY)
    stage.clock.advance(DAY)
    stage.look()
    assert record(stage).key(made.facts.key_id).state is KeyState.RETIRING
    assert theirs.fingerprint() in asked
    assert len(shown) == len([one for one in shown if one != theirs.fingerprint()]) + len(asked)


def test_promise_1_the_old_value_that_a_person_puts_back_during_a_resumption_is_not_overwritten(stage):
    """It looks like what the rotation replaces, but the place was seen with the new key before."""
    old = adopted(stage)
    value = secret_of(stage)
    rotate_now(stage)
    stage.backends["two"].fail("write", BackendUnavailable("two: sealed"))
    append = stage.journal.append

    def lost(lease, events, now):
        if any(isinstance(event, ev.DestinationPublished) for event in events):
            raise JournalUnavailable("killed here")
        return append(lease, events, now)

    stage.journal.append = lost
    stage.look()
    stage.journal.append = append
    stage.restart()
    identify = stage.provider.identify

    def meanwhile(secret):
        stage.backends["one"].put_by_hand(PLACES[0], value)  # after it was read with the new key
        return identify(secret)

    stage.provider.identify = meanwhile
    stage.look()
    assert stage.held()[0] == old


def test_promise_8_a_key_that_a_restored_journal_does_not_know_is_found_when_the_destination_was_spoilt(
    stage, tmp_path
):
    adopted(stage)
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        copy = connection.serialize()
    rotate_now(stage)
    stage.look()
    lost = stage.held()[0]
    stage.journal.close()
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    (tmp_path / "state.db").write_bytes(copy)
    stage.restart()
    stage.put(stage.policy, "change-me")
    stage.look()
    assert record(stage).key(lost) is not None
    stage.look_until_quiet(stage.policy.grace_limit)
    assert lost not in stage.alive()


def test_a_leak_that_is_told_while_a_rotation_begins_leaves_the_leaked_key_no_grace(stage):
    old = adopted(stage)
    rotate_now(stage)
    check_writable = stage.backends["two"].check_writable

    def meanwhile(destination):
        stage.backends["two"].check_writable = check_writable
        rotate_now(stage, compromised=True)
        check_writable(destination)

    stage.backends["two"].check_writable = meanwhile
    stage.look()
    stage.look()
    assert old not in stage.alive()
    assert not record(stage).compromised
    assert stage.provider.calls.count("create_key") == 1


def test_an_early_end_that_may_not_have_been_set_is_set_again(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.provider.fail("set_expiration", UNKNOWN)
    stage.look()
    assert stage.provider._keys[old].facts.expires_at is None
    stage.clock.advance(timedelta(minutes=5))
    stage.look()
    assert stage.provider._keys[old].facts.expires_at is not None


def test_promise_2_a_key_that_another_policys_rotation_has_found_is_held_there_until_it_is_replaced(stage):
    """What was seen there a minute ago is older than what the journal knows of that rotation."""
    old = adopted(stage)
    value = secret_of(stage)
    list_keys = stage.provider.list_keys  # of a provider that does not tell when a key was used
    stage.provider.list_keys = lambda project: [replace(facts, last_used_at=None) for facts in list_keys(project)]
    other = stage.another_policy("other")
    stage.reconciler.reconcile(other)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace)
    stage.reconciler.reconcile(other)
    stage.put(other, value)
    rotate_now(stage, other, compromised=True)

    def killed(*_arguments, **_named):
        raise KeyboardInterrupt

    write, stage.backends["other"].write = stage.backends["other"].write, killed
    with pytest.raises(KeyboardInterrupt):
        stage.reconciler.reconcile(other)
    stage.backends["other"].write = write
    stage.clock.advance(timedelta(minutes=1))
    stage.look()
    assert old in stage.alive()
