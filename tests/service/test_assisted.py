"""The whole life of a policy whose keys people make: nothing but whoami and billing usage is ever called."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain import request_events as rev
from rotator.domain.assisted import WORD_COUNTS_AFTER
from rotator.domain.conditions import conditions
from rotator.domain.events import Held, KeyClosed, RollbackRequested, RotationRequested
from rotator.domain.handover import seen
from rotator.domain.record import Expiration, KeyState, Phase
from rotator.domain.requests import escalated_at, tasks_of
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendUnavailable, OutcomeUnknown, ProviderUnavailable
from rotator.service.desk import Taken
from rotator.service.reconcile import Result
from tests.domain.build import DAY, HOUR, MINUTE
from tests.service.people import PEOPLE, AssistedStage


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def stage(tmp_path):
    made = AssistedStage(f"sqlite:///{tmp_path}/state.db")
    made.change(assistance=PEOPLE)
    yield made
    made.journal.close()
    assert set(made.provider.calls) <= {"identify", "used_until"}, "an endpoint that manages keys was called"


def test_a_whole_life_from_the_first_request_to_the_refusal_of_the_old_key(stage):
    asked = stage.look()
    assert asked.result is Result.OK
    (task,) = tasks_of(stage.policy, stage.record, stage.clock.now())
    assert task.kind == "create"
    first = stage.make_key(expires_at=task.expires_at)
    taken = stage.submit(first.secret)
    assert (taken.taken, taken.key_id) == (Taken.ACCEPTED, first.facts.key_id)
    assert stage.held() == [first.facts.key_id] * 2
    current = stage.record.current
    assert (current.expires_at, current.name) == (task.expires_at, task.key_name)
    assert tasks_of(stage.policy, stage.record, stage.clock.now()) == ()

    stage.change(check_every=2 * DAY)
    outcomes = stage.look_until_quiet(23 * DAY)
    assert any("asked for a key" in sentence for outcome in outcomes for sentence in outcome.done)
    second = stage.make_key()
    assert stage.submit(second.secret).taken is Taken.ACCEPTED
    stage.look_until_quiet(DAY + HOUR)
    (task,) = tasks_of(stage.policy, stage.record, stage.clock.now())
    assert (task.kind, task.key_id) == ("revoke", first.facts.key_id)
    assert stage.alive() == {first.facts.key_id, second.facts.key_id}

    stage.provider.revoke_by_hand(first.facts.key_id)
    stage.clock.advance(2 * HOUR)
    done = stage.look().done
    assert done == (f"{first.facts.key_id}: refused by the provider: 401 invalid_api_key",)
    assert [key.key_id for key in stage.record.keys] == [second.facts.key_id]
    assert stage.record.rotations == ()


def test_nobody_comes_and_the_current_key_stays_until_it_ends(stage):
    """Promise 2."""
    key_id = stage.with_a_key_that_ends_soon()
    stage.look_until_quiet(8 * DAY)
    assert stage.held() == [key_id, key_id]
    assert not stage.provider.is_revoked(key_id)
    assert stage.happened(rev.PersonReminded) >= 6
    (task,) = tasks_of(stage.policy, stage.record, stage.clock.now())
    assert (task.kind, task.level) == ("create", "overdue")


def lasting(stage, now):
    """What people are told of the policy at that moment, beside its requests."""
    return {one.key for one in conditions(stage.policy, stage.record, None, now, 3)}


def test_while_a_person_who_was_asked_in_time_has_time_nothing_else_is_alarming(stage):
    """Also where ``renew_before`` is so long that half of it is gone days before the escalation."""
    stage.change(renew_before=14 * DAY)
    stage.with_a_key_that_ends_soon()
    request, ends = stage.record.awaiting.request, stage.record.current.expires_at
    escalated = escalated_at(request, PEOPLE)
    assert stage.clock.now() < ends - 7 * DAY < escalated - DAY < escalated < request.deadline < ends
    assert lasting(stage, escalated - MINUTE) == set()
    assert lasting(stage, escalated) == lasting(stage, request.deadline - MINUTE) == {"ending"}
    assert lasting(stage, request.deadline) == {"ending", "overdue"}


def test_a_request_that_came_late_or_is_on_hold_or_outlived_by_the_end_hides_no_alarm(stage):
    stage.with_a_key_that_ends_soon()
    current, rotation = stage.record.current, stage.record.awaiting
    late = replace(rotation.request, opened_at=current.expires_at - 3 * DAY, deadline=current.expires_at + 5 * DAY)
    asked = replace(stage.record, rotations=(replace(rotation, request=late),))
    assert {one.key for one in conditions(stage.policy, asked, None, late.opened_at, 3)} == {"ending"}
    in_time = replace(late, opened_at=rotation.request.opened_at)
    asked = replace(stage.record, rotations=(replace(rotation, request=in_time),))
    assert {one.key for one in conditions(stage.policy, asked, None, current.expires_at, 3)} == {"ending"}
    held, near = replace(stage.record, hold="a freeze"), current.expires_at - 3 * DAY
    assert {one.key for one in conditions(stage.policy, held, None, near, 3)} == {"ending"}


def test_a_handover_after_the_deadline_is_taken(stage):
    old = stage.with_a_key_that_ends_soon()
    stage.look_until_quiet(6 * DAY + 12 * HOUR)
    new = stage.make_key()
    assert stage.submit(new.secret).taken is Taken.ACCEPTED
    assert stage.held() == [new.facts.key_id] * 2
    assert stage.record.key(old).state is KeyState.RETIRING


def test_a_person_who_puts_a_fresh_key_there_by_themselves_ends_the_request(stage):
    stage.with_a_key_that_ends_soon()
    fresh = stage.put_key_by_hand()
    done = stage.look().done
    assert any("is not asked for any more" in sentence for sentence in done)
    assert stage.record.awaiting is None
    assert stage.record.current.key_id == fresh


def test_a_key_may_be_handed_over_early_with_its_expiration_but_not_on_hold(stage):
    first = stage.make_key()
    stage.look()
    stage.submit(first.secret)
    early = stage.make_key()
    assert stage.submit(early.secret).taken is Taken.POSTPONED
    stage.journal.request(stage.policy.name, Held(reason="incident"), stage.clock.now())
    held = stage.submit(early.secret, expires=Expiration(None))
    assert (held.taken, "on hold" in held.why) == (Taken.POSTPONED, True)
    stage.journal.request(stage.policy.name, Held(reason=""), stage.clock.now())
    assert stage.submit(early.secret, expires=Expiration(None)).taken is Taken.ACCEPTED
    assert stage.record.current.key_id == early.facts.key_id
    assert stage.record.current.expires_at is None


def test_a_leaked_key_is_replaced_without_grace_and_to_be_revoked_within_the_hour(stage):
    old = stage.with_a_key_that_ends_soon()
    stage.journal.request(stage.policy.name, RotationRequested(reason="leak", compromised=True), stage.clock.now())
    stage.look()
    assert stage.record.awaiting.request.deadline == stage.clock.now() + HOUR
    assert stage.submit(stage.make_key().secret).taken is Taken.ACCEPTED
    assert not stage.record.compromised
    revocation = stage.record.key(old).revocation
    assert (revocation.urgent, revocation.deadline) == (True, stage.clock.now() + HOUR)


# --- what is wrong ------------------------------------------------------------------------------------------


def revoked_key(stage) -> SecretValue:
    made = stage.make_key()
    stage.provider.revoke_by_hand(made.facts.key_id)
    return made.secret


WRONG = {
    "of another project": lambda stage: stage.make_key("proj_other").secret,
    "legacy": lambda stage: stage.provider.legacy_key().secret,
    "the current one": lambda stage: stage.backends["one"].read(stage.policy.destinations[0]).value,
    "ended": lambda stage: stage.make_key(expires_at=stage.clock.now()).secret,
    "revoked": revoked_key,
    "cut off": lambda stage: SecretValue(stage.make_key().secret.reveal()[:30]),
    "two lines": lambda stage: SecretValue(f"{stage.make_key().secret.reveal()}\nmore"),
    "a session": lambda _stage: SecretValue("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2Vzc2lvbg"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_was_not_asked_for_is_refused_with_its_reason_and_nothing_of_it_is_kept(stage, what):
    old = stage.with_a_key_that_ends_soon()
    before, writes = stage.record, stage.backends["one"].calls["write"]
    refused = stage.submit(WRONG[what](stage))
    assert refused.taken is Taken.REFUSED
    assert refused.why
    assert stage.record == before
    assert stage.held() == [old, old]
    assert stage.backends["one"].calls["write"] == writes
    assert stage.happened(rev.HandoverRefused) == 1


def test_a_key_of_another_policy_is_refused(stage):
    stage.with_a_key_that_ends_soon()
    shared = stage.make_key()
    other = stage.another_policy("batch")
    stage.put(other, shared.secret.reveal())
    stage.reconciler.reconcile(other)
    refused = stage.submit(shared.secret)
    assert (refused.taken, "by batch" in refused.why) == (Taken.REFUSED, True)


def test_a_key_that_ends_too_soon_is_refused(stage):
    stage.with_a_key_that_ends_soon()
    soon = Expiration(stage.clock.now() + 3 * DAY)
    assert "due for renewal" in stage.submit(stage.make_key().secret, expires=soon).why


def test_a_key_that_was_made_a_moment_ago_is_waited_for(stage):
    stage.look()
    stage.provider._accept_after = timedelta(seconds=2)
    assert stage.submit(stage.make_key().secret).taken is Taken.ACCEPTED


# --- what is in the way -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error"), [("read", BackendUnavailable("sealed")), ("check_writable", BackendDenied("no right"))]
)
def test_nothing_is_taken_while_a_destination_can_not_be_written(stage, call, error):
    stage.look()
    new = stage.make_key()
    stage.backends["two"].fail(call, error)
    answer = stage.submit(new.secret)
    assert (answer.taken, str(error) in answer.why) == (Taken.POSTPONED, True)
    assert stage.held() == [None, None]
    assert stage.submit(new.secret).taken is Taken.ACCEPTED


def test_nothing_is_taken_while_the_provider_can_not_be_asked(stage):
    stage.look()
    stage.provider.fail("identify", ProviderUnavailable("503"))
    assert stage.submit(stage.make_key().secret).taken is Taken.POSTPONED


def test_a_look_of_the_service_is_waited_for_within_bounds(stage):
    stage.look()
    lease = stage.journal.acquire(stage.policy.name, "another", stage.clock.now(), timedelta(hours=1))
    stage.journal._is_dead = lambda _holder: False
    assert stage.submit(stage.make_key().secret).taken is Taken.BUSY
    stage.journal.release(lease)
    assert stage.submit(stage.make_key().secret).taken is Taken.ACCEPTED


# --- two people, and the end of a process -------------------------------------------------------------------


def test_of_two_people_at_once_the_first_wins_and_the_key_of_the_second_is_to_be_revoked(stage):
    stage.with_a_key_that_ends_soon()
    first, other, began = stage.make_key(), stage.make_key(), seen(stage.record)
    assert stage.submit(first.secret, began=began).taken is Taken.ACCEPTED
    answer, second = stage.submit(other.secret, began=began), other.facts.key_id
    assert answer.taken is Taken.REFUSED
    assert f"revoke {second} in the console" in answer.why
    assert stage.held() == [first.facts.key_id] * 2
    assert stage.record.key(second).revocation
    (task,) = tasks_of(stage.policy, stage.record, stage.clock.now())
    assert any(f"rotator forget chat --key {second}" in sentence for sentence in task.what)
    stage.provider.revoke_by_hand(second)
    stage.clock.advance(HOUR)
    stage.look()
    assert stage.record.key(second) is None


@pytest.mark.parametrize(
    ("backend", "call", "when"),
    [
        ("one", "write", "before"),
        ("one", "write", "after"),
        ("two", "write", "before"),
        ("two", "write", "after"),
        ("one", "check_writable", "after"),
    ],
)
@pytest.mark.parametrize("first", ["the person", "the service"])
def test_promise_4_a_handover_that_dies_in_the_middle_is_finished_by_the_same_key(stage, backend, call, when, first):
    old = stage.with_a_key_that_ends_soon()
    new = stage.make_key()
    stage.backends[backend].fail(call, Crash(), when=when)
    with pytest.raises(Crash):
        stage.submit(new.secret)
    stage.restart()
    if first == "the service":
        stage.look()
    assert stage.submit(new.secret).taken is Taken.ACCEPTED
    assert stage.held() == [new.facts.key_id] * 2
    assert stage.record.current.key_id == new.facts.key_id
    assert {key.key_id for key in stage.record.keys} == {old, new.facts.key_id}
    assert stage.happened(rev.KeyRequested) == 2, "the first key, and this one"


def test_a_key_that_got_nowhere_and_is_not_handed_over_again_is_to_be_revoked(stage):
    """Promise 4: no unrecorded live key."""
    stage.with_a_key_that_ends_soon()
    lost, other = stage.make_key(), stage.make_key()
    stage.backends["one"].fail("write", Crash())
    with pytest.raises(Crash):
        stage.submit(lost.secret)
    stage.restart()
    stage.look()
    assert stage.record.awaiting
    assert stage.submit(other.secret).taken is Taken.ACCEPTED
    stage.look_until_quiet(HOUR)
    assert stage.record.key(lost.facts.key_id).revocation


def test_a_publication_that_fails_leaves_the_request_open(stage):
    stage.with_a_key_that_ends_soon()
    new = stage.make_key()
    for backend in ("one", "two"):
        stage.backends[backend].fail("write", BackendUnavailable("sealed"))
    answer = stage.submit(new.secret)
    assert (answer.taken, "hand the same one over again" in answer.told) == (Taken.UNFINISHED, True)
    assert stage.submit(new.secret).taken is Taken.ACCEPTED
    assert stage.held() == [new.facts.key_id] * 2


# --- the inbox ----------------------------------------------------------------------------------------------


def test_what_is_put_into_the_inbox_is_published_and_destroyed_there(stage):
    stage.use_inbox()
    stage.with_a_key_that_ends_soon()
    new = stage.make_key()
    assert stage.look().next_at == stage.clock.now() + MINUTE
    stage.put_into_inbox(new.secret)
    assert f"took {new.facts.key_id} from the inbox" in stage.look().done
    assert stage.inbox() is None
    assert stage.held() == [new.facts.key_id] * 2


def test_a_wrong_key_in_the_inbox_is_refused_and_destroyed(stage):
    stage.use_inbox()
    old = stage.with_a_key_that_ends_soon()
    stage.put_into_inbox(stage.make_key("proj_other").secret)
    outcome = stage.look()
    assert outcome.result is Result.OK
    assert any(sentence.startswith("refused what was in the inbox") for sentence in outcome.done)
    assert stage.inbox() is None
    assert stage.held() == [old, old]
    assert stage.record.awaiting


def test_the_inbox_written_twice_publishes_the_first_and_has_the_second_revoked(stage):
    stage.use_inbox()
    stage.with_a_key_that_ends_soon()
    first, second = stage.make_key(), stage.make_key()
    stage.put_into_inbox(first.secret)
    destroy = stage.backends["other"].destroy

    def meanwhile(*arguments):
        if not stage.record.key(second.facts.key_id):
            stage.backends["other"].destroy = destroy
            stage.put_into_inbox(second.secret)
        destroy(*arguments)

    stage.backends["other"].destroy = meanwhile
    stage.look()
    assert stage.inbox() is None
    assert stage.held() == [first.facts.key_id] * 2
    assert stage.record.key(second.facts.key_id).revocation


def test_a_key_in_the_inbox_that_nobody_asked_for_is_destroyed_and_to_be_revoked(stage):
    stage.use_inbox()
    stage.look()
    stage.submit(stage.make_key().secret)
    stray = stage.make_key()
    stage.put_into_inbox(stray.secret)
    stage.clock.advance(6 * HOUR)
    stage.look()
    assert stage.inbox() is None
    assert stage.record.key(stray.facts.key_id).revocation


def of_another_policy(stage):
    """A fresh key in another policy's place: nobody is asked to revoke it."""
    stray = stage.make_key()
    stage.put(stage.another_policy("batch"), stray.secret.reveal())
    return stray


