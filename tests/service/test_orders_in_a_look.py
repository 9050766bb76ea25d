"""What an operator orders while a look is at work counts in that look, or at the next one, which comes at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.domain import events as ev
from rotator.domain.record import Expiration
from rotator.service.desk import Taken
from tests.domain.build import DAY, MINUTE, POLICY
from tests.service.conftest import Stage
from tests.service.people import PEOPLE, AssistedStage
from tests.service.test_hard_cases import adopted, record, rotate_now


def next_look(stage: Stage):
    return stage.journal.look(POLICY.name).next_at


def meanwhile(of: object, call: str, act) -> None:
    """``act`` happens within the next such call."""
    carry_out = getattr(of, call)

    def slow(*arguments, **named):
        setattr(of, call, carry_out)
        act()
        return carry_out(*arguments, **named)

    setattr(of, call, slow)


def hold(stage: Stage) -> None:
    stage.journal.request(POLICY.name, ev.Held(reason="change freeze"), stage.clock.now())


@pytest.mark.parametrize("compromised", [True, False])
def test_what_is_asked_for_while_hooks_run_after_a_rotation_is_not_put_off(stage: Stage, *, compromised: bool) -> None:
    stage.change_policy(hooks=("reload",))
    adopted(stage)
    rotate_now(stage)

    def asked() -> None:
        stage.clock.advance(5 * MINUTE)
        rotate_now(stage, compromised=compromised)

    meanwhile(stage.hooks, "run", asked)
    stage.look()
    assert record(stage).requested
    assert next_look(stage) == stage.clock.now()
    first = stage.held()
    stage.look()
    assert not record(stage).requested
    assert stage.held() != first


def test_a_leak_that_is_told_while_a_key_is_made_is_answered_at_once(stage: Stage) -> None:
    adopted(stage)
    rotate_now(stage)
    meanwhile(stage.provider, "create_key", lambda: rotate_now(stage, compromised=True))
    stage.look()
    assert record(stage).compromised
    assert next_look(stage) == stage.clock.now()


def test_what_nobody_asked_for_is_no_reason_to_make_one_key_after_another(stage: Stage) -> None:
    """A provider says of each new key that it is years old."""
    adopted(stage)
    rotate_now(stage)
    create = stage.provider.create_key

    def aged(*arguments):
        issued = create(*arguments)
        facts = replace(issued.facts, created_at=stage.clock.now() - 900 * DAY)
        stage.provider._keys[facts.key_id].facts = facts
        return replace(issued, facts=facts)

    stage.provider.create_key = aged
    assert stage.look().check == "TooOld"
    assert next_look(stage) > stage.clock.now() + 10 * MINUTE


@pytest.mark.parametrize("call", ["read", "check_writable"])
def test_a_hold_that_comes_during_the_look_stops_the_rotation(stage: Stage, call: str) -> None:
    old = adopted(stage)
    rotate_now(stage)
    meanwhile(stage.backends["two"], call, lambda: hold(stage))
    outcome = stage.look()
    assert stage.held() == [old, old]
    assert stage.alive() == {old}
    assert "on hold: change freeze" in outcome.reason


def test_a_hold_that_comes_during_the_look_stops_a_request(tmp_path) -> None:
    stage = AssistedStage(f"sqlite:///{tmp_path}/state.db")
    stage.change(assistance=PEOPLE)
    meanwhile(stage.backends["two"], "read", lambda: hold(stage))
    stage.look()
    assert stage.record.awaiting is None
    stage.journal.close()


def test_a_hold_that_comes_during_a_handover_that_nobody_asked_for_keeps_the_key_out(tmp_path) -> None:
    stage = AssistedStage(f"sqlite:///{tmp_path}/state.db")
    stage.change(assistance=PEOPLE)
    stage.look()
    assert stage.submit(stage.make_key().secret).taken is Taken.ACCEPTED
    before, early = stage.held(), stage.make_key().secret
    meanwhile(stage.backends["two"], "check_writable", lambda: hold(stage))
    answer = stage.submit(early, expires=Expiration(None))
    assert (answer.taken, stage.held()) == (Taken.POSTPONED, before)
    assert "on hold: change freeze" in answer.why
    stage.journal.close()


def test_a_hold_that_comes_while_a_rollback_begins_stops_it(stage: Stage) -> None:
    rotate_now(stage)
    stage.look()
    rotate_now(stage)
    stage.look()
    newer = stage.held()
    stage.journal.request(POLICY.name, ev.RollbackRequested(reason="bad"), stage.clock.now())
    meanwhile(stage.backends["two"], "check_writable", lambda: hold(stage))
    stage.look()
    assert stage.held() == newer
    stage.journal.request(POLICY.name, ev.Held(reason=""), stage.clock.now())
    stage.look()
    assert stage.held() != newer, "it waited"


def test_a_hold_that_comes_before_an_end_is_brought_forward_keeps_it(stage: Stage) -> None:
    old = adopted(stage)
    rotate_now(stage)
    ends = stage.provider._keys[old].facts.expires_at
    append = stage.journal.append

    def held_first(lease, events, now):
        if any(isinstance(event, ev.ExpiryForwarded) for event in events):
            stage.journal.append = append
            hold(stage)
        return append(lease, events, now)

    stage.journal.append = held_first
    stage.look()
    assert stage.provider._keys[old].facts.expires_at == ends
    stage.journal.request(POLICY.name, ev.Held(reason=""), stage.clock.now())
    stage.look()
    assert stage.provider._keys[old].facts.expires_at is not None, "once the hold is over"
