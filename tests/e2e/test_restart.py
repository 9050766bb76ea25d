"""Promise 4: the service is killed in the middle of a rotation, at every phase; the next start ends what was begun.

Each case is a step that does not come to its end (a provider or an OpenBao that keeps silent), and the journal's
event after which the process is killed. The restarted service must reach the same end state in all of them: one
live key of ours, held in every place; no other key of ours alive; nothing left to do in the journal.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.backends.proxy import Answer, Proxy, Request, Upstream
from tests.e2e.installation import (
    FIELD,
    INSTANCE,
    NEIGHBOUR,
    Places,
    at_rest,
    credentials,
    document,
    in_file,
    ours,
    policy,
    record,
    soon,
    until,
)
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator, count
from tests.parts.simulator import PROJECT, HandMadeKey, Simulator

DUE = -60
"""A key that is to be replaced at the first look."""


@dataclass(frozen=True)
class Moment:
    """Where the process is killed.

    :param event: the last thing in its log.
    :param fault: what keeps the next step from ending; none where the next step comes later anyway.
    :param made: how many keys are created until the end.
    """

    event: str
    made: int
    fault: dict[str, object] = field(default_factory=dict)
    method: str = ""
    path: str = ""


CREATE = {"method": "POST", "path": "api-keys$"}
WHOAMI = {"method": "GET", "path": "whoami$"}
REVOKE = {"method": "DELETE", "path": "api-keys/"}
MOMENTS = {
    "before the creation is carried out, which it never is": Moment(
        "rotation.intended", 1, {"effect": "hang"}, **CREATE
    ),
    "before the creation is carried out, which it is late": Moment(
        "rotation.intended", 2, {"effect": "hang", "delay": 1}, **CREATE
    ),
    "after the creation, before its answer": Moment("rotation.intended", 2, {"effect": "hang_after"}, **CREATE),
    # The first whoami asks for the key made by hand, the second for the new one.
    "between issued and published": Moment("key.issued", 2, {"effect": "hang", "skip": 1}, **WHOAMI),
    "in the grace": Moment("grace.started", 1),
    "before the revocation is carried out": Moment("revocation.intended", 1, {"effect": "hang"}, **REVOKE),
    "after the revocation, before its answer": Moment("revocation.intended", 1, {"effect": "hang_after"}, **REVOKE),
    # Two in the first look, the new key again at the end of the grace, then the old one.
    "between revoked and seen refused": Moment("key.revoked", 1, {"effect": "hang", "skip": 3}, **WHOAMI),
}


@dataclass(frozen=True)
class Installation:
    """A rotator with three places, which reaches OpenBao through a proxy."""

    rotator: Rotator
    places: Places
    simulator: Simulator
    by_hand: HandMadeKey
    gate: Gate


class Gate:
    """Keeps writes to OpenBao waiting while it is closed; what waits is carried out late, or never."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.late = True
        self.arrived = threading.Semaphore(0)
        self.answered = threading.Semaphore(0)

    def __call__(self, request: Request, upstream: Upstream) -> Answer:
        waited = request.method in {"POST", "PUT"} and "/data/" in request.path and not self.open.is_set()
        if waited:
            self.arrived.release()
            self.open.wait(30)
        answer = Answer(503) if waited and not self.late else upstream(request.body)
        if waited:
            self.answered.release()
        return answer


@pytest.fixture
def installation(
    tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws
) -> Iterator[Installation]:
    places = Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws)
    by_hand = simulator.create_key_by_hand(PROJECT, "made by hand", expires_at=soon(DUE))
    places.put(by_hand.secret.reveal())
    gate = Gate()
    with Proxy(openbao.url, gate) as proxy:
        backends = places.backends(openbao_url=proxy.url)
        configuration = document(tmp_path, simulator.base_url, [policy(places.destinations())], backends)
        rotator = Rotator(tmp_path, configuration, {**credentials(simulator), **places.least_credentials()})
        yield Installation(rotator, places, simulator, by_hand, gate)
        gate.open.set()


def restart_until_at_rest(installation: Installation) -> None:
    """The next start, until nothing is left to do."""
    with installation.rotator.service() as service:
        service.wait_for_event("service.started")
        until(lambda: at_rest(installation.rotator.folder) and ended(installation))
        assert service.stop() == 0
    assert count(service.events(), "look.crashed") == 0


def ended(installation: Installation) -> bool:
    """The key made by hand was replaced, and is revoked."""
    return installation.simulator.key(installation.by_hand.key_id)["state"] == "revoked"


def has_struck(simulator: Simulator) -> bool:
    """The request that goes wrong has reached the provider."""
    return all(fault["fired"] for fault in simulator._call("GET", "faults"))


