"""What others change in a destination is told, and handled as the policy says: alert, adopt or restore."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from rotator.domain.events import RollbackRequested, RotationRequested
from rotator.domain.model import Drift
from rotator.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable
from rotator.service.reconcile import Outcome, Result
from tests.service.conftest import Stage
from tests.service.test_lost_journal import restored, saved


def managed(stage: Stage, drift: Drift) -> str:
    """A policy in the middle of its key's life, and the key's id."""
    stage.policy = replace(stage.policy, drift=drift)
    stage.look()
    (key_id,) = set(stage.held())
    assert key_id is not None
    return key_id


def change(stage: Stage, number: int = 1, text: str | None = "theirs") -> str:
    """Somebody writes another key of the project into a destination; ``None`` deletes what is there."""
    issued = stage.provider.create_by_hand(stage.policy.project, "theirs")
    place = stage.policy.destinations[number]
    stage.backends[place.backend].put_by_hand(place, issued.secret.reveal() if text else None)
    return issued.facts.key_id


def looked(stage: Stage) -> tuple[Outcome, list[str]]:
    with structlog.testing.capture_logs() as logs:
        outcome = stage.look()
    return outcome, [entry["check"] for entry in logs if entry["event"] == "alert"]


def test_alert_leaves_what_others_put_there_and_tells(stage: Stage) -> None:
    ours = managed(stage, Drift.ALERT)
    theirs = change(stage)
    outcome, alerts = looked(stage)
    assert outcome.check == "Drifted"
    assert "two:app#KEY: holds another value, instead of" in outcome.problems[0]
    assert alerts == ["Drifted"]
    assert stage.held() == [ours, theirs]


def test_alert_leaves_it_even_when_a_rotation_is_due_until_an_operator_asks(stage: Stage) -> None:
    ours = managed(stage, Drift.ALERT)
    theirs = change(stage)
    stage.clock.advance(stage.policy.lifetime - timedelta(days=3))
    stage.look()
    assert stage.held() == [ours, theirs]
    stage.journal.request("chat", RotationRequested(reason="both of them, please"), stage.clock.now())
    stage.look()
    assert len(set(stage.held())) == 1
    assert {ours, theirs}.isdisjoint(stage.held())


def test_adopt_looks_at_theirs_like_at_any_other_key(stage: Stage) -> None:
    managed(stage, Drift.ADOPT)
    theirs = change(stage)
    change_to = stage.backends["two"].read(stage.policy.destinations[1]).value
    assert change_to is not None
    stage.backends["one"].put_by_hand(stage.policy.destinations[0], change_to.reveal())
    outcome, _ = looked(stage)
    assert outcome.result is Result.OK
    assert stage.held() == [theirs, theirs]
    current = stage.journal.load("chat").current
    assert current is not None
    assert current.key_id == theirs


@pytest.mark.parametrize("text", ["theirs", None], ids=["overwritten", "deleted"])
def test_restore_puts_the_current_key_back(stage: Stage, text: str | None) -> None:
    ours = managed(stage, Drift.RESTORE)
    theirs = change(stage, text=text)
    outcome, alerts = looked(stage)
    assert outcome.done == (f"{ours} put back into two:app#KEY",)
    assert alerts == ["Drifted"]
    assert stage.held() == [ours, ours]
    assert theirs in stage.alive(), "a person's key is never touched (Promise 7)"
    assert looked(stage) == (replace(outcome, check="NothingDue", reason=stage.look().reason, done=()), [])


def test_restore_takes_the_value_from_before_when_every_destination_was_changed(stage: Stage) -> None:
    ours = managed(stage, Drift.RESTORE)
    change(stage, 0)
    change(stage, 1)
    stage.restart()
    stage.look()
    assert stage.held() == [ours, ours]


def test_restore_without_a_value_from_before_says_what_can_be_done(stage: Stage) -> None:
    managed(stage, Drift.RESTORE)
    theirs = [change(stage, 0), change(stage, 1)]
    for name in ("one", "two"):
        for place in stage.backends[name]._places.values():
            place.previous.clear()
    stage.restart()
    outcome, _ = looked(stage)
    assert "ask for a rotation, or let the policy adopt" in outcome.problems[0]
    assert stage.held() == theirs


def test_promise_1_a_key_that_was_revoked_by_hand_is_not_put_back(stage: Stage) -> None:
    ours = managed(stage, Drift.RESTORE)
    theirs = change(stage, 0)
    theirs_value = stage.backends["one"].read(stage.policy.destinations[0]).value
    assert theirs_value is not None
    stage.backends["two"].put_by_hand(stage.policy.destinations[1], theirs_value.reveal())
    stage.provider.revoke_by_hand(ours)
    stage.restart()
    stage.look()
    assert stage.held() == [theirs, theirs]
    current = stage.journal.load("chat").current
    assert current is not None
    assert current.key_id == theirs


def test_what_somebody_writes_in_the_middle_of_a_restoration_is_not_overwritten(stage: Stage) -> None:
    managed(stage, Drift.RESTORE)
    change(stage)
    place = stage.policy.destinations[1]
    identify, third = stage.provider.identify, stage.provider.create_by_hand(stage.policy.project, "a third one")
    asked = iter(range(100))

    def meanwhile(secret):
        if next(asked) == 2:  # after the look, before the write
            stage.backends["two"].put_by_hand(place, third.secret.reveal())
        return identify(secret)

    stage.provider.identify = meanwhile
    outcome, _ = looked(stage)
    assert outcome.problems == ("two:app#KEY: somebody else wrote it in the meantime",)
    assert stage.held()[1] == third.facts.key_id


@pytest.mark.parametrize(("drift", "repaired"), [(Drift.ADOPT, False), (Drift.ALERT, False), (Drift.RESTORE, True)])
def test_metadata_that_others_changed_is_told_and_repaired_where_the_policy_says_so(stage, drift, repaired) -> None:
    ours = managed(stage, drift)
    place = stage.policy.destinations[1]
    hints = stage.backends["two"]._find(place)[0].metadata["KEY"]
    was = dict(hints)
    hints["fingerprint"] = "of something else"
    outcome, alerts = looked(stage)
    assert outcome.result is Result.OK
    assert alerts[0] == "MetadataDrifted"
    assert (stage.backends["two"].read(place).metadata == was) == repaired
    assert stage.held() == [ours, ours]


def without_hints(stage: Stage, *, most: int) -> list[str]:
    """So many writes to ``two`` end after the value: the hints stay as they were. Answers a list that gets each one."""
    backend, write, written = stage.backends["two"], stage.backends["two"].write, []

    def ending(destination, value, metadata, expected):
        written.append(destination.name)
        if len(written) > most:
            return write(destination, value, metadata, expected)
        place, _ = backend._find(destination)
        before = dict(place.metadata)
        write(destination, value, metadata, expected)
        place.metadata = before
        raise OutcomeUnknown("the value is written, its metadata is not (503)")

    backend.write = ending
    return written


def told_as_drift(stage: Stage) -> list[str]:
    return [alert.check for alert in stage.reconciler.preview(stage.policy).alerts if alert.check == "MetadataDrifted"]


def test_metadata_that_could_not_be_written_for_a_moment_is_no_change_by_others(stage: Stage) -> None:
    managed(stage, Drift.ALERT)
    written = without_hints(stage, most=1)
    stage.journal.request("chat", RotationRequested(reason="test"), stage.clock.now())
    assert looked(stage)[0].problems == ()
    assert (len(written), told_as_drift(stage)) == (2, [])


def test_the_value_counts_where_its_metadata_can_not_be_written_at_all(stage: Stage) -> None:
    managed(stage, Drift.ALERT)
    written = without_hints(stage, most=100)
    stage.journal.request("chat", RotationRequested(reason="test"), stage.clock.now())
    assert looked(stage)[0].problems == ()
    assert (len(written), told_as_drift(stage)) == (2, ["MetadataDrifted"])


def test_a_place_that_carries_no_metadata_is_not_written_twice(stage: Stage) -> None:
    written = without_hints(stage, most=100)
    managed(stage, Drift.ALERT)
    assert written == [stage.policy.destinations[1].name]


def test_metadata_is_completed_after_a_rollback_too(stage: Stage) -> None:
    former = managed(stage, Drift.ALERT)
    stage.journal.request("chat", RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    written = without_hints(stage, most=1)
    stage.journal.request("chat", RollbackRequested(reason="it does not work"), stage.clock.now())
    stage.look()
    assert stage.held() == [former, former]
    assert (len(written), told_as_drift(stage)) == (2, [])


def test_the_time_and_the_person_are_told_where_the_backend_knows(stage: Stage) -> None:
    managed(stage, Drift.ALERT)
    change(stage)
    backend, read = stage.backends["two"], stage.backends["two"].read
    written = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
    backend.read = lambda destination: replace(read(destination), changed_at=written, changed_by="ada")
    outcome, _ = looked(stage)
    assert "(written 2026-11-25T09:30:00Z by ada)" in outcome.problems[0]


def test_promise_1_a_key_whose_revocation_was_decided_is_not_put_back(stage: Stage) -> None:
    """Somebody put it everywhere again, and it is being replaced: its revocation may have been sent, and come late."""
    first = managed(stage, Drift.RESTORE)
    with_first = stage.backends["two"].read(stage.policy.destinations[1]).value
    assert with_first is not None
    stage.journal.request("chat", RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    stage.clock.advance(stage.policy.grace)
    stage.provider.fail("revoke_key", ProviderUnavailable("lost"))
    stage.look()
    stage.policy = replace(stage.policy, drift=Drift.ADOPT)
    for place in stage.policy.destinations:
        stage.backends[place.backend].put_by_hand(place, with_first.reveal())
    stage.provider.fail("create_key", ProviderUnavailable("away"))
    stage.clock.advance(timedelta(minutes=5))
    stage.look()
    current = stage.journal.load("chat").current
    assert current is not None
    assert (current.key_id, current.condemned) == (first, True)
    stage.policy = replace(stage.policy, drift=Drift.RESTORE)
    change(stage)
    stage.backends["two"].changes.clear()
    stage.provider.fail("create_key", ProviderUnavailable("away"))
    stage.look()
    assert stage.backends["two"].changes == []


@pytest.mark.parametrize("drift", Drift)
def test_promise_8_our_own_newer_key_is_no_change_by_others_when_the_journal_is_an_older_copy(stage, tmp_path, drift):
    managed(stage, drift)
    copy = saved(stage, tmp_path)
    stage.journal.request("chat", RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    second = stage.held()[0]
    restored(stage, copy)
    stage.look()
    assert stage.held() == [second, second]
    current = stage.journal.load("chat").current
    assert current is not None
    assert current.key_id == second


def test_promise_2_a_replaced_key_that_somebody_put_back_gets_a_grace_when_restore_takes_it_out(stage: Stage) -> None:
    first = managed(stage, Drift.RESTORE)
    list_keys = stage.provider.list_keys  # of a provider that does not tell when a key was used
    stage.provider.list_keys = lambda project: [replace(facts, last_used_at=None) for facts in list_keys(project)]
    value = stage.backends["two"].read(stage.policy.destinations[1]).value
    assert value is not None
    stage.journal.request("chat", RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    second = stage.held()[0]
    stage.clock.advance(stage.policy.grace - timedelta(hours=1))
    stage.backends["two"].put_by_hand(stage.policy.destinations[1], value.reveal())
    stage.clock.advance(timedelta(hours=2))  # its consumers have read it again, and its grace is over
    stage.look()
    assert stage.held() == [second, second]
    assert first in stage.alive()
    stage.look_until_quiet(stage.policy.grace + timedelta(hours=1))
    assert first not in stage.alive()


def of_ours_put_back(stage: Stage) -> str:
    """Where drift is only told: a replaced key of ours whose end we have brought forward lies in every place again."""
    first = managed(stage, Drift.ALERT)
    value = stage.backends["one"].read(stage.policy.destinations[0]).value
    assert value is not None
    stage.journal.request("chat", RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    stage.clock.advance(timedelta(hours=1))
    stage.put(stage.policy, value.reveal())
    return first


def test_promise_1_a_key_that_is_left_where_others_have_put_it_back_is_not_ended_by_us(stage: Stage) -> None:
    stage.put_key_by_hand()  # it never ends by itself
    first = of_ours_put_back(stage)
    for _ in range(5 * 24):
        stage.look()
        stage.clock.advance(timedelta(hours=1))
    assert stage.held() == [first, first]
    assert first in stage.alive()


def test_promise_9_an_end_that_can_not_be_given_back_is_told(stage: Stage) -> None:
    stage.put_key_by_hand()
    first = of_ours_put_back(stage)
    stage.provider.fail("set_expiration", ProviderRejected("it can't be made later"))
    outcome, _ = looked(stage)
    assert outcome.result is Result.FAILED
    assert f"{first} keeps its earlier end: it can't be made later" in outcome.problems
    assert f"{first} ends at 2026-" in outcome.problems[-1]


def emptied(stage: Stage, text: str | None) -> None:
    """What lay in the places is kept nowhere, as with dotenv files, and nothing that works lies there."""
    managed(stage, Drift.RESTORE)
    for name in ("one", "two"):
        stage.backends[name].read_previous = lambda _place: None
    stage.restart()
    stage.put(stage.policy, text)


@pytest.mark.parametrize("text", [None, "change-me"])
def test_promise_1_a_key_that_can_not_be_put_back_where_nothing_works_is_replaced(
    stage: Stage, text: str | None
) -> None:
    emptied(stage, text)
    outcome = stage.look()
    assert outcome.result is Result.OK
    (key_id,) = set(stage.held())
    assert key_id in stage.alive()
    assert stage.provider.calls.count("create_key") == 2


def test_consumers_are_told_by_hooks_when_the_current_key_was_put_back(stage: Stage) -> None:
    stage.change_policy(hooks=("reload",))
    managed(stage, Drift.RESTORE)
    stage.policies[0] = stage.policy
    before = len(stage.hooks.told)
    change(stage)
    looked(stage)
    assert len(stage.hooks.told) == before + 1
    looked(stage)
    assert len(stage.hooks.told) == before + 1
