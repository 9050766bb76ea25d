"""``rotator adopt``: the key in the destinations becomes the current one by an operator's word. Promises 2, 6 and 7."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.journal.codec import record_from_json
from rotator.domain import events as ev
from rotator.domain.model import Assistance, Drift
from rotator.domain.record import KeyState, Phase
from rotator.errors import BackendUnavailable, LeaseHeld, ProviderRejected, ProviderUnavailable
from rotator.service.adopt import Adopted, NotAdopted, Told, adopt
from rotator.service.desk import Taken
from rotator.service.reconcile import is_due
from tests.domain.build import HOUR, rotation
from tests.service.conftest import Stage
from tests.service.people import PEOPLE, AssistedStage
from tests.service.test_hard_cases import many_places, slow
from tests.service.test_rollback import rotated

DAY = timedelta(days=1)
NO_LIST = ProviderRejected("404: there is no list")


def told(stage: Stage, days: float | None) -> Told:
    return Told(None if days is None else stage.clock.now() + days * DAY, "ann")


def adopted(stage: Stage, said: Told | None = None) -> Adopted:
    outcome = adopt(stage.reconciler, stage.policy, said, "ann")
    assert isinstance(outcome, Adopted), outcome
    return outcome


def refused(stage: Stage, said: Told | None = None) -> NotAdopted:
    before = stage.journal.load("chat")
    outcome = adopt(stage.reconciler, stage.policy, said, "ann")
    assert isinstance(outcome, NotAdopted), outcome
    assert stage.journal.load("chat") == before
    stage.journal.release(stage.journal.acquire("chat", "other", stage.clock.now(), DAY))  # the lease is free again
    return outcome


def test_the_key_that_all_hold_is_current_at_once_with_the_end_that_a_person_told(stage: Stage) -> None:
    key_id = stage.put_key_by_hand()
    stage.provider.fail("list_keys", NO_LIST)
    said = told(stage, 20)

    outcome = adopted(stage, said)

    current = stage.journal.load("chat").current
    assert outcome.is_new
    assert current == outcome.key
    assert current is not None
    assert (current.key_id, current.expires_at, current.expires_told_by) == (key_id, said.at, "ann")
    look = stage.journal.look("chat")
    assert look is not None
    assert look.next_at == stage.clock.now(), "a running service looks at once"
    assert is_due(stage.policy, stage.journal.looks(), stage.clock.now() - HOUR), "also one whose clock is behind"
    assert stage.alive() == {key_id}, "nothing was made and nothing was ended"


def test_a_told_end_leads_to_a_rotation_before_it_and_later_looks_keep_it(stage: Stage) -> None:
    key_id = stage.put_key_by_hand()
    stage.provider.fail("list_keys", NO_LIST)
    adopted(stage, told(stage, 20))
    stage.look()
    assert stage.held() == [key_id, key_id]

    stage.clock.advance(13.5 * DAY)
    stage.look()

    assert stage.held()[0] not in {None, key_id}


def test_with_assisted_issuance_no_list_is_asked_for_and_a_persons_word_counts(stage: Stage) -> None:
    stage.policy = replace(stage.policy, assistance=Assistance(console_url="https://console.example"))
    stage.put_key_by_hand(expires_at=stage.clock.now() + 30 * DAY)
    assert adopted(stage, told(stage, 20)).key.expires_told_by == "ann"
    assert "list_keys" not in stage.provider.calls


@pytest.mark.parametrize("days", [9, 60, None], ids=["earlier", "later", "never"])
@pytest.mark.parametrize("is_lost", [False, True], ids=["", "journal lost"])
def test_an_end_that_a_person_told_wrongly_can_be_corrected(
    tmp_path: Path, days: float | None, *, is_lost: bool
) -> None:
    """What lies beside the key in its places is what we were told, and no word of the provider's."""
    stage = AssistedStage(f"sqlite:///{tmp_path}/state.db")
    stage.change(assistance=PEOPLE)
    stage.look()
    assert stage.submit(stage.make_key().secret).taken is Taken.ACCEPTED
    if is_lost:
        stage.lose_the_journal()
        stage.look()
    corrected = told(stage, days)
    key = adopted(stage, corrected).key
    assert (key.expires_at, key.expires_told_by, key.ends_latest) == (corrected.at, "ann", None)
    stage.look()
    assert stage.record.current.expires_at == corrected.at
    stage.journal.close()