def test_a_key_that_is_handed_over_in_vain_is_refused_every_time(stage):
    first = stage.make_key()
    stage.look()
    stage.submit(first.secret)
    stray = of_another_policy(stage)
    answers = [stage.submit(stray.secret, began=None, expires=Expiration(None)) for _ in range(3)]
    assert [answer.taken for answer in answers] == [Taken.REFUSED] * 3
    assert stage.record.key(stray.facts.key_id).state is KeyState.ORPHAN
    assert stage.look().result is Result.OK


def test_a_key_in_the_inbox_in_vain_that_could_not_be_destroyed_is_refused_and_destroyed_later(stage):
    stage.use_inbox()
    stage.look()
    stage.submit(stage.make_key().secret)
    stage.put_into_inbox(of_another_policy(stage).secret)
    stage.clock.advance(6 * HOUR)
    stage.backends["other"].fail("destroy", BackendUnavailable("sealed"))
    assert stage.look().result is Result.FAILED
    assert stage.inbox() is not None
    assert stage.look().result is Result.OK
    assert stage.inbox() is None


def test_a_key_in_the_inbox_is_kept_while_the_provider_can_not_be_asked(stage):
    stage.use_inbox()
    stage.with_a_key_that_ends_soon()
    new = stage.make_key()
    stage.put_into_inbox(new.secret)
    stage.provider.fail("identify", ProviderUnavailable("503"), nth=2)
    assert stage.look().result is Result.FAILED
    assert stage.inbox() is not None
    stage.look()
    assert (stage.inbox(), stage.held()) == (None, [new.facts.key_id] * 2)


