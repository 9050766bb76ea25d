"""Rollback: the former key everywhere again, and a grace for the newer one. Promises 1, 2, 4 and 5."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.events import RollbackRequested, RotationRequested
from rotator.domain.record import KeyState
from rotator.domain.text import text
from rotator.errors import BackendDenied, BackendUnavailable, OutcomeUnknown, ProviderRejected, ProviderUnavailable
from rotator.service.reconcile import Result
from tests.service.conftest import Stage

HOUR = timedelta(hours=1)


def rotated(stage: Stage, **facts: object) -> tuple[str, str]:
    """A person's key, adopted and replaced: the ids of the former and of the newer key."""
    former = stage.put_key_by_hand(**facts)
    stage.look()
    stage.journal.request("chat", RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    newer = stage.held()[0]
    assert newer is not None
    assert newer != former
    return former, newer


def ask(stage: Stage) -> None:
    stage.journal.request("chat", RollbackRequested(reason="it does not work"), stage.clock.now())


def expiration(stage: Stage, key_id: str) -> object:
    return stage.provider._keys[key_id].facts.expires_at


def test_the_former_key_is_everywhere_again_and_the_newer_one_retires(stage: Stage) -> None:
    former, newer = rotated(stage)
    stage.clock.advance(HOUR)
    ask(stage)

    outcome = stage.look()

    assert outcome.result is Result.OK
    assert stage.held() == [former, former]
    record = stage.journal.load("chat")
    assert [key.retired_at for key in record.keys if key.key_id == newer] == [stage.clock.now()]
    assert record.current.retired_at is None
    assert {key.key_id: key.state for key in record.keys} == {former: KeyState.CURRENT, newer: KeyState.RETIRING}
    assert record.rollback is None
    assert record.rotations == ()
    assert stage.alive() == {former, newer}


def test_the_newer_key_is_revoked_after_a_grace_of_its_own(stage: Stage) -> None:
    """Promise 2: consumers may hold it already."""
    former, newer = rotated(stage)
    stage.clock.advance(stage.policy.grace - HOUR)
    ask(stage)
    stage.look()
    stage.clock.advance(stage.policy.grace - HOUR)
    stage.look()
    assert not stage.provider.is_revoked(newer)
    stage.clock.advance(2 * HOUR)
    stage.look()
    assert stage.provider.is_revoked(newer)
    assert stage.alive() == {former}


@pytest.mark.parametrize("days", [None, 60])
def test_the_former_key_gets_its_expiration_back(stage: Stage, days: int | None) -> None:
    ends = stage.clock.now() + timedelta(days=days) if days else None
    former, _ = rotated(stage, expires_at=ends)
    assert expiration(stage, former) == stage.clock.now() + stage.policy.grace_limit + HOUR
    ask(stage)
    stage.look()
    assert expiration(stage, former) == ends
    current = stage.journal.load("chat").current
    assert current is not None
    assert current.expires_at == ends


def test_a_provider_that_does_not_give_the_expiration_back_is_believed_to_end_the_key_early(stage: Stage) -> None:
    former, _ = rotated(stage)
    soon = expiration(stage, former)
    stage.provider.fail("set_expiration", ProviderRejected("not allowed"))
    ask(stage)
    stage.look()
    current = stage.journal.load("chat").current
    assert current is not None
    assert (current.key_id, current.expires_at) == (former, soon)
    stage.look_until_quiet(timedelta(days=5))
    assert None not in stage.held()
    assert all(key_id in stage.alive() for key_id in stage.held())


def test_what_was_put_back_is_not_replaced_at_once(stage: Stage) -> None:
    """The key had been replaced because it was due: it still is."""
    former = stage.put_key_by_hand(expires_at=stage.clock.now() + timedelta(days=8))
    stage.look()
    stage.clock.advance(timedelta(days=2))
    stage.look()
    assert stage.held() != [former, former]
    ask(stage)
    stage.look()
    assert stage.held() == [former, former]
    stage.clock.advance(timedelta(days=2))
    stage.look()
    assert stage.held() == [former, former]
    stage.look_until_quiet(timedelta(days=30))
    assert former not in stage.held()
    assert all(key_id in stage.alive() for key_id in stage.held())


def test_a_rollback_after_a_restart_takes_the_value_from_where_it_lay(stage: Stage) -> None:
    former, _ = rotated(stage)
    stage.restart()
    ask(stage)
    stage.look()
    assert stage.held() == [former, former]


def test_one_destination_that_keeps_the_previous_value_is_enough(stage: Stage) -> None:
    former, _ = rotated(stage)
    for place in stage.backends["one"]._places.values():
        place.previous.clear()
    stage.restart()
    ask(stage)
    stage.look()
    assert stage.held() == [former, former]


def test_without_a_previous_value_nothing_is_changed_and_the_reason_is_told(stage: Stage) -> None:
    _, newer = rotated(stage)
    for name in ("one", "two"):
        for place in stage.backends[name]._places.values():
            place.previous.clear()
    stage.restart()
    ask(stage)
    outcome = stage.look()
    assert "a dotenv file keeps none" in outcome.problems[0]
    assert stage.held() == [newer, newer]
    assert stage.journal.load("chat").rollback is None


def test_promise_1_a_former_key_that_is_refused_is_not_put_back(stage: Stage) -> None:
    former, newer = rotated(stage)
    stage.provider.revoke_by_hand(former)
    ask(stage)
    outcome = stage.look()
    assert "does not accept" in outcome.problems[0]
    assert stage.held() == [newer, newer]


def test_what_somebody_else_wrote_since_is_not_overwritten(stage: Stage) -> None:
    rotated(stage)
    theirs = stage.provider.create_by_hand(stage.policy.project, "theirs")
    stage.backends["two"].put_by_hand(stage.policy.destinations[1], theirs.secret.reveal())
    ask(stage)
    outcome = stage.look()
    assert "somebody else has written two:app#KEY since" in outcome.problems[0]
    assert theirs.facts.key_id in stage.alive()
    assert stage.journal.load("chat").rollback is None


def test_a_leaked_key_is_not_put_back(stage: Stage) -> None:
    former = stage.put_key_by_hand()
    stage.look()
    stage.journal.request("chat", RotationRequested(reason="leaked", compromised=True), stage.clock.now())
    stage.provider.fail("revoke_key", ProviderUnavailable("away"))
    stage.look()
    ask(stage)
    stage.look()
    assert former not in stage.held()
    assert former not in stage.alive()


@pytest.mark.parametrize(
    ("backend", "call", "error", "when"),
    [
        ("one", "write", BackendUnavailable("sealed"), "before"),
        ("two", "write", BackendUnavailable("sealed"), "before"),
        ("one", "write", OutcomeUnknown("lost"), "after"),
        ("two", "write", OutcomeUnknown("lost"), "before"),
        ("two", "check_writable", BackendUnavailable("sealed"), "before"),
        ("one", "read", BackendUnavailable("sealed"), "before"),
    ],
)
def test_an_interrupted_rollback_is_finished(stage: Stage, backend, call, error, when) -> None:
    former, newer = rotated(stage)
    ask(stage)
    stage.backends[backend].fail(call, error, nth=1, when=when)
    stage.look()
    assert stage.alive() == {former, newer}
    stage.restart()
    stage.clock.advance(timedelta(minutes=5))
    stage.look()
    assert stage.held() == [former, former]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 5))