def test_told_a_second_time_nothing_is_recorded(stage: Stage) -> None:
    stage.put_key_by_hand()
    for number in range(2):
        stage.provider.fail("list_keys", NO_LIST)
        assert adopted(stage, told(stage, 20)).is_new is (number == 0)
    assert not adopted(stage).is_new, "without an end, what was told stays"
    assert adopted(stage).key.expires_told_by == "ann"


def test_that_it_never_ends_is_remembered_too_and_can_be_corrected(stage: Stage) -> None:
    stage.put_key_by_hand()
    stage.look()
    stage.provider.fail("list_keys", NO_LIST)
    assert adopted(stage, told(stage, None)).is_new
    stage.provider.fail("list_keys", NO_LIST)
    assert adopted(stage, told(stage, 9)).key.expires_at == stage.clock.now() + 9 * DAY


def test_a_key_that_drift_leaves_alone_is_accepted_so_and_the_replaced_one_retires(stage: Stage) -> None:
    _, ours = rotated(stage)
    stage.policy = replace(stage.policy, drift=Drift.ALERT)
    theirs = stage.put_key_by_hand()
    assert stage.look().check == "Drifted"

    assert adopted(stage).key.key_id == theirs

    record = stage.journal.load("chat")
    assert record.current is not None
    assert record.current.key_id == theirs
    ours_now = record.key(ours)
    assert ours_now is not None
    assert ours_now.state is KeyState.RETIRING
    assert stage.look().check == "NothingDue"


def test_the_provider_knows_better_than_a_person_where_it_tells(stage: Stage) -> None:
    end = stage.clock.now().replace(hour=15) + 20 * DAY
    stage.put_key_by_hand(expires_at=end)
    assert "the provider says that it ends at" in refused(stage, told(stage, 25)).reason
    assert "the provider says that it ends at" in refused(stage, told(stage, None)).reason
    midnight = datetime(end.year, end.month, end.day, tzinfo=end.tzinfo)
    outcome = adopted(stage, Told(midnight, "ann"))  # the date alone is right
    assert (outcome.key.expires_at, outcome.key.expires_told_by) == (end, "")


def test_an_end_that_is_past_is_refused(stage: Stage) -> None:
    stage.put_key_by_hand()
    assert "the provider accepts it" in refused(stage, told(stage, -1)).reason


def test_other_policies_that_know_the_key_are_named(stage: Stage) -> None:
    other = stage.another_policy("batch")
    issued = stage.provider.create_by_hand(stage.policy.project, "shared")
    for policy in (stage.policy, other):
        stage.put(policy, issued.secret.reveal())
    stage.reconciler.reconcile(other)
    assert adopted(stage).others == ("batch",)


def _differ(stage: Stage) -> None:
    stage.put_key_by_hand()
    other = stage.provider.create_by_hand(stage.policy.project, "second")
    stage.backends["two"].put_by_hand(stage.policy.destinations[1], other.secret.reveal())


def _legacy(stage: Stage) -> None:
    stage.put(stage.policy, stage.provider.legacy_key().secret.reveal())


def _rejected(stage: Stage) -> None:
    stage.provider.revoke_by_hand(stage.put_key_by_hand())


def _foreign(stage: Stage) -> None:
    stage.put(stage.policy, stage.provider.create_by_hand("proj_other", "theirs").secret.reveal())


def _unreadable(stage: Stage) -> None:
    stage.put_key_by_hand()
    stage.backends["two"].fail("read", BackendUnavailable("two: sealed"))