@pytest.mark.parametrize(
    ("backend", "call", "when"),
    [("one", "write", "before"), ("one", "write", "after"), ("two", "write", "after"), ("other", "destroy", "before")],
)
def test_promise_4_a_look_that_dies_with_a_key_from_the_inbox_is_finished_from_there(stage, backend, call, when):
    stage.use_inbox()
    stage.with_a_key_that_ends_soon()
    new = stage.make_key()
    stage.put_into_inbox(new.secret)
    stage.backends[backend].fail(call, Crash(), when=when)
    with pytest.raises(Crash):
        stage.look()
    stage.restart()
    stage.look()
    assert (stage.inbox(), stage.held()) == (None, [new.facts.key_id] * 2)
    assert stage.happened(rev.HandoverRefused) == 0


# --- the end of an old key ----------------------------------------------------------------------------------


def to_be_revoked(stage) -> str:
    old = stage.with_a_key_that_ends_soon()
    stage.submit(stage.make_key().secret)
    stage.clock.advance(DAY)
    stage.look()
    assert stage.record.key(old).revocation
    return old


def test_the_old_key_is_seen_refused_also_by_another_process_while_a_destination_keeps_the_value_before(stage):
    old = to_be_revoked(stage)
    stage.restart()
    stage.provider.revoke_by_hand(old)
    stage.clock.advance(HOUR)
    stage.look()
    assert stage.record.key(old) is None


