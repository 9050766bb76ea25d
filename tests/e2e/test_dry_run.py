"""Promise 6: a dry run changes no key, no secret and no journal; read-only credentials are enough."""

import hashlib
import json

import pytest

from rotator.domain.secret import SecretValue
from tests.e2e.conftest import LONG, SHORT, until


def read_only(installation):
    """Credentials of security staff: nothing that could change anything."""
    policy = f'path "{installation.mount}/data/apps/chat" {{ capabilities = ["read"] }}'
    role = installation.openbao.approle(policy)
    installation.credentials = {
        "MANAGEMENT_KEY": installation.simulator.secret("key_auditor"),
        "ROLE_ID": role.role_id,
        "SECRET_ID": role.secret_id,
    }


def files(folder):
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def unchanged(installation):
    """What was changed anywhere so far; call it before and after."""

    def look():
        return (
            installation.simulator.counters()["changing_requests"],
            installation.openbao.changing_requests(),
            installation.aws.changing_requests(),
        )

    return look


def test_promise_6_the_plan_of_a_rotation_and_a_revocation_changes_nothing(installation, unchanged):
    rotator = installation.rotator(SHORT)
    until(lambda: len(installation.live()) == 2, rotator.run_once)
    read_only(installation)
    rotator = installation.rotator(SHORT)
    before, seen = unchanged(), files(installation.folder)
    actions = set()

    def plan():
        done = rotator.call("--dry-run", "--format", "json")
        assert done.returncode in {0, 3}, done.stdout + done.stderr
        actions.update(a["action"] for p in json.loads(done.stdout)["policies"] for a in p["actions"])

    until(lambda: {"Issue", "Revoke"} <= actions, plan, seconds=8)
    assert (unchanged(), files(installation.folder)) == (before, seen)


def test_a_plan_that_can_not_look_exits_1_and_says_why(installation):
    installation.credentials["SECRET_ID"] = SecretValue("wrong")
    done = installation.rotator(LONG).call("--dry-run", "--format", "json")
    (policy,) = json.loads(done.stdout)["policies"]
    assert (done.returncode, policy["check"]) == (1, "DestinationUnreadable")