def assert_one_key_everywhere(installation: Installation, *, made: int) -> None:
    (live,) = ours(installation.simulator)
    assert len(ours(installation.simulator, "revoked")) == made - 1
    (current,) = record(installation.rotator.folder).keys
    assert current.key_id == live
    contents = installation.places.contents()
    (secret,) = {content[FIELD] for content in contents.values()}
    assert {content[NEIGHBOUR] for content in contents.values()} == {"kept"}
    assert {hints["key_id"] for hints in installation.places.hints().values()} == {live}
    assert secret != installation.by_hand.secret.reveal()


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_rotation_that_was_killed_is_ended_by_the_next_start(installation: Installation, moment: Moment) -> None:
    """Promise 4."""
    if moment.fault:
        fault = dict(moment.fault)
        installation.simulator.fault(str(fault.pop("effect")), method=moment.method, path=moment.path, **fault)
    with installation.rotator.service() as service:
        service.wait_for_event(moment.event)
        until(lambda: moment.fault == {} or has_struck(installation.simulator), every=0.02)
        service.kill()

    restart_until_at_rest(installation)

    assert_one_key_everywhere(installation, made=moment.made)


@pytest.mark.parametrize("late", [True, False], ids=["whose write comes late", "whose write is lost"])
def test_a_service_killed_between_two_publications_is_ended_with_the_same_key(
    installation: Installation, *, late: bool
) -> None:
    """Promise 4: the secret is read back from the place that has it; no second key is made."""
    installation.gate.open.clear()
    installation.gate.late = late
    with installation.rotator.service() as service:
        service.wait_for_event("destination.published")
        assert installation.gate.arrived.acquire(timeout=10), "the second publication has begun"
        service.kill()
    assert len(installation.places.held()) == 2, "killed half-way"
    assert installation.simulator.key(installation.by_hand.key_id)["state"] == "live"
    installation.gate.open.set()

    restart_until_at_rest(installation)

    assert installation.gate.answered.acquire(timeout=5), "the killed process's own write reached the server"
    assert_one_key_everywhere(installation, made=1)


def test_a_write_of_a_killed_service_that_arrives_after_everything_is_refused(
    tmp_path: Path, installation: Installation
) -> None:
    """Promises 4 and 5: a late write is compare-and-set on a version that is gone."""
    installation.gate.open.clear()
    with installation.rotator.service() as service:
        service.wait_for_event("destination.published")
        assert installation.gate.arrived.acquire(timeout=10), "the second publication has begun"
        service.kill()
    around = document(
        tmp_path,
        installation.simulator.base_url,
        [policy(installation.places.destinations())],
        installation.places.backends(),
    )
    direct = Rotator(tmp_path, around, installation.rotator.environ)
    with direct.service() as service:
        until(lambda: at_rest(tmp_path) and ended(installation))
        before = installation.places.contents()
        installation.gate.open.set()
        assert installation.gate.answered.acquire(timeout=10)
        assert service.stop() == 0

    assert installation.places.contents() == before
    assert_one_key_everywhere(installation, made=1)


def test_two_killings_in_a_row_leave_one_key(tmp_path: Path, simulator: Simulator) -> None:
    """Promise 4: what is to be cleaned up is not forgotten when the cleaning is killed too."""
    by_hand = simulator.create_key_by_hand(PROJECT, "made by hand", expires_at=soon(DUE))
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{FIELD}={by_hand.secret.reveal()}\n")
    configuration = document(tmp_path, simulator.base_url, [policy(in_file(dotenv))])
    rotator = Rotator(tmp_path, configuration, credentials(simulator))
    simulator.fault("hang", skip=1, **WHOAMI)
    with rotator.service() as service:
        service.wait_for_event("key.issued")
        until(lambda: has_struck(simulator))
        service.kill()
    # The second start gives the first key up, makes another one, and dies at the same place.
    simulator.clear_faults()
    simulator.fault("hang", skip=1, **WHOAMI)
    with rotator.service() as service:
        service.wait_for_event("key.issued")
        until(lambda: has_struck(simulator))
        service.kill()

    with rotator.service() as service:
        service.wait_for_event("service.started")
        until(lambda: at_rest(tmp_path) and simulator.key(by_hand.key_id)["state"] == "revoked")
        assert service.stop() == 0

    (live,) = ours(simulator)
    assert record(tmp_path).keys[0].key_id == live
    assert len(ours(simulator, "revoked")) == 2
    names = [key["name"] for key in simulator.keys(project=PROJECT) if key["name"].startswith(f"rotator_{INSTANCE}_")]
    assert len(set(names)) == len(names) == 3
