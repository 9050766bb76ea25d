"""A handover and the service around it: what it began with is there until its end, and a stop waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx

from rotator.domain.request_events import HandoverAccepted
from rotator.entrypoints.http.handing import Ended
from rotator.entrypoints.runtimes import Runtimes
from rotator.service.desk import Handover, Taken
from tests.pages.people import LINK, form, send, serving, words
from tests.service.people import AssistedStage


class InForce:
    """What is in force, as the service counts its users; a handover waits in its middle until ``go``."""

    def __init__(self, stage: AssistedStage) -> None:
        self.stage = stage
        self.closed: list[str] = []
        self.inside, self.go = threading.Event(), threading.Event()
        self.runtimes = Runtimes(self.named("first"))

    def named(self, name: str) -> Any:
        stage = self.stage

        def hand_over(policy: object, handed: object) -> object:
            self.inside.set()
            assert self.go.wait(30)
            return stage.desk.hand_over(policy, handed)

        return SimpleNamespace(
            settings=SimpleNamespace(policies=(stage.policy,)),
            clock=stage.clock,
            journal=stage.journal,
            desk=SimpleNamespace(hand_over=hand_over),
            close_adapters=lambda: self.closed.append(name),
        )


def at_work(people: ThreadPoolExecutor, force: InForce, address: str, key: str) -> Future[httpx.Response]:
    sent = people.submit(send, address, key)
    assert force.inside.wait(30)
    return sent


def begun(pool: ThreadPoolExecutor, waits: Callable[[], None]) -> Future[None]:
    """It is under way in a thread of its own."""
    began = threading.Event()

    def run() -> None:
        began.set()
        waits()

    running = pool.submit(run)
    assert began.wait(30)
    return running


def test_another_configuration_leaves_a_handover_its_adapters_until_its_end(stage: AssistedStage) -> None:
    force, key = InForce(stage), stage.make_key().secret.reveal()
    with serving(stage, used=force.runtimes.used) as address, ThreadPoolExecutor() as people:
        sent = at_work(people, force, address, key)
        force.runtimes.swap(force.named("second"))
        force.runtimes.wait_closed()
        assert force.closed == []
        force.go.set()
        assert "is accepted" in words(sent.result())
        force.runtimes.wait_idle()
    assert force.closed == ["first"]


def test_a_stop_waits_for_the_handover_under_way_and_takes_no_other(stage: AssistedStage) -> None:
    force, first, second = InForce(stage), stage.make_key(), stage.make_key()
    with serving(stage, used=force.runtimes.used) as address, ThreadPoolExecutor() as people:
        sent = at_work(people, force, address, first.secret.reveal())
        stage.clock.stopping = True
        idle = begun(people, force.runtimes.wait_idle)
        said = words(send(address, second.secret.reveal()))
        assert "the service is being stopped: nothing was taken" in said
        assert not idle.done()
        force.go.set()
        assert f"{first.facts.key_id} is accepted" in words(sent.result())
        idle.result(timeout=30)
    assert stage.happened(HandoverAccepted) == 1


def test_policy_and_desk_are_of_one_configuration(stage: AssistedStage) -> None:
    asked: list[object] = []
    force = InForce(stage)
    force.go.set()
    with serving(stage, used=lambda: asked.append(1) or force.runtimes.used()) as address:
        assert httpx.post(address + LINK, data=form(stage.make_key().secret.reveal())).status_code == 303
    assert asked == [1]


def test_a_browser_that_was_sent_on_is_waited_for_before_a_stop_closes_the_door() -> None:

    moment = [0.0]
    ended = Ended(monotonic=lambda: moment[0])
    ended.wait_told()  # nothing was sent
    for token in ("one", "two"):
        ended.note("chat", token, Handover(taken=Taken.ACCEPTED, key_id="key_1"))
    with ThreadPoolExecutor() as people:
        waiting = begun(people, ended.wait_told)
        assert ended.of("chat", "one")
        assert not waiting.done()
        assert ended.of("chat", "two")
        waiting.result(timeout=30)
    ended.note("chat", "three", Handover(taken=Taken.ACCEPTED, key_id="key_1"))
    moment[0] += 10
    ended.wait_told()  # whoever sent that does not ask any more