def test_promise_4_killed_at_any_entry_of_the_journal_a_rollback_is_finished(stage: Stage, number, after) -> None:
    former, newer = rotated(stage)
    ask(stage)
    append, count = stage.journal.append, iter(range(1, 100))

    def dying(lease, events, now):
        if next(count) != number:
            return append(lease, events, now)
        if after:
            append(lease, events, now)
        raise Killed

    stage.journal.append = dying
    try:
        stage.look()
    except Killed:
        stage.journal.append = append
    stage.restart()
    stage.clock.advance(timedelta(minutes=6))
    stage.look()
    stage.look()
    assert stage.held() == [former, former]
    assert stage.alive() == {former, newer}
    stage.look_until_quiet(stage.policy.grace + 2 * HOUR)
    assert stage.alive() == {former}


def test_promise_1_a_late_write_of_a_dropped_rollback_finds_its_key_alive(stage: Stage) -> None:
    """A paused holder may write the former key after the rollback was dropped: it is kept until it can't land."""
    former, newer = rotated(stage)
    ask(stage)
    late = stage.backends["two"].read(stage.policy.destinations[1])
    stage.backends["one"].fail("write", BackendUnavailable("sealed"))
    stage.backends["two"].fail("write", BackendUnavailable("paused here"))
    stage.look()
    theirs = stage.provider.create_by_hand(stage.policy.project, "theirs")
    stage.backends["one"].put_by_hand(stage.policy.destinations[0], theirs.secret.reveal())
    stage.clock.advance(timedelta(minutes=5))
    stage.policy = replace(stage.policy, drift=stage.policy.drift.ALERT)
    stage.look()  # dropped: somebody else wrote
    assert stage.journal.load("chat").rollback is None
    stage.clock.advance(stage.policy.grace + HOUR)
    stage.look()
    assert former in stage.alive()
    assert late.version == stage.backends["two"].read(stage.policy.destinations[1]).version
    assert newer in stage.alive()


