"""``rotator forget``: the journal stops remembering, and nothing outside is touched. Promises 2 and 7."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from rotator.adapters.journal.codec import record_from_json
from rotator.domain import events as ev
from rotator.domain.forgetting import lost_with
from rotator.domain.lifecycle import fold
from rotator.domain.record import PolicyRecord
from rotator.errors import OutcomeUnknown
from rotator.service.forget import Forgotten, NotForgotten, forget
from tests.domain.build import NOW, key, record
from tests.service.conftest import Stage
from tests.service.test_adopt import adopted
from tests.service.test_rollback import rotated

WHY = "sold (ann)"


def forgotten(stage: Stage, *, key_id: str = "", is_configured: bool = False, even_so: bool = False) -> Forgotten:
    outcome = forget(stage.reconciler, "chat", WHY, key_id=key_id, is_configured=is_configured, even_so=even_so)
    assert isinstance(outcome, Forgotten), outcome
    return outcome


def refused(stage: Stage, *, key_id: str = "", is_configured: bool = False, even_so: bool = False) -> NotForgotten:
    before = stage.journal.load("chat")
    outcome = forget(stage.reconciler, "chat", WHY, key_id=key_id, is_configured=is_configured, even_so=even_so)
    assert isinstance(outcome, NotForgotten), outcome
    assert stage.journal.load("chat") == before
    stage.journal.release(stage.journal.acquire("chat", "other", NOW, timedelta(minutes=1)))  # it is free again
    return outcome


def test_a_policy_whose_key_is_held_is_forgotten_only_if_one_insists_and_its_key_is_named_and_lives(
    stage: Stage,
) -> None:
    key_id = stage.put_key_by_hand()
    stage.look()
    assert refused(stage).reasons == (f"{key_id} is the current key, and is held by one:app#KEY, two:app#KEY",)
    outcome = forgotten(stage, even_so=True)

    assert [one.key_id for one in outcome.alive] == [key_id]
    assert set(outcome.holders[key_id]) == {"one:app#KEY", "two:app#KEY"}
    assert stage.journal.load("chat") == PolicyRecord(policy="chat")
    assert stage.alive() == {key_id}
    assert "revoke_key" not in stage.provider.calls


def test_a_current_key_that_no_place_was_seen_to_hold_is_no_loss() -> None:
    assert lost_with(record(key("a")), {}) == []


def test_a_forgotten_policy_that_comes_again_is_looked_at_at_once_and_its_key_adopted(stage: Stage) -> None:
    key_id = stage.put_key_by_hand()
    stage.look()
    forgotten(stage, even_so=True)
    look = stage.journal.look("chat")
    assert look is not None
    assert (look.digest, look.next_at) == ("", stage.clock.now())
    assert "adopted" in " ".join(stage.look().done)
    assert stage.held() == [key_id, key_id]


def test_a_policy_that_is_configured_is_not_forgotten_whatever_one_says(stage: Stage) -> None:
    stage.put_key_by_hand()
    stage.look()
    outcome = refused(stage, is_configured=True, even_so=True)
    assert outcome.for_ever
    assert "take it out there first" in outcome.reasons[0]


def test_a_key_in_its_grace_is_forgotten_only_if_one_insists_and_then_it_is_never_revoked(stage: Stage) -> None:
    former, newer = rotated(stage)
    assert f"{former} is in its grace until" in refused(stage, key_id=former, is_configured=True).reasons[0]

    outcome = forgotten(stage, key_id=former, is_configured=True, even_so=True)

    assert [one.key_id for one in outcome.alive] == [former]
    stage.clock.advance(2 * stage.policy.grace)
    stage.look()
    assert stage.provider.calls.count("revoke_key") == 0
    remembered = stage.journal.load("chat")
    assert [one.key_id for one in remembered.keys] == [newer]
    assert remembered.rotations == ()


def test_a_forgotten_key_of_ours_that_the_list_shows_is_no_stray(stage: Stage) -> None:
    """Promise 7: it was said to be no business of ours, whatever its name."""
    _, first = rotated(stage)
    stage.journal.request("chat", ev.RotationRequested(reason="again"), stage.clock.now())
    stage.look()
    forgotten(stage, key_id=first, is_configured=True, even_so=True)
    for _ in range(3):
        stage.clock.advance(timedelta(days=9))
        stage.look()
    assert stage.journal.load("chat").key(first) is None
    assert not stage.provider.is_revoked(first)


def test_a_forgotten_key_that_lies_in_the_destinations_again_is_remembered(stage: Stage) -> None:
    issued = stage.provider.create_by_hand(stage.policy.project, "by hand")
    stage.put(stage.policy, issued.secret.reveal())
    stage.look()
    stage.journal.request("chat", ev.RotationRequested(reason="test"), stage.clock.now())
    stage.look()
    forgotten(stage, key_id=issued.facts.key_id, is_configured=True, even_so=True)
    assert stage.journal.load("chat").forgotten == (issued.facts.key_id,)
    stage.put(stage.policy, issued.secret.reveal())
    assert adopted(stage).key.key_id == issued.facts.key_id
    assert stage.journal.load("chat").forgotten == ()


def test_the_current_key_of_a_configured_policy_is_not_forgotten_it_would_come_back(stage: Stage) -> None:
    key_id = stage.put_key_by_hand()
    stage.look()
    outcome = refused(stage, key_id=key_id, is_configured=True, even_so=True)
    assert outcome.for_ever
    assert "would adopt again" in outcome.reasons[0]
    assert "is not one of its keys" in refused(stage, key_id="key_unknown", even_so=True).reasons[0]


def _unknown_creation(stage: Stage) -> None:
    stage.provider.fail("create_key", OutcomeUnknown("reset"))
    stage.look()


def _leak(stage: Stage) -> None:
    asked = ev.RotationRequested(reason="on a web page", compromised=True)
    stage.journal.request("chat", asked, stage.clock.now())


def _rollback(stage: Stage) -> None:
    stage.journal.request("chat", ev.RollbackRequested(reason="it fails"), stage.clock.now())


LOST: dict[str, tuple[Callable[[Stage], object], str]] = {
    "a creation of unknown outcome": (_unknown_creation, "was created is not known; it is looked for until"),
    "a leak without an answer": (_leak, "was told to have leaked, and was not replaced yet: on a web page"),
    "a rollback": (_rollback, "a rollback was asked for: it fails"),
    "a key in its grace": (rotated, "is in its grace until"),
}


@pytest.mark.parametrize(("arrange", "said"), LOST.values(), ids=LOST.keys())
def test_what_would_be_lost_is_told_and_forgotten_only_if_one_insists(
    stage: Stage, arrange: Callable[[Stage], object], said: str
) -> None:
    arrange(stage)
    assert any(said in reason for reason in refused(stage).reasons)
    assert any(said in reason for reason in forgotten(stage, even_so=True).lost)
    assert not stage.provider.calls.count("revoke_key")


def test_the_history_keeps_what_happened_and_who_forgot_it() -> None:
    remembered = record(key("a"), key("b"))
    (name, fields) = ev.told(ev.PolicyForgotten(key_ids=("key_a", "key_b"), reason=WHY))
    assert (name, fields) == ("policy.forgotten", {"key_ids": "key_a, key_b", "reason": WHY})
    assert fold(ev.KeyForgotten(key_id="key_a", reason=WHY), remembered).forgotten == ("key_a",)


def test_a_record_of_an_older_journal_has_forgotten_nothing() -> None:
    assert record_from_json('{"policy": "chat"}').forgotten == ()
