"""Promise 6, where it is hardest: a journal that another process left open, files that nobody may touch, no answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.installation import NEIGHBOUR, Places, credentials, document, in_file, policy, soon
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator
from tests.parts.simulator import PROJECT, HandMadeKey, Simulator

NOT_DUE = 3600
DUE = -60


@pytest.fixture
def places(tmp_path: Path, openbao: OpenBao, kv_mount: str, aws: Aws) -> Places:
    return Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws)


def put_by_hand(simulator: Simulator, places: Places, *, due_in: float) -> HandMadeKey:
    key = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(due_in))
    places.put(key.secret.reveal())
    return key


def rotator_of(folder: Path, simulator: Simulator, places: Places, **environ: str) -> Rotator:
    configuration = document(folder, simulator.base_url, [policy(places.destinations())], places.backends())
    return Rotator(
        folder, configuration, {**credentials(simulator), **places.least_credentials(), "COLUMNS": "200", **environ}
    )


def reading_only(folder: Path, simulator: Simulator, places: Places) -> Rotator:
    """The credentials of security staff: an auditor's key, and a token that may read the one value, no more."""
    right = f'path "{places.mount}/data/app" {{ capabilities = ["read"] }}'
    name = f"auditor-{places.mount}"
    places.openbao.root.sys.create_or_update_policy(name, right)
    token = places.openbao.root.auth.token.create(policies=[name], no_default_policy=True)["auth"]["client_token"]
    backends = places.backends()
    backends["openbao"]["auth"] = {"method": "token", "token": {"env": "AUDITOR_TOKEN"}}
    configuration = document(folder, simulator.base_url, [policy(places.destinations())], backends)
    environ = {
        "MANAGEMENT_KEY": simulator.secret("key_auditor").reveal(),
        "AUDITOR_TOKEN": token,
        "COLUMNS": "200",
    }
    return Rotator(folder, configuration, environ)


def traces(folder: Path) -> dict[str, object]:
    """Every file and folder: its content, its times and its number. Locks of a reader (``-shm``) are no content."""
    found: dict[str, object] = {}
    for path in [folder, *folder.rglob("*")]:
        if path.name.endswith("-shm"):
            continue
        status = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (content, status.st_mtime_ns, status.st_ino, status.st_mode)
    return found


class Changes:
    """What has reached the three servers so far and changes something there."""

    def __init__(self, simulator: Simulator, places: Places) -> None:
        self._look = lambda: (
            simulator.counters()["changing_requests"],
            places.openbao.changing_requests(),
            places.aws.changing_requests(),
        )
        self._before = self._look()

    def none(self) -> bool:
        return self._look() == self._before


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_plan_with_work_exits_3_with_read_only_rights_and_leaves_no_trace(
    tmp_path: Path, simulator: Simulator, places: Places, style: str
) -> None:
    """Promise 6: no journal is created, no file's time is changed."""
    key = put_by_hand(simulator, places, due_in=DUE)
    rotator = reading_only(tmp_path, simulator, places)
    changes, before = Changes(simulator, places), traces(tmp_path)

    done = rotator.call("--dry-run", "--format", style)

    assert (done.returncode, done.stderr) == (3, "")
    assert f"adopt {key.key_id} as the current key" in done.stdout
    assert "KeyUnmanaged" in done.stdout
    assert changes.none()
    assert traces(tmp_path) == before


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_plan_without_work_exits_0_and_leaves_the_journal_as_it_is(
    tmp_path: Path, simulator: Simulator, places: Places, style: str
) -> None:
    """Promise 6."""
    put_by_hand(simulator, places, due_in=NOT_DUE)
    assert rotator_of(tmp_path, simulator, places).run_once().returncode == 0
    rotator = reading_only(tmp_path, simulator, places)
    changes, before = Changes(simulator, places), traces(tmp_path)

    done = rotator.call("--dry-run", "--format", style)

    assert (done.returncode, done.stderr) == (0, "")
    assert "NothingDue" in done.stdout
    assert changes.none()
    assert traces(tmp_path) == before


def test_a_plan_reads_what_a_killed_service_left_in_the_write_ahead_log_and_leaves_it_there(
    tmp_path: Path, simulator: Simulator, places: Places
) -> None:
    """Promise 6: not even a checkpoint."""
    put_by_hand(simulator, places, due_in=DUE)
    with rotator_of(tmp_path, simulator, places).service() as service:
        service.wait_for_event("grace.started")
        service.kill()
    assert (tmp_path / "state.db-wal").stat().st_size > 0
    rotator = reading_only(tmp_path, simulator, places)
    changes, before = Changes(simulator, places), traces(tmp_path)

    done = rotator.call("--dry-run", "--format", "json")

    (plan,) = json.loads(done.stdout)["policies"]
    assert done.returncode in {0, 3}
    assert plan["check"] == "NothingDue", "the rotation that the log alone knows was seen"
    assert [key["state"] for key in plan["keys"]] == ["retiring"]
    assert changes.none()
    assert traces(tmp_path) == before


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_plan_of_a_place_that_nobody_reaches_exits_1_and_plans_the_other_policies(
    tmp_path: Path, simulator: Simulator, places: Places, style: str
) -> None:
    """Promises 6 and 9."""
    put_by_hand(simulator, places, due_in=DUE)
    nowhere = places.backends(openbao_url="http://127.0.0.1:9")
    policies = [policy(places.destinations()), policy(in_file(tmp_path / "other.env"), name="other")]
    rotator = rotator_of(tmp_path, simulator, places)
    rotator = Rotator(tmp_path, document(tmp_path, simulator.base_url, policies, nowhere), rotator.environ)
    changes, before = Changes(simulator, places), traces(tmp_path)

    done = rotator.call("--dry-run", "--format", style)

    assert done.returncode == 1
    assert "DestinationUnreadable" in done.stdout
    assert "DestinationEmpty" in done.stdout
    assert NEIGHBOUR not in done.stdout
    if style == "json":
        plans = {plan["policy"]: plan for plan in json.loads(done.stdout)["policies"]}
        assert (plans["chat"]["decision"], plans["chat"]["actions"]) == ("blocked", [])
        assert [action["action"] for action in plans["other"]["actions"]] == ["Issue"]
    assert changes.none()
    assert traces(tmp_path) == before


def test_a_plan_is_what_the_next_pass_does(tmp_path: Path, simulator: Simulator, places: Places) -> None:
    """Promise 6: a dry run never changes a verdict."""
    key = put_by_hand(simulator, places, due_in=DUE)
    rotator = rotator_of(tmp_path, simulator, places)
    first = json.loads(rotator.call("--dry-run", "--format", "json").stdout)["policies"]
    second = json.loads(rotator.call("--dry-run", "--format", "json").stdout)["policies"]
    assert [(plan["check"], plan["actions"]) for plan in first] == [(plan["check"], plan["actions"]) for plan in second]

    done = rotator.run_once()

    assert done.returncode == 0
    assert f"adopted {key.key_id}" in done.stdout