def test_a_rotation_that_is_asked_for_meanwhile_takes_the_place_of_the_rollback(stage: Stage) -> None:
    former, newer = rotated(stage)
    ask(stage)
    stage.journal.request("chat", RotationRequested(reason="leaked", compromised=True), stage.clock.now())
    stage.look()
    assert set(stage.held()) & {former, newer} == set()


def test_asked_for_twice_it_is_done_once(stage: Stage) -> None:
    former, _ = rotated(stage)
    ask(stage)
    ask(stage)
    stage.look()
    changes = list(stage.backends["one"].changes)
    assert stage.look().result is Result.OK
    assert stage.held() == [former, former]
    assert stage.backends["one"].changes == changes


def test_a_destination_that_can_not_be_asked_for_its_previous_value_is_passed_over(stage: Stage) -> None:
    former, _ = rotated(stage)
    stage.restart()
    ask(stage)
    stage.backends["one"].fail("read_previous", BackendUnavailable("one: sealed"))
    stage.look()
    assert stage.held() == [former, former]


@pytest.mark.parametrize("days", [None, 60])
def test_the_destinations_tell_the_expiration_that_the_former_key_got_back(stage: Stage, days: int | None) -> None:
    ends = stage.clock.now() + timedelta(days=days) if days else None
    rotated(stage, expires_at=ends)
    ask(stage)
    stage.look()
    hints = stage.backends["one"].read(stage.policy.destinations[0]).metadata
    assert hints.get("expires", "") == (text(ends) if ends else "")


def test_a_rotation_that_is_asked_for_while_the_rollback_begins_ends_it_before_anything_is_written(stage) -> None:
    former, newer = rotated(stage)
    ask(stage)
    set_expiration = stage.provider.set_expiration

    def meanwhile(*arguments):
        stage.provider.set_expiration = set_expiration
        stage.journal.request("chat", RotationRequested(reason="leaked", compromised=True), stage.clock.now())
        return set_expiration(*arguments)

    stage.provider.set_expiration = meanwhile
    outcome = stage.look()
    assert outcome.problems == ("not rolled back: something else was asked for meanwhile",)
    assert stage.held() == [newer, newer]
    stage.look()
    assert {former, newer}.isdisjoint(stage.held())