def forget_values(stage) -> None:
    """As dotenv files do: nobody has the old value any more."""
    for name in ("one", "two"):
        stage.backends[name].read_previous = lambda _destination: None
    stage.restart()


def test_where_nobody_has_its_secret_a_person_s_word_ends_a_key_and_is_recorded_as_such(stage):
    old = to_be_revoked(stage)
    forget_values(stage)
    stage.look()
    assert stage.record.key(old)
    tell_revoked(stage, old)
    assert stage.look_until_quiet(WORD_COUNTS_AFTER)[-1].done == (f"{old}: revoked, as ada tells; not observed",)
    assert stage.happened(KeyClosed) == 1


def tell_revoked(stage, key_id):
    now = stage.clock.now()
    stage.journal.request(stage.policy.name, rev.RevocationTold(key_id=key_id, by="ada", at=now), now)


def test_promise_4_a_person_s_word_does_not_count_before_another_process_could_try_the_key(stage):
    """The command is a process without a memory; the service beside it may have the secret yet."""
    old = to_be_revoked(stage)
    service = stage.reconciler
    forget_values(stage)
    tell_revoked(stage, old)
    told = stage.look()
    assert stage.record.key(old) is not None
    assert told.next_at <= stage.clock.now() + WORD_COUNTS_AFTER
    service.reconcile(stage.policy)
    assert stage.happened(rev.RevocationContradicted) == 1
    stage.clock.advance(DAY)
    stage.look()
    assert stage.record.key(old).revocation.done_by == "", "it was seen to be accepted after that word"


