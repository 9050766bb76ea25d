"""What an operator asks for: holds that end by themselves, and a longer grace. Promises 2 and 7."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.adapters.journal.codec import record_from_json
from rotator.domain import events as ev
from rotator.domain.lifecycle import fold
from rotator.domain.model import Destination
from rotator.domain.record import Phase
from rotator.errors import Overtaken
from rotator.service.reconcile import Result
from tests.domain.build import key, record, retiring, rotation
from tests.service.conftest import Stage
from tests.service.test_rollback import expiration, rotated

HOUR = timedelta(hours=1)


def test_a_hold_that_has_ended_by_its_time_counts_as_released(stage: Stage) -> None:
    former, _ = rotated(stage)
    now = stage.clock.now()
    end = now + stage.policy.grace + 2 * HOUR
    stage.journal.request("chat", ev.Held(reason="freeze", until=end), now)
    stage.clock.advance(stage.policy.grace + HOUR)

    held = stage.look()

    assert held.check == "OnHold"
    assert held.reason.startswith("on hold until ")
    assert held.next_at == end
    assert former in stage.alive()
    stage.clock.advance(HOUR)
    stage.look()
    assert former not in stage.alive()


def test_a_hold_without_an_end_from_an_older_journal_still_holds(stage: Stage) -> None:
    old = record_from_json('{"policy": "chat", "hold": "an audit"}')
    assert old.hold_until is None
    assert old.held(stage.clock.now() + timedelta(days=1000)) == "an audit"


def test_the_last_hold_given_counts_and_a_release_takes_its_end_away(stage: Stage) -> None:
    now = stage.clock.now()
    for_ever = fold(ev.Held(reason="b"), fold(ev.Held(reason="a", until=now), record()))
    assert (for_ever.hold, for_ever.hold_until) == ("b", None)
    released = fold(ev.Held(reason="", by="ann"), fold(ev.Held(reason="a", until=now), record()))
    assert (released.hold, released.hold_until) == ("", None)


def test_an_extended_grace_keeps_the_old_key_and_brings_its_end_along_and_it_is_revoked_then(stage: Stage) -> None:
    former, newer = rotated(stage)
    (old,) = [one for one in stage.journal.load("chat").keys if one.key_id == former]
    assert old.grace_until is not None
    until = old.grace_until + 2 * stage.policy.grace_limit
    event = ev.GraceProlonged(key_ids=(former,), grace_until=until, reason="a slow consumer")
    for _ in range(2):
        stage.journal.request("chat", event, stage.clock.now())
        stage.look()

    assert expiration(stage, former) == until + HOUR
    stage.clock.advance(until - stage.clock.now() - HOUR)
    stage.look()
    assert former in stage.alive()
    stage.clock.advance(2 * HOUR)
    stage.look()
    assert former not in stage.alive()
    assert stage.journal.load("chat").key(former) is None
    assert stage.held()[0] is not None
    assert stage.held()[0] != former
    assert newer


def test_promise_2_a_grace_can_be_extended_on_hold_when_the_end_that_we_had_set_comes_near(stage: Stage) -> None:
    """A hold stops revocations; the provider ends the key all the same, by what was set before."""
    former, _ = rotated(stage)
    old = stage.journal.load("chat").key(former)
    assert old is not None
    assert old.grace_limit is not None
    stage.journal.request("chat", ev.Held(reason="an incident"), stage.clock.now())
    stage.clock.current = old.grace_limit
    stage.look()
    assert expiration(stage, former) == old.grace_limit + HOUR
    until = old.grace_limit + 48 * HOUR
    event = ev.GraceProlonged(key_ids=(former,), grace_until=until, reason="the incident goes on")
    stage.journal.request("chat", event, stage.clock.now())
    stage.look()
    assert expiration(stage, former) == until + HOUR
    stage.clock.current = until
    stage.look()
    assert former in stage.alive()


def test_a_grace_extended_to_the_keys_own_end_gives_it_that_end_again(stage: Stage) -> None:
    own = stage.clock.now() + timedelta(days=20)
    former, _ = rotated(stage, expires_at=own)
    before = expiration(stage, former)
    assert before != own, "it was brought forward"
    event = ev.GraceProlonged(key_ids=(former,), grace_until=own, reason="a slow consumer")
    stage.journal.request("chat", event, stage.clock.now())

    stage.look()

    assert expiration(stage, former) == own


def test_a_grace_is_never_made_shorter_by_what_was_decided_before() -> None:
    old = retiring("old")
    assert old.grace_until is not None
    late = old.grace_until + 9 * HOUR
    longer = fold(ev.GraceProlonged(key_ids=("key_old", "gone"), grace_until=late, reason="x"), record(key("new"), old))
    for event in (
        ev.GraceExtended(key_id="key_old", grace_until=old.grace_until, why="used"),
        ev.GraceProlonged(key_ids=("key_old",), grace_until=old.grace_until, reason="x"),
    ):
        after = fold(event, longer).key("key_old")
        assert after is not None
        assert after.grace_until == late


def test_a_rollback_that_was_asked_for_after_the_decision_is_not_lost() -> None:
    asked = fold(ev.RollbackRequested(reason="it fails"), record(key("new")))
    with pytest.raises(Overtaken, match="a rollback was asked for"):
        fold(ev.RotationIntended(rotation=rotation(Phase.INTENDED)), asked)
    leaked = fold(ev.RotationRequested(reason="leak", compromised=True), record(key("new")))
    leaked = fold(ev.RollbackRequested(reason="it fails"), leaked)
    begun = fold(ev.RotationIntended(rotation=rotation(Phase.INTENDED)), leaked)
    assert begun.rollback is None, "nobody puts back what has leaked"


def test_a_rotation_gives_way_to_a_rollback_that_is_asked_for_while_it_is_prepared(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, newer = rotated(stage)
    stage.journal.request("chat", ev.RotationRequested(reason="again"), stage.clock.now())
    check, created = stage.backends["two"].check_writable, stage.provider.calls.count("create_key")

    def asked_meanwhile(place: Destination) -> None:
        stage.journal.request("chat", ev.RollbackRequested(reason="it fails"), stage.clock.now())
        check(place)

    monkeypatch.setattr(stage.backends["two"], "check_writable", asked_meanwhile)
    outcome = stage.look()
    monkeypatch.undo()

    assert (outcome.result, outcome.problems) == (Result.OK, ())
    assert "a rollback was asked for meanwhile" in outcome.reason
    assert stage.provider.calls.count("create_key") == created
    assert stage.held() == [newer, newer]
    assert outcome.next_at <= stage.clock.now() + timedelta(minutes=5)
    look = stage.journal.look("chat")
    assert look is not None
    assert look.next_at <= stage.clock.now(), "what was asked for makes it due at once"
    stage.look()
    assert stage.held() == [former, former]