def _unknown(stage: Stage) -> None:
    stage.put_key_by_hand()
    stage.provider.fail("identify", ProviderUnavailable("503"))


def _unlisted(stage: Stage) -> None:
    stage.put_key_by_hand()
    stage.provider.fail("list_keys", ProviderUnavailable("no answer"))


def _in_flight(stage: Stage) -> None:
    stage.put_key_by_hand()
    lease = stage.journal.acquire("chat", "slow", stage.clock.now(), DAY)
    stage.journal.append(lease, [ev.RotationIntended(rotation=rotation(Phase.INTENDED))], stage.clock.now())
    stage.journal.release(lease)


def _told_to_leak(stage: Stage) -> None:
    stage.put_key_by_hand()
    asked = ev.RotationRequested(reason="a leak", compromised=True)
    stage.journal.request("chat", asked, stage.clock.now())


def _leaked(stage: Stage) -> None:
    """The old key, put back by hand after it was told to have leaked; its revocation does not come through."""
    issued = stage.provider.create_by_hand(stage.policy.project, "leaked")
    stage.put(stage.policy, issued.secret.reveal())
    stage.look()
    _told_to_leak_again(stage)
    stage.provider.fail("revoke_key", ProviderUnavailable("503"))
    stage.look()
    stage.put(stage.policy, issued.secret.reveal())


def _told_to_leak_again(stage: Stage) -> None:
    asked = ev.RotationRequested(reason="a leak", compromised=True)
    stage.journal.request("chat", asked, stage.clock.now())


REFUSALS: dict[str, tuple[Callable[[Stage], object], str]] = {
    "the destinations differ": (_differ, "hold different keys: one:app#KEY: key_"),
    "the legacy organisation key": (_legacy, "the legacy organisation key"),
    "a key that the provider refuses": (_rejected, "the provider refuses the value it holds"),
    "a key of another project": (_foreign, "of project proj_other, not of"),
    "no key": (lambda _stage: None, "holds no key yet"),
    "a place that can't be read": (_unreadable, "two: sealed"),
    "a provider that does not answer": (_unknown, "503"),
    "a list that can't be read now": (_unlisted, "no answer"),
    "a rotation under way": (_in_flight, "was left in phase intended"),
    "a leak that was told": (_told_to_leak, "compromised: a leak"),
    "a key that has leaked": (_leaked, "was told to have leaked"),
}


@pytest.mark.parametrize(("arrange", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
def test_an_adoption_is_refused_with_its_reason_and_records_nothing(
    stage: Stage, arrange: Callable[[Stage], object], reason: str
) -> None:
    arrange(stage)
    assert reason in refused(stage).reason


def test_an_adoption_waits_for_a_look_that_is_under_way_but_not_for_ever(stage: Stage) -> None:
    stage.put_key_by_hand()
    begun = stage.clock.now()
    lease = stage.journal.acquire("chat", "busy", begun, DAY)
    stage.journal._is_dead = lambda _holder: False
    with pytest.raises(LeaseHeld):
        adopt(stage.reconciler, stage.policy, None, "ann")
    assert timedelta(seconds=10) <= stage.clock.now() - begun < timedelta(seconds=12)
    stage.journal.release(lease)
    assert adopted(stage).is_new


def test_promise_5_an_adoption_from_many_slow_places_keeps_the_lease(stage: Stage) -> None:
    stage.put_key_by_hand()
    many_places(stage)
    read = slow(stage, stage.backends["one"], "read")
    assert adopt(stage.reconciler, stage.policy, None, "ann").is_new
    assert len(read) == 8


def test_a_key_of_an_older_journal_was_told_by_nobody() -> None:
    old = record_from_json(
        '{"policy":"chat","keys":[{"key_id":"key_1","state":"current","origin":"adopted","project":"p",'
        '"since":"2026-11-01T00:00:00Z"}]}'
    )
    assert old.keys[0].expires_told_by == ""
