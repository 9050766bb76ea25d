"""The hard cases that DESIGN.md decides, one policy after the other, over fakes that keep the contracts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain import events as ev
from rotator.domain.record import KeyState, Origin
from rotator.errors import BackendUnavailable, LeaseHeld, OutcomeUnknown, ProviderUnavailable
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, MINUTE, POLICY
from tests.service.conftest import PLACES

AWAY = BackendUnavailable("sealed")


def record(stage, policy=None):
    return stage.journal.load((policy or stage.policy).name)


def rotate_now(stage, policy=None, *, compromised=False):
    event = ev.RotationRequested(reason="test", compromised=compromised)
    stage.journal.request((policy or stage.policy).name, event, stage.clock.now())


def look(stage, policy):
    return stage.reconciler.reconcile(policy)


def secret_of(stage, place=PLACES[0]):
    return stage.backends[place.backend].read(place).value.reveal()


def adopted(stage):
    old = stage.put_key_by_hand()
    assert stage.look().result is Result.OK
    return old


# --- two policies hold the same key ---------------------------------------------------------------------------


def test_promise_2_a_key_of_two_policies_is_revoked_only_after_the_grace_of_both(stage):
    shared = adopted(stage)
    other = stage.another_policy("other")
    stage.put(other, secret_of(stage))
    look(stage, other)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(10 * DAY)
    stage.look()
    assert shared in stage.alive(), "the other policy still holds it"
    rotate_now(stage, other)
    look(stage, other)
    stage.look()
    assert shared in stage.alive(), "its consumers have a grace of their own"
    stage.clock.advance(POLICY.grace - timedelta(minutes=1))
    stage.look()
    assert shared in stage.alive()
    stage.clock.advance(timedelta(minutes=1))
    stage.look()
    look(stage, other)
    assert shared not in stage.alive()
    stage.look()
    look(stage, other)
    assert record(stage).key(shared) is None
    assert record(stage, other).key(shared) is None


def test_promise_2_a_key_of_two_policies_is_given_no_end_while_one_of_them_needs_it(stage):
    shared = adopted(stage)
    other = stage.another_policy("other")
    stage.put(other, secret_of(stage))
    look(stage, other)
    rotate_now(stage)
    stage.look()
    (facts,) = [facts for facts in stage.provider.list_keys(POLICY.project) if facts.key_id == shared]
    assert facts.expires_at is None


def test_a_policy_that_left_the_configuration_keeps_no_key_alive(stage):
    shared = adopted(stage)
    other = stage.another_policy("other")
    stage.put(other, secret_of(stage))
    look(stage, other)
    stage.policies.remove(other)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert shared not in stage.alive()


# --- destinations hold different keys -------------------------------------------------------------------------


def test_different_keys_in_the_destinations_all_become_retiring(stage):
    ids = []
    for place in PLACES:
        issued = stage.provider.create_by_hand(POLICY.project, f"by hand in {place.backend}")
        stage.backends[place.backend].put_by_hand(place, issued.secret.reveal())
        ids.append(issued.facts.key_id)
    stage.look()
    new = stage.held()[0]
    assert stage.held() == [new, new]
    assert {key.key_id for key in record(stage).in_state(KeyState.RETIRING)} == set(ids)
    assert set(ids) <= stage.alive()
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert stage.alive() == {new}


def test_a_key_beside_an_empty_destination_becomes_retiring(stage):
    issued = stage.provider.create_by_hand(POLICY.project)
    stage.backends["one"].put_by_hand(PLACES[0], issued.secret.reveal())
    stage.look()
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert stage.alive() == {stage.held()[0]}


def test_an_old_key_put_back_into_one_destination_gets_a_new_grace(stage):
    old = adopted(stage)
    secret = secret_of(stage)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace - HOUR)
    stage.backends["two"].put_by_hand(PLACES[1], secret)
    stage.look()  # converges on a third key
    assert len(set(stage.held())) == 1
    stage.clock.advance(POLICY.grace - HOUR)
    stage.look()
    assert old in stage.alive(), "consumers of the second destination had it until a moment ago"


# --- effects that come late -----------------------------------------------------------------------------------


def test_promise_1_an_orphan_that_a_paused_holder_may_still_publish_is_kept_until_it_can_not(stage):
    old = adopted(stage)
    rotate_now(stage)
    holder, stolen = stage.reconciler, []

    def paused(*arguments, **named):
        stolen.append((arguments, named))
        raise Paused

    write = stage.backends["one"].write
    stage.backends["one"].write = paused
    with pytest.raises(Paused):
        holder.reconcile(stage.policy)
    stage.restart()
    stage.backends["one"].write = write
    stage.backends["one"].fail("check_writable", AWAY)  # so that no other key takes the orphan's place yet
    stage.look()
    (orphan,) = record(stage).in_state(KeyState.ORPHAN)
    stage.clock.advance(20 * POLICY.settle)
    for _ in range(3):
        stage.backends["one"].fail("check_writable", AWAY)
        stage.look()
    assert orphan.key_id in stage.alive(), "its publication may be on its way"

    ((arguments, named),) = stolen
    write(*arguments, **named)  # and here it lands

    assert stage.held() == [orphan.key_id, old]
    stage.look_until_quiet(2 * HOUR)
    assert set(stage.held()) <= stage.alive()
    assert len(set(stage.held())) == 1


def test_a_former_holders_write_that_arrives_amid_the_next_publication_is_replaced_and_has_a_grace(stage):
    adopted(stage)
    rotate_now(stage)
    write, stolen = stage.backends["one"].write, []

    def paused(*arguments, **named):
        stolen.append((arguments, named))
        raise Paused

    stage.backends["one"].write = paused
    with pytest.raises(Paused):
        stage.look()
    stage.restart()
    ((arguments, named),) = stolen

    def arriving(*mine, **my_names):
        stage.backends["one"].write = write
        write(*arguments, **named)
        return write(*mine, **my_names)

    stage.backends["one"].write = arriving
    assert stage.look().result is Result.OK
    assert stage.provider.calls.count("create_key") == 2
    (new,) = set(stage.held())
    late = next(key for key in record(stage).keys if key.origin is Origin.ISSUED and key.key_id != new)
    assert late.state is KeyState.RETIRING
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert stage.alive() == {new}


class Paused(BaseException):
    """The process stands still here, and nobody knows for how long."""


def test_promise_5_a_paused_holder_that_wakes_up_writes_no_more(stage):
    adopted(stage)
    rotate_now(stage)
    create, woken = stage.provider.create_key, []

    def slow(*arguments):
        issued = create(*arguments)
        stage.clock.advance(timedelta(minutes=6))  # longer than the lease
        woken.append(issued.facts.key_id)
        stage.journal._is_dead = lambda _holder: False
        stage.journal.acquire(POLICY.name, "another", stage.clock.now(), timedelta(minutes=5))
        return issued

    stage.provider.create_key = slow
    outcome = stage.look()
    assert outcome.result is Result.BUSY
    assert woken[0] not in stage.alive(), "its maker revokes what the journal refuses"
    assert woken[0] not in stage.held()


def test_promise_5_work_that_takes_long_keeps_its_lease_by_a_heartbeat(stage):
    adopted(stage)
    rotate_now(stage)
    stage.clock.advance(HOUR)
    stage.provider._accept_after = timedelta(seconds=55)
    stage.journal._is_dead = lambda _holder: False
    refused = []
    identify = stage.provider.identify

    def watched(secret):
        with pytest.raises(LeaseHeld) as caught:
            stage.journal.acquire(POLICY.name, "thief", stage.clock.now(), timedelta(minutes=5))
        refused.append(caught)
        return identify(secret)

    stage.reconciler = replace(stage.reconciler, lease_ttl=timedelta(seconds=20))
    stage.provider.identify = watched
    assert stage.look().result is Result.OK
    assert len(refused) > 10


def slow(stage, of, call):
    """Each such call takes a minute, and another host would take the policy over. Answers a list that gets each one."""
    carry_out, calls = getattr(of, call), []
    stage.journal._is_dead = lambda _holder: False

    def slowly(*arguments):
        calls.append(arguments)
        stage.clock.advance(MINUTE)
        with pytest.raises(LeaseHeld):
            stage.journal.acquire(POLICY.name, "another host", stage.clock.now(), timedelta(minutes=5))
        return carry_out(*arguments)

    setattr(of, call, slowly)
    return calls


def many_places(stage):
    value = secret_of(stage)
    options = [(("field", "KEY"), ("path", str(number))) for number in range(8)]
    places = tuple(replace(PLACES[0], name=f"one:{of[1][1]}#KEY", options=of) for of in options)
    stage.policy = stage.policies[0] = replace(stage.policy, destinations=places, digest="d2")
    stage.put(stage.policy, value)


def test_promise_5_reading_many_slow_places_keeps_the_lease(stage):
    adopted(stage)
    many_places(stage)
    read = slow(stage, stage.backends["one"], "read")
    assert stage.look().result is Result.OK
    assert len(read) == 8


def test_promise_5_asking_which_keys_they_hold_keeps_the_lease(stage):
    adopted(stage)
    many_places(stage)
    for number, place in enumerate(stage.policy.destinations):
        issued = stage.provider.create_by_hand(POLICY.project, f"key {number}")
        stage.backends["one"].put_by_hand(place, issued.secret.reveal())
    asked = slow(stage, stage.provider, "identify")
    stage.reconciler.begin(stage.policy, stage.journal.acquire(POLICY.name, "me", stage.clock.now(), 5 * MINUTE))
    assert len(asked) == 8


def test_promise_5_reading_the_slow_places_of_other_policies_keeps_the_lease(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    for number in range(8):
        stage.another_policy(f"other-{number}")
    stage.clock.advance(POLICY.grace)
    read = slow(stage, stage.backends["other"], "read")
    assert stage.look().result is Result.OK
    assert len(read) >= 8
    assert old not in stage.alive()


def test_promise_6_a_dry_run_over_slow_places_renews_no_lease(stage):
    adopted(stage)
    many_places(stage)
    carry_out = stage.backends["one"].read

    def slowly(place):
        stage.clock.advance(MINUTE)
        return carry_out(place)

    stage.backends["one"].read = slowly
    stage.journal.renew = None
    assert stage.reconciler.preview(stage.policy).verdict.check == "NothingDue"


# --- publications that stay unfinished ------------------------------------------------------------------------


def test_a_publication_that_stays_unfinished_is_seen_and_alarmed(stage, capsys):
    old = adopted(stage)
    rotate_now(stage)
    for _ in range(8):
        stage.backends["two"].fail("write", AWAY)
        outcome = stage.look()
        stage.clock.advance(POLICY.settle / 4)
    assert outcome.check == "RotationInFlight"
    assert "published to 1 of 2" in outcome.reason
    assert old in stage.alive()
    plan = stage.reconciler.preview(stage.policy)
    assert [alert.check for alert in plan.alerts] == ["RotationInFlight"]


# --- the provider answers nonsense ----------------------------------------------------------------------------


def test_promise_7_a_creation_that_answers_with_the_id_of_another_key_revokes_nothing_of_others(stage):
    old = adopted(stage)
    theirs = stage.provider.create_by_hand(POLICY.project, "theirs").facts.key_id
    rotate_now(stage)
    create = stage.provider.create_key

    def lying(project, name, expires_at):
        issued = create(project, name, expires_at)
        return replace(issued, facts=replace(issued.facts, key_id=theirs))

    stage.provider.create_key = lying
    assert stage.look().result is Result.FAILED
    stage.provider.create_key = create
    stage.look_until_quiet(20 * POLICY.settle)
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert theirs in stage.alive()
    assert old not in stage.alive()
    assert stage.alive() == {theirs, stage.held()[0]}


def test_a_creation_that_answers_with_the_id_of_our_current_key_is_not_believed(stage):
    old = adopted(stage)
    rotate_now(stage)
    create = stage.provider.create_key

    def lying(project, name, expires_at):
        issued = create(project, name, expires_at)
        return replace(issued, facts=replace(issued.facts, key_id=old))

    stage.provider.create_key = lying
    assert stage.look().result is Result.FAILED
    assert (stage.held(), old in stage.alive()) == ([old, old], True)
    stage.provider.create_key = create
    stage.look_until_quiet(20 * POLICY.settle)
    assert len(stage.alive()) == 2, "the old one in its grace and the new one; the lost one is revoked"


def test_a_creation_that_answers_with_another_name_is_not_believed(stage):
    old = adopted(stage)
    rotate_now(stage)
    create = stage.provider.create_key

    def lying(project, name, expires_at):
        issued = create(project, name, expires_at)
        return replace(issued, facts=replace(issued.facts, name="another"))

    stage.provider.create_key = lying
    assert stage.look().result is Result.FAILED
    assert stage.held() == [old, old]


def test_promise_7_one_wrong_whoami_at_adoption_is_put_right_by_the_next(stage):
    mine = stage.put_key_by_hand()
    theirs = stage.provider.create_by_hand(POLICY.project, "theirs").facts.key_id
    _takes_for(stage, theirs, times=1)
    stage.look()
    assert record(stage).current.key_id == theirs
    stage.look()
    assert record(stage).current.key_id == mine
    assert record(stage).key(theirs) is None


def test_promise_7_a_key_that_was_adopted_by_a_wrong_whoami_is_not_revoked(stage):
    mine = stage.put_key_by_hand()
    theirs = stage.provider.create_by_hand(POLICY.project, "theirs").facts.key_id
    _takes_for(stage, theirs, times=2)
    stage.look()
    rotate_now(stage)
    outcome = stage.look()
    assert record(stage).key(theirs) is None
    assert {mine, theirs} <= stage.alive()
    assert stage.provider._keys[theirs].facts.expires_at is None
    assert f"the provider now says that what it took for this key is {mine}" in outcome.problems[0]
    stage.look_until_quiet(10 * DAY)
    assert theirs in stage.alive()


def _takes_for(stage, key_id, *, times):
    """The provider names another key, so often."""
    identify, left = stage.provider.identify, [None] * times

    def lying(secret):
        answer = identify(secret)
        return replace(answer, key_id=key_id) if left and left.pop() is None else answer

    stage.provider.identify = lying


def test_an_empty_list_revokes_nothing_and_closes_nothing(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace)
    listed = stage.provider.list_keys
    stage.provider.list_keys = lambda _project: ()
    stage.look()
    assert old in stage.alive()
    assert record(stage).key(old).state is KeyState.RETIRING
    stage.provider.list_keys = listed
    stage.look()
    assert old not in stage.alive()


# --- still in use ---------------------------------------------------------------------------------------------


def test_use_that_only_the_bill_tells_holds_a_revocation_back(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    listed = stage.provider.list_keys
    stage.provider.list_keys = lambda project: [replace(facts, last_used_at=None) for facts in listed(project)]
    stage.clock.advance(POLICY.grace)
    stage.provider.billed = {old: stage.clock.now() - HOUR}
    stage.look()
    assert old in stage.alive()
    stage.clock.advance(POLICY.quiet)
    stage.look()
    assert old not in stage.alive()


def test_a_bill_that_can_not_be_had_holds_a_revocation_back_until_the_limit(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    listed = stage.provider.list_keys
    stage.provider.list_keys = lambda project: [replace(facts, last_used_at=None) for facts in listed(project)]
    stage.clock.advance(POLICY.grace)
    stage.provider.fail("used_until", ProviderUnavailable("503"))
    outcome = stage.look()
    assert old in stage.alive()
    assert outcome.next_at <= stage.clock.now() + timedelta(minutes=10)
    stage.look()
    assert old not in stage.alive()


# --- the legacy organisation key ------------------------------------------------------------------------------


def test_the_finding_of_a_legacy_key_stays_until_its_owner_regenerated_it(stage):
    issued = stage.provider.legacy_key()
    for place in PLACES:
        stage.backends[place.backend].put_by_hand(place, issued.secret.reveal())
    stage.look()
    rotate_now(stage)
    stage.look_until_quiet(10 * DAY)
    alerts = {alert.check for alert in stage.reconciler.preview(stage.policy).alerts}
    assert alerts == {"CannotBeRevoked"}
    stage.provider.revoke_by_hand(issued.facts.key_id)  # regenerated: the old secret is refused
    stage.look_until_quiet(DAY)
    assert record(stage).key(issued.facts.key_id) is None


# --- compromised ----------------------------------------------------------------------------------------------


def test_compromised_means_older_retiring_keys_too(stage):
    first = adopted(stage)
    rotate_now(stage)
    stage.look()
    second = stage.held()[0]
    rotate_now(stage, compromised=True)
    stage.look()
    stage.look()
    assert {first, second} & stage.alive() == set()
    assert stage.alive() == {stage.held()[0]}


# --- an ambiguous revocation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_a_revocation_whose_answer_was_lost_is_decided_by_list_and_refusal(stage, after):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.clock.advance(POLICY.grace)
    stage.provider.fail("revoke_key", OutcomeUnknown("lost"), after=after)
    assert stage.look().result is Result.FAILED
    outcomes = stage.look_until_quiet(HOUR)
    assert old not in stage.alive()
    assert record(stage).key(old) is None
    done = [sentence for outcome in outcomes for sentence in outcome.done]
    assert any("refused by the provider: 401 invalid_api_key" in sentence for sentence in done)


def test_a_leaked_key_that_a_person_puts_back_gets_no_grace_by_the_next_rotation(stage):
    leaked = adopted(stage)
    value = secret_of(stage)
    stage.provider.fail("revoke_key", ProviderUnavailable("away"))
    rotate_now(stage, compromised=True)
    stage.look()
    assert leaked in stage.alive()
    stage.backends["one"].put_by_hand(PLACES[0], value)
    stage.look()
    assert leaked not in stage.held()
    assert leaked not in stage.alive()