def test_a_word_that_is_given_again_counts_as_soon_as_the_first_one(stage):
    old = to_be_revoked(stage)
    forget_values(stage)
    for _ in range(6):
        tell_revoked(stage, old)
        stage.look()
        stage.clock.advance(MINUTE)
    assert stage.record.key(old) is None


def test_a_word_of_an_older_journal_has_no_moment_and_counts(stage):
    old = to_be_revoked(stage)
    forget_values(stage)
    stage.journal.request(stage.policy.name, rev.RevocationTold(key_id=old, by="ada"), stage.clock.now())
    stage.look()
    assert stage.record.key(old) is None


def test_a_person_s_word_is_not_believed_against_the_provider_s(stage):
    old = to_be_revoked(stage)
    tell_revoked(stage, old)
    outcome = stage.look()
    assert f"{old}: ada says that it is revoked, and the provider accepts it" in outcome.done
    assert stage.record.key(old).revocation.done_by == ""


def test_where_nobody_has_its_secret_the_told_expiration_ends_a_key_a_day_later(stage):
    old = to_be_revoked(stage)
    ends = stage.record.key(old).expires_at
    forget_values(stage)
    stage.clock.current = ends + DAY - MINUTE
    stage.look()
    assert stage.record.key(old)
    stage.clock.advance(2 * MINUTE)
    (sentence,) = [one for one in stage.look().done if one.startswith(old)]
    assert sentence.endswith("by the expiration that it was told to have; not observed")


