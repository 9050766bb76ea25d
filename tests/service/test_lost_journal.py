"""Promise 8: with the journal lost, or restored from an old copy, the next look rebuilds what it needs."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.domain import events as ev
from rotator.domain.record import KeyState, Origin
from rotator.errors import BackendUnavailable
from rotator.service.reconcile import Result
from tests.domain.build import DAY, POLICY
from tests.service.conftest import PLACES
from tests.service.test_hard_cases import adopted, record, rotate_now

AWAY = BackendUnavailable("sealed")


def file_of(stage):
    return Path(stage.url.removeprefix("sqlite:///"))


def saved(stage, tmp_path):
    stage.journal.close()
    copy = tmp_path / "copy.db"
    shutil.copy(file_of(stage), copy)
    stage.restart()
    return copy


def restored(stage, copy):
    stage.journal.close()
    for leftover in ("-wal", "-shm"):
        Path(f"{file_of(stage)}{leftover}").unlink(missing_ok=True)
    shutil.copy(copy, file_of(stage))
    stage.clock.advance(timedelta(seconds=1))  # nobody does that at once
    stage.restart()


def orphan_of(stage):
    """A key with a name of ours, of which the journal knows nothing."""
    name = "rotator_prod_chat_20261101_abcdefgh"
    return stage.provider.create_key(POLICY.project, name, stage.clock.now() + 90 * DAY).facts.key_id


def created(stage):
    return stage.provider.calls.count("create_key")


def test_promise_8_our_own_current_key_is_known_again_as_ours(stage):
    adopted(stage)
    rotate_now(stage)
    stage.look()
    new = stage.held()[0]
    stage.lose_the_journal()
    assert stage.look().result is Result.OK
    assert (record(stage).current.key_id, record(stage).current.origin) == (new, Origin.ISSUED)
    assert created(stage) == 1


def test_promise_8_a_key_in_its_grace_gets_a_full_grace_from_now_and_is_revoked(stage):
    rotate_now(stage)
    stage.look()
    first = stage.held()[0]
    rotate_now(stage)
    stage.look()
    second = stage.held()[0]
    stage.clock.advance(POLICY.grace / 2)
    stage.lose_the_journal()
    stage.look()
    assert record(stage).key(first).state is KeyState.RETIRING
    stage.clock.advance(POLICY.grace - POLICY.grace / 8)
    stage.look()
    assert first in stage.alive(), "a full grace from the moment that it was found"
    stage.clock.advance(POLICY.grace / 8)
    stage.look()
    assert stage.alive() == {second}


def test_promise_8_a_person_s_key_in_its_grace_is_a_person_s_again(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.look()
    stage.lose_the_journal()
    stage.look_until_quiet(10 * DAY)
    assert old in stage.alive() or stage.provider._keys[old].facts.expires_at is not None


def test_promise_8_a_publication_that_was_half_done_is_finished_with_the_same_key(stage):
    old = adopted(stage)
    rotate_now(stage)
    stage.backends["two"].fail("write", AWAY)
    assert stage.look().result is Result.FAILED
    half = stage.held()[0]
    stage.lose_the_journal()
    stage.look()
    assert stage.held() == [half, half]
    assert created(stage) == 1
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert stage.alive() == {half}
    assert old not in stage.alive(), "the key that it replaced was found in the other destination, and had its grace"


def test_promise_8_an_orphan_of_a_lost_journal_is_found_by_its_name(stage):
    adopted(stage)
    orphan = orphan_of(stage)
    stage.lose_the_journal()
    stage.look()
    assert record(stage).key(orphan).state is KeyState.RETIRING
    stage.clock.advance(POLICY.grace)
    stage.look()
    assert orphan not in stage.alive()


def test_promise_8_an_orphan_that_an_older_copy_does_not_know_is_found_by_the_next_look(stage, tmp_path):
    adopted(stage)
    rotate_now(stage)
    stage.look_until_quiet(2 * DAY)
    copy = saved(stage, tmp_path)
    orphan = orphan_of(stage)
    restored(stage, copy)
    stage.look()
    assert record(stage).key(orphan).state is KeyState.RETIRING


def test_promise_8_a_key_that_was_made_late_after_an_older_copy_was_restored_is_found_within_a_day(stage):
    adopted(stage)
    rotate_now(stage)
    stage.look_until_quiet(2 * DAY)
    orphan = orphan_of(stage)
    stage.clock.advance(DAY)
    stage.look()
    assert record(stage).key(orphan).state is KeyState.RETIRING


def test_an_idle_policy_reads_the_list_once_a_day(stage):
    adopted(stage)
    rotate_now(stage)
    stage.look_until_quiet(2 * DAY)
    stage.provider.calls.clear()
    for _ in range(4):
        stage.clock.advance(DAY / 4)
        stage.look()
    assert stage.provider.calls.count("list_keys") == 1


@pytest.mark.parametrize("name", ["rotator_dev_chat_20261101_abcdefgh", "rotator_prod_chat2_20261101_abcdefgh", "mine"])
def test_promise_7_keys_of_other_instances_policies_and_people_are_left_alone(stage, name):
    adopted(stage)
    theirs = stage.provider.create_by_hand(POLICY.project, name).facts.key_id
    stage.lose_the_journal()
    stage.look_until_quiet(60 * DAY)
    assert theirs in stage.alive()


@pytest.mark.parametrize("looks", [0, 1, 2, 3])
def test_promise_8_an_older_copy_of_the_journal_causes_no_second_rotation(stage, tmp_path, looks):
    adopted(stage)
    copy = saved(stage, tmp_path)
    for _ in range(2):
        rotate_now(stage)
        stage.look()
        if looks:
            stage.clock.advance(POLICY.grace / 4)
            looks -= 1
    last, before = stage.held()[0], created(stage)
    restored(stage, copy)
    stage.look()
    assert (stage.held(), created(stage)) == ([last, last], before)
    stage.look_until_quiet(8 * DAY)
    assert stage.alive() == {last}
    assert record(stage).current.key_id == last


def test_promise_8_a_copy_from_the_middle_of_a_rotation_that_has_ended_since(stage, tmp_path, monkeypatch):
    adopted(stage)
    rotate_now(stage)
    append, copies = stage.journal.append, []

    def copying(lease, events, now):
        done = append(lease, events, now)
        if isinstance(events[0], ev.RotationIntended | ev.KeyIssued | ev.KeyVerified | ev.DestinationPublished):
            with stage.journal._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            copies.append(tmp_path / f"{len(copies)}.db")
            shutil.copy(file_of(stage), copies[-1])
        return done

    monkeypatch.setattr(stage.journal, "append", copying)
    stage.look()
    monkeypatch.undo()
    last = stage.held()[0]
    assert len(copies) == 5
    for copy in copies:
        restored(stage, copy)
        stage.clock.advance(3 * POLICY.settle)
        stage.look_until_quiet(POLICY.settle)
        assert (set(stage.held()), created(stage)) == ({last}, 1), copy
        assert record(stage).current.key_id == last


def test_promise_8_a_value_in_a_destination_is_no_second_rotation_when_the_list_is_empty(stage):
    rotate_now(stage)
    stage.look()
    stage.lose_the_journal()
    listed = stage.provider.list_keys
    stage.provider.list_keys = lambda _project: ()
    stage.look()
    stage.provider.list_keys = listed
    assert created(stage) == 1
    assert [place.backend for place in PLACES] == ["one", "two"]