def test_promise_1_a_late_write_of_a_rollback_that_a_rotation_took_the_place_of_finds_its_key_alive(stage) -> None:
    """The holder that began it may be paused in the middle of its write, where the newer key still lies."""
    former, newer = rotated(stage)
    ask(stage)
    stage.backends["one"].fail("write", BackendUnavailable("paused here"))
    stage.look()
    stage.journal.request("chat", RotationRequested(reason="another one, please"), stage.clock.now())
    stage.clock.advance(stage.policy.grace_limit)
    stage.provider.fail("create_key", ProviderUnavailable("away"))
    stage.look()
    assert stage.held() == [newer, newer]
    assert former in stage.alive()
    assert expiration(stage, former) is None
    stage.look_until_quiet(timedelta(days=2))
    assert {former, newer}.isdisjoint(stage.held())
    assert former not in stage.alive()


def test_promise_4_a_dropped_rollback_lets_its_key_end_early_again_though_it_died_in_the_middle(stage: Stage) -> None:
    former, _ = rotated(stage)
    early = expiration(stage, former)
    ask(stage)
    append, events = stage.journal.append, iter(range(100))

    def dying(lease, events_, now):
        if next(events) == 1:  # the expiration was given back, and is not recorded
            raise Killed
        return append(lease, events_, now)

    stage.journal.append = dying
    with pytest.raises(Killed):
        stage.look()
    stage.restart()
    stage.clock.advance(timedelta(minutes=6))
    assert expiration(stage, former) is None
    theirs = stage.provider.create_by_hand(stage.policy.project, "theirs")
    stage.backends["one"].put_by_hand(stage.policy.destinations[0], theirs.secret.reveal())
    stage.look()
    stage.look()
    assert stage.journal.load("chat").rollback is None
    assert expiration(stage, former) is not None
    assert expiration(stage, former) >= early


def test_promise_2_a_key_that_is_being_put_back_is_not_revoked_for_another_policy_that_had_it(stage: Stage) -> None:
    former = stage.put_key_by_hand()
    stage.look()
    other = stage.another_policy("other")
    value = stage.backends["one"].read(stage.policy.destinations[0]).value
    assert value is not None
    stage.put(other, value.reveal())
    stage.reconciler.reconcile(other)
    for name in ("chat", "other"):
        stage.journal.request(name, RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    stage.reconciler.reconcile(other)
    ask(stage)
    stage.backends["one"].fail("write", BackendUnavailable("sealed"))
    stage.look()
    stage.clock.advance(stage.policy.grace_limit)
    stage.reconciler.reconcile(other)
    assert former in stage.alive()
    stage.look()
    assert stage.held() == [former, former]


def test_promise_1_a_rollback_that_does_not_come_to_its_end_lets_no_key_end(stage: Stage) -> None:
    """No place that keeps the former value can be asked, for weeks."""
    rotated(stage)
    stage.restart()
    ask(stage)

    def denied(_destination):
        raise BackendDenied("no right to read an older version")

    for backend in stage.backends.values():
        backend.read_previous = denied
    for _ in range(4 * 30):
        stage.clock.advance(timedelta(hours=6))
        stage.look()
        assert set(stage.held()) <= stage.alive()
    assert stage.journal.load("chat").rollback is None


def test_what_an_operator_asks_for_at_the_very_end_of_a_rollback_is_no_defect(stage: Stage) -> None:
    former, newer = rotated(stage)
    ask(stage)
    write = stage.backends["two"].write

    def meanwhile(*given, **more):
        stage.journal.request("chat", RotationRequested(reason="another operator"), stage.clock.now())
        ask(stage)
        return write(*given, **more)

    stage.backends["two"].write = meanwhile
    assert "something else was asked for meanwhile" in stage.look().problems[0]
    stage.backends["two"].write = write
    stage.clock.advance(timedelta(minutes=1))
    assert stage.look().result is Result.OK
    assert stage.held() == [former, former]
    assert stage.alive() == {former, newer}