def test_a_key_that_was_revoked_before_anybody_asked_is_closed_without_a_request(stage):
    old = stage.with_a_key_that_ends_soon()
    stage.submit(stage.make_key().secret)
    stage.provider.revoke_by_hand(old)
    stage.clock.advance(DAY)
    stage.look()
    assert stage.record.key(old) is None
    assert stage.happened(rev.RevocationRequested) == 0


def test_a_rollback_puts_the_old_key_back_and_never_touches_an_expiration(stage):
    old = stage.with_a_key_that_ends_soon()
    new = stage.make_key()
    stage.submit(new.secret)
    stage.journal.request(stage.policy.name, RollbackRequested(reason="bad"), stage.clock.now())
    stage.look()
    assert stage.held() == [old, old]
    assert stage.record.key(new.facts.key_id).state is KeyState.RETIRING


def test_a_leaked_key_is_replaced_although_a_rollback_was_asked_for(stage):
    old = stage.with_a_key_that_ends_soon()
    stage.journal.request(stage.policy.name, RotationRequested(reason="on a gist", compromised=True), stage.clock.now())
    stage.look()
    stage.journal.request(stage.policy.name, RollbackRequested(reason="bad"), stage.clock.now())
    stage.look()
    new = stage.make_key()
    assert stage.submit(new.secret).taken is Taken.ACCEPTED
    assert stage.held() == [new.facts.key_id] * 2
    assert stage.record.rollback is None
    assert stage.record.key(old).leaked


