"""What the model found, each in its shortest form: a story told with the model's own rules, judged as it judges."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.domain.events import RollbackRequested, RotationRequested
from rotator.domain.model import Drift
from tests.model.calm import calm_down
from tests.model.faults import Trouble, What
from tests.model.history import EMPTY
from tests.model.machine import MINUTE, Machine
from tests.model.quiet import quiet_log
from tests.model.world import DAY, GRACES, HOUR


class Story(Machine):
    """The rules with their usual arguments; policy ``chat`` has two destinations, ``batch`` one."""

    def looks(self, name, *troubles, seat="A"):
        self.look(seat=seat, name=name, troubles=troubles, known=True)

    def rotates(self, name, *troubles, seat="A", compromised=False):
        self.rotate(seat=seat, name=name, troubles=troubles, compromised=compromised, known=True)

    def held(self, name):
        return self._first_key(name)

    def paste(self, name, key_id, where="all"):
        self._paste(name, where, key_id)

    def new_key(self, name):
        return self._new_key(name, None)

    def passes(self, duration):
        self.wait(duration=duration)

    def ends_well(self):
        """The service is left to itself, and no promise was broken at any moment."""
        if not self.world.truth.faults:
            calm_down(self.world)
        self.no_promise_is_broken()


@pytest.fixture
def story():
    made = Story()
    with quiet_log():
        made.begin(skew=0, lag=0, by_hand=[])
        yield made
    made.world.close()
    made.clean()


UNAVAILABLE, CRASH, PAUSE, LATE, STALE = (What.UNAVAILABLE, What.CRASH, What.PAUSE, What.LATE, What.STALE)


def test_a_key_whose_write_was_not_read_back_may_be_in_use_and_has_a_grace(story):
    story.rotates("batch", Trouble("read", UNAVAILABLE, nth=2))
    story.paste("batch", EMPTY)
    story.looks("batch")
    story.ends_well()


def test_a_key_whose_write_was_not_recorded_may_be_in_use_and_has_a_grace(story):
    story.rotates("batch", Trouble("write", CRASH, after=True))
    story.paste("batch", EMPTY)
    story.looks("batch")
    story.passes(11 * MINUTE)
    story.looks("batch")
    story.ends_well()


def test_a_paused_holder_does_not_publish_a_key_that_was_revoked_meanwhile(story):
    story.rotates("batch", Trouble("write", PAUSE))
    for duration in (6 * MINUTE, 16 * MINUTE):
        story.passes(duration)
        story.looks("batch", Trouble("create_key", UNAVAILABLE), seat="B")
    story.go_on()
    story.ends_well()


def test_a_paused_holder_does_not_shorten_the_life_of_a_key_that_was_restored_meanwhile(story):
    old = story.held("chat")
    story.rotates("chat", Trouble("set_expiration", UNAVAILABLE))
    story.passes(MINUTE)
    story.looks("chat", Trouble("set_expiration", PAUSE))
    story.paste("chat", old)
    story.passes(6 * MINUTE)
    story.looks("chat", seat="B")
    story.go_on()
    story.serve(seat="B", duration=5 * DAY)
    story.ends_well()


def test_an_expiration_that_comes_late_does_not_end_a_key_that_was_restored_meanwhile(story):
    old = story.held("chat")
    story.rotates("chat", Trouble("set_expiration", LATE))
    story.paste("chat", old)
    story.looks("chat")
    story.serve(seat="A", duration=5 * DAY)
    story.ends_well()


def test_a_key_said_to_be_leaked_during_a_rotation_ends_with_it(story):
    story.rotates("chat", *(Trouble("write", UNAVAILABLE, nth=nth) for nth in (2, 3, 4)))
    story.rotates("chat", compromised=True)
    story.ends_well()


def test_a_key_said_to_be_leaked_before_it_was_adopted_ends_too(story):
    story.paste("chat", story.new_key("chat"))
    story.rotates("chat", compromised=True)
    story.ends_well()


def test_a_key_that_lay_in_one_destination_only_is_revoked_after_its_replacement(story):
    story.paste("chat", story.new_key("chat"), where="first")
    story.ends_well()


def test_a_retiring_key_that_was_restored_into_one_destination_has_a_new_grace(story):
    old = story.held("chat")
    story.rotates("chat")
    story.passes(5 * HOUR)
    story.paste("chat", old, where="first")
    story.looks("chat")
    story.passes(2 * HOUR)
    story.looks("chat")
    story.ends_well()


def test_a_shared_key_has_the_grace_of_both_policies(story):
    story.paste("search", story.held("chat"))
    story.looks("search")
    story.rotates("chat")
    story.passes(5 * HOUR)
    story.rotates("search")
    story.passes(HOUR)
    story.looks("chat")
    story.passes(HOUR)
    story.looks("chat")
    story.ends_well()


def test_a_list_that_is_too_young_to_show_a_key_does_not_prove_that_it_is_gone(story):
    old = story.held("chat")
    story.passes(HOUR)
    story.rotates("chat")
    story.paste("chat", old)
    story.looks("chat", *(Trouble("list_keys", STALE, nth=nth) for nth in (1, 2, 3)))
    story.ends_well()


def test_a_journal_lost_before_the_first_publish_leaves_no_key_behind(story):
    story.rotates("batch", Trouble("append", CRASH, nth=3))
    story.lose_journal()
    story.ends_well()


def test_a_journal_lost_in_the_middle_of_publishing_leaves_no_key_behind(story):
    story.rotates("chat", Trouble("write", CRASH, nth=2))
    story.lose_journal()
    story.ends_well()


def test_a_journal_lost_in_a_grace_leaves_no_key_behind(story):
    story.rotates("chat", Trouble("set_expiration", UNAVAILABLE))
    story.lose_journal()
    story.ends_well()


def test_a_journal_restored_from_before_a_rotation_leaves_no_key_behind(story):
    story.copy_journal()
    story.rotates("chat", Trouble("write", CRASH, nth=2))
    story.restore_journal()
    story.ends_well()


def test_promise_8_an_orphan_that_the_restored_journal_does_not_know_is_found(story):
    story.copy_journal()
    story.rotates("chat", Trouble("create_key", CRASH, after=True))
    story.restore_journal()
    story.ends_well()


def test_promise_4_an_orphan_that_no_rotation_will_follow_does_not_wait_for_one(story):
    story.rotates("chat", Trouble("append", CRASH, after=True, nth=2))
    story.roll_back(seat="A", name="chat", troubles=(), wait=6 * MINUTE, known=True)
    story.ends_well()


@pytest.mark.parametrize("drift", Drift)
def test_promise_2_a_place_that_was_emptied_in_the_middle_has_the_whole_grace_from_when_it_is_filled(story, drift):
    story.configure("chat", grace=GRACES[0], backends=["one", "two"], drift=drift)
    story.rotates("chat", Trouble("append", PAUSE, nth=4))
    story.paste("chat", EMPTY, where="first")
    story.passes(5 * HOUR)
    story.go_on()
    story.passes(4 * HOUR)
    story.looks("chat")
    story.ends_well()


def test_promise_7_a_key_that_a_person_took_away_is_not_ours_after_a_rotation_that_broke_off(story):
    story.paste("batch", theirs := story.new_key("batch"))
    story.looks("batch")
    story.paste("batch", EMPTY)
    story.looks("batch", Trouble("write", CRASH, after=True))
    story.paste("batch", story.new_key("batch"))
    story.looks("batch")
    story.ends_well()
    assert story.world.truth.is_accepted(theirs)


@pytest.mark.parametrize("after", [False, True])
def test_promise_7_a_key_that_a_person_may_have_taken_away_is_left_to_them(story, after):
    story.paste("batch", theirs := story.new_key("batch"))
    story.looks("batch")
    story.rotates("batch", Trouble("write", CRASH, after=after))
    story.paste("batch", story.new_key("batch"))
    story.looks("batch")
    story.ends_well()
    assert story.world.truth.is_accepted(theirs)


def test_promise_2_after_a_loss_a_key_waits_for_the_policy_of_its_name_although_that_is_on_hold(story):
    key_id = story.held("search")
    story.configure("chat", grace=HOUR, backends=["one"], drift=Drift.ADOPT)
    story.lose_journal()
    story.hold_or_release("search")
    story.paste("chat", key_id)
    story.paste("search", story.new_key("search"))
    story.rotates("chat")
    story.ends_well()


def test_a_leaked_key_that_was_found_and_then_taken_out_by_somebody_is_not_forgotten(story):
    story.paste("search", story.new_key("search"), where="first")
    story.rotates("search", Trouble("append", UNAVAILABLE, nth=4), compromised=True)
    story.paste("search", EMPTY, where="first")
    story.passes(MINUTE)
    story.looks("search")
    story.ends_well()


def test_promise_2_no_end_is_given_to_a_key_while_all_that_replaced_it_has_ended_too(story):
    story.passes(16 * DAY)
    story.paste("search", story.new_key("search"), where="first")
    story.passes(16 * DAY)  # the key in the second place has ended
    story.looks("search", Trouble("write", CRASH, nth=2))
    story.passes(32 * DAY)  # the new key in the first has, too
    story.ends_well()


def test_promise_2_what_a_copy_of_the_journal_says_of_other_places_is_not_believed(story):
    story.copy_journal()
    story.rotates("chat")
    story.restore_journal()
    story.paste("search", story.held("chat"))
    story.rotates("search")
    story.ends_well()


def test_a_key_whose_grace_is_over_does_not_wait_for_the_next_rotation_to_end(story):
    story.rotates("chat")
    story.rotates("chat", Trouble("write", PAUSE, after=True))
    story.passes(7 * HOUR)
    story.looks("chat", seat="B")
    story.go_on()
    story.ends_well()


def test_promise_2_a_key_that_lay_in_a_place_for_a_moment_may_be_in_use_whoever_put_the_old_one_back(story):
    old = story.held("chat")
    story.rotates("chat", Trouble("write", CRASH, after=True))
    story.paste("chat", old, where="first")
    story.looks("chat")
    story.passes(20 * MINUTE)
    story.looks("chat")
    story.ends_well()


def test_promise_7_a_persons_key_that_drift_undoes_is_left_to_them(story):
    story.configure("chat", grace=GRACES[0], backends=["one"], drift=Drift.RESTORE)
    story.rotates("chat", Trouble("set_expiration", UNAVAILABLE))
    story.paste("chat", story.new_key("chat"))
    story.looks("chat")
    story.ends_well()


def test_promise_1_who_slept_through_a_new_keys_whole_life_does_not_publish_it(story):
    story.rotates("chat", Trouble("append", PAUSE, nth=3))
    story.passes(32 * DAY)
    story.go_on()
    story.looks("chat")
    story.ends_well()


def test_promise_1_who_slept_through_an_old_keys_last_days_does_not_put_it_back(story):
    story.rotates("search")
    story.world.request("search", RollbackRequested(reason="test"))
    story.looks("search", Trouble("append", PAUSE, after=True))
    story.passes(5 * DAY)
    story.go_on()
    story.ends_well()


def test_promise_2_a_stray_that_lies_in_a_place_added_since_has_its_grace_from_when_it_is_replaced(story):
    story.rotates("chat")
    story.configure("chat", grace=GRACES[0], backends=["one"], drift=Drift.ADOPT)
    story.rotates("chat")
    story.lose_journal()
    story.looks("chat")
    story.configure("chat", grace=GRACES[0], backends=["one", "two"], drift=Drift.ADOPT)
    story.passes(5 * HOUR)
    story.looks("chat")
    story.ends_well()


def test_promise_2_a_rotation_that_was_given_up_gives_the_keys_that_it_replaced_somewhere_their_grace(story):
    old = story.held("chat")
    story.rotates("chat")
    story.passes(5 * HOUR)
    story.paste("chat", old, where="first")
    story.rotates("chat", Trouble("write", PAUSE, after=True))
    story.paste("chat", story.new_key("chat"), where="first")
    story.go_on()
    story.passes(2 * HOUR)
    story.looks("chat")
    story.ends_well()


def test_a_leaked_key_that_somebody_puts_back_is_replaced_and_ended_at_once(story):
    old = story.held("mail")
    story.rotates("mail", Trouble("append", CRASH, after=True, nth=4), compromised=True)
    story.paste("mail", old)
    story.looks("mail")
    assert not story.world.truth.is_accepted(old)
    story.ends_well()


def test_promise_1_a_key_may_still_land_where_the_one_before_has_ended_since(story):
    story.passes(20 * DAY)
    story.rotates("chat", Trouble("write", PAUSE))
    story.passes(11 * DAY)
    for _ in range(3):
        story.looks("chat", Trouble("create_key", UNAVAILABLE), seat="B")
        story.passes(16 * MINUTE)
    story.go_on()
    story.ends_well()


@pytest.mark.parametrize("asked", [False, True], ids=["dropped", "another rotation"])
def test_promise_2_a_key_that_lay_in_the_places_for_a_moment_of_a_rollback_has_its_grace(story, asked):
    story.rotates("chat")
    story.passes(5 * HOUR)
    story.world.request("chat", RollbackRequested(reason="test"))
    story.looks("chat", Trouble("write", CRASH, after=True, nth=2))
    story.paste("chat", story.new_key("chat"))
    if asked:
        story.rotates("chat")
    story.looks("chat")
    story.passes(2 * HOUR)
    story.looks("chat")
    story.ends_well()


def test_promise_2_a_stray_gets_no_end_before_its_replacement_is_everywhere(story):
    story.configure("chat", grace=GRACES[0], backends=["one", "three"], drift=Drift.ADOPT)
    story.looks("chat", Trouble("write", CRASH, after=True))
    story.lose_journal()
    story.looks("chat")
    story.ends_well()


def test_promise_1_a_key_that_was_taken_out_of_its_first_place_may_still_land_in_the_second(story):
    old = story.held("chat")
    story.rotates("chat", Trouble("write", PAUSE, nth=2))
    story.paste("chat", old, where="first")
    story.passes(6 * MINUTE)
    for _ in range(3):
        story.looks("chat", Trouble("create_key", UNAVAILABLE), seat="B")
        story.passes(4 * HOUR)
    story.go_on()
    story.ends_well()


def test_promise_2_where_a_place_can_not_be_read_no_key_with_our_name_is_given_an_end(story):
    held = story.held("mail")
    story.lose_journal()
    story.looks("mail", Trouble("read", UNAVAILABLE))
    assert story.world.truth.expires_at(held) > story.world.now() + 20 * DAY
    story.ends_well()


def test_promise_4_a_creation_that_comes_after_the_journal_was_lost_is_found(story):
    story.rotates("search", Trouble("create_key", LATE))
    story.lose_journal()
    story.looks("search")
    story.ends_well()


def test_a_rollback_that_is_overtaken_by_a_rotation_in_its_look_is_no_defect(story):
    story.rotates("search")
    story.passes(30 * MINUTE)
    story.rotates("search")
    story.passes(DAY - 30 * MINUTE)
    story.world.request("search", RollbackRequested(reason="test"))
    story.looks("search", Trouble("revoke_key", PAUSE))
    story.world.request("search", RotationRequested(reason="test"))
    story.go_on()
    story.ends_well()


def test_a_leaked_key_that_was_seen_in_another_project_is_looked_for_there_soon(story):
    old = story.held("chat")
    story.paste("batch", old)
    story.looks("batch")
    story.rotates("chat", compromised=True)
    story.paste("batch", EMPTY)
    story.looks("batch")
    story.passes(11 * MINUTE)
    story.world.look_at_due("A")
    assert not story.world.truth.is_accepted(old)
    story.ends_well()


def test_promise_2_a_key_with_the_name_of_a_policy_that_was_not_looked_at_yet_waits_for_that(story):
    shared = story.held("search")
    story.paste("search", story.new_key("search"))
    story.lose_journal()
    story.paste("chat", shared)
    story.rotates("chat")
    story.passes(7 * HOUR)
    story.looks("chat")
    story.ends_well()


def test_promise_1_who_slept_through_the_life_of_the_key_that_it_has_just_published_looks_again_at_once(story):
    story.rotates("mail", Trouble("append", PAUSE, after=True, nth=4))
    story.passes(32 * DAY)
    story.go_on()
    assert story.world.next_due("A") <= story.world.now() + timedelta(seconds=1)
    story.ends_well()


def test_promise_4_an_intent_of_an_older_copy_is_over_where_its_key_lies_in_the_destinations(story):
    story.rotates("chat", Trouble("create_key", PAUSE))
    story.copy_journal()
    story.go_on()
    story.restore_journal()
    story.ends_well()


def test_promise_2_what_a_look_saw_before_it_was_paused_is_not_believed_by_other_policies(story):
    story.looks("chat", Trouble("identify", PAUSE))
    story.copy_the_key_of(name="chat", source="search", where="all")
    story.passes(6 * MINUTE)
    story.go_on()
    story.rotates("search")
    story.ends_well()


def test_promise_2_a_key_that_may_have_been_read_does_not_end_while_the_places_hold_none_that_works(story):
    old = story.held("chat")
    story.rotates("chat", Trouble("read", CRASH, nth=3))
    story.paste("chat", old, where="first")
    story.passes(MINUTE)
    story.looks("chat")
    story.world.revoke_by_hand(story.held("chat"))
    story.serve(seat="A", duration=7 * HOUR)
    story.ends_well()


def test_promise_7_a_persons_key_that_they_took_out_of_every_place_is_theirs_though_a_rotation_was_begun(story):
    story.remove_or_add_a_policy(name="chat")
    theirs = story.new_key("chat")
    story.remove_or_add_a_policy(name="chat")
    story.paste("chat", theirs)
    story.looks("chat")
    story.copy_the_key_of(name="chat", source="search", where="last")
    story.rotates("chat", Trouble("write", UNAVAILABLE, nth=1))
    story.paste("chat", EMPTY, where="first")
    story.looks("chat")
    assert story.world.truth.is_accepted(theirs)
    story.ends_well()
    assert story.world.truth.is_accepted(theirs)


def test_promise_2_a_copy_that_a_person_took_out_of_another_policy_has_its_grace_there(story):
    old = story.held("chat")
    story.paste("search", old)
    story.looks("search")
    story.paste("search", story.new_key("search"))
    story.looks("search")
    story.rotates("chat")
    story.passes(7 * HOUR)
    story.looks("chat")
    assert story.world.truth.is_accepted(old), "the grace of search is a day"
    story.passes(DAY)
    story.looks("chat")
    assert not story.world.truth.is_accepted(old)
    story.ends_well()


def test_promise_2_a_key_that_was_put_back_unrecorded_and_taken_out_again_has_its_grace_before_it_gets_an_end(story):
    story.rotates("chat")
    story.roll_back(known=False, name="chat", seat="A", troubles=(Trouble("append", UNAVAILABLE, nth=3),), wait=MINUTE)
    story.passes(DAY)
    story.paste("chat", story.new_key("chat"))
    story.serve(seat="A", duration=16 * MINUTE)
    story.ends_well()


def test_promise_2_a_key_that_landed_late_and_was_taken_out_by_a_person_has_its_grace(story):
    story.rotates("chat", Trouble("write", PAUSE))
    story.passes(6 * MINUTE)
    story.looks("chat", Trouble("create_key", UNAVAILABLE), seat="B")
    story.go_on()
    story.paste("chat", story.new_key("chat"))
    story.serve(seat="B", duration=7 * HOUR)
    story.ends_well()


def test_promise_1_a_rollback_to_a_key_that_has_ended_by_what_is_recorded_is_dropped_and_not_tried_for_ever(story):
    story.looks("mail")
    lost = (Trouble("create_key", UNAVAILABLE), Trouble("append", UNAVAILABLE, nth=2))
    story.roll_back(known=False, name="mail", seat="A", troubles=lost, wait=HOUR)
    story.paste_a_known_key(name="mail", where="all", which=7)
    story.roll_back(known=False, name="mail", seat="A", troubles=(), wait=DAY)
    story.ends_well()