def test_promise_1_of_a_copied_key_its_end_is_known_where_it_was_told(stage):
    key_id = stage.with_a_key_that_ends_soon()
    ends = stage.record.current.expires_at
    other = stage.another_policy("copy")
    stage.put(other, stage.backends["one"].read(stage.policy.destinations[0]).value.reveal())
    stage.reconciler.reconcile(other)
    copied = stage.journal.load("copy")
    assert (copied.current.key_id, copied.current.expires_at) == (key_id, ends)


def test_a_creation_from_before_there_was_no_list_is_looked_for_until_it_must_have_ended(stage):
    stage.change(assistance=None)
    stage.provider.fail("create_key", OutcomeUnknown("no answer"), after=True)
    stage.look()
    stage.change(assistance=PEOPLE)
    stage.restart()
    stage.look_until_quiet(stage.policy.lifetime - HOUR)
    (intent,) = stage.record.open_intents
    stage.clock.current = intent.settled_at + stage.policy.lifetime
    stage.look()
    assert stage.record.open_intents == ()
    stage.provider.calls[:] = [call for call in stage.provider.calls if call not in {"create_key", "list_keys"}]


def test_a_rollback_of_what_was_made_by_an_endpoint_calls_none_any_more(stage):
    stage.change(assistance=None)
    stage.look()
    old = stage.record.current.key_id
    stage.journal.request(stage.policy.name, RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    ends = stage.record.key(old).expires_at
    stage.change(assistance=PEOPLE)
    stage.restart()
    stage.provider.calls.clear()
    stage.journal.request(stage.policy.name, RollbackRequested(reason="bad"), stage.clock.now())
    done = stage.look().done
    assert any("keeps its earlier end" in sentence for sentence in done)
    assert stage.held() == [old, old]
    assert stage.record.current.expires_at == ends, "which is near: a key is asked for"


def test_a_leak_that_is_told_before_the_first_look_is_not_forgotten_when_somebody_takes_the_key_out(stage):
    leaked = stage.put_key_by_hand()
    stage.journal.request(stage.policy.name, RotationRequested(reason="on a gist", compromised=True), stage.clock.now())
    stage.look()
    for place in stage.policy.destinations:
        stage.backends[place.backend].put_by_hand(place, None)
    assert stage.submit(stage.make_key().secret).taken is Taken.ACCEPTED
    assert stage.record.key(leaked).revocation


def test_the_current_key_is_not_said_to_be_taken_while_somebody_elses_lies_in_its_place(stage):
    stage.look()
    mine = stage.make_key()
    stage.submit(mine.secret)
    foreign = stage.make_key(project="proj_other")
    stage.backends["one"].put_by_hand(stage.policy.destinations[0], foreign.secret.reveal())
    stage.backends["two"].put_by_hand(stage.policy.destinations[1], foreign.secret.reveal())
    answer = stage.submit(mine.secret, expires=Expiration(None))
    assert answer.taken is Taken.POSTPONED
    assert "holds key_000002 of project proj_other" in answer.why


def test_promise_7_a_handover_overwrites_no_working_key_of_another_project(stage):
    stage.with_a_key_that_ends_soon()
    foreign = stage.make_key(project="proj_other")
    stage.put(stage.policy, foreign.secret.reveal())
    answer = stage.submit(stage.make_key().secret)
    assert answer.taken is Taken.POSTPONED
    assert stage.held() == [foreign.facts.key_id] * 2


def test_promise_8_a_lost_journal_asks_anew_and_learns_the_end_of_the_key_from_what_lies_beside_it(stage):
    old = stage.with_a_key_that_ends_soon()
    ends = stage.record.current.expires_at
    stage.lose_the_journal()
    stage.look()
    assert (stage.record.current.key_id, stage.record.current.expires_at) == (old, ends)
    assert stage.record.awaiting.phase is Phase.AWAITING


def test_a_dry_run_asks_nobody_and_says_what_it_would_ask(stage):
    """Promise 6."""
    made = stage.reconciler.preview(stage.policy)
    assert [type(action).__name__ for action in made.actions] == ["AskForKey"]
    assert stage.record.rotations == ()
