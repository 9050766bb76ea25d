"""A provider that lies, over real HTTP: nothing of it is believed, nothing is revoked for it, and all ends well.

The whole rotator in this process, on a clock that the test drives together with the platform's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from rotator.bootstrap import application
from rotator.clock import SystemClock
from rotator.config import load
from rotator.service.reconcile import Outcome
from tests.e2e.installation import FIELD, document, in_file, ours, policy
from tests.parts.simulator import PROJECT, Simulator

TIMES = {"lifetime": "30d", "renew_before": "7d", "grace": "1h", "settle": "10m"}
WHOAMI, LIST, CREATE = (
    {"method": "GET", "path": "whoami"},
    {"method": "GET", "path": "api-keys$"},
    {"method": "POST", "path": "api-keys$"},
)
LIES = {
    "a list of another project": ("wrong_project", LIST),
    "a creation in another project": ("wrong_project", CREATE),
    "a whoami that names another project": ("wrong_project", WHOAMI),
    "a creation with the id of somebody's key": ("other_key_id", CREATE),
    "a whoami that names somebody's key": ("other_key_id", WHOAMI),
    "a creation with another name": ("other_name", CREATE),
    "a new key that has expired already": ("born_expired", CREATE),
    "an empty list": ("empty_list", LIST),
    "a list that lacks rows": ("partial_list", LIST),
    "a list of an hour ago": ("stale_list", {**LIST, "age": 3600}),
    "a list with a key that is not there": ("phantom_row", LIST),
    "half of JSON to a creation": ("truncated_json", CREATE),
    "half of JSON to a list": ("truncated_json", LIST),
    "a page of HTML to a creation": ("html", CREATE),
    "a page of HTML to a whoami": ("html", WHOAMI),
    "a page of HTML to a list": ("html", LIST),
}


class DrivenClock(SystemClock):
    """Real time and what was skipped, here and on the platform."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self._simulator = simulator
        self._skipped = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self._skipped

    def sleep(self, duration: timedelta) -> None:
        self.skip(duration)

    def skip(self, duration: timedelta) -> None:
        if duration > timedelta(0):
            self._skipped += duration
            self._simulator.advance(duration.total_seconds())


class Installation:
    """One policy with a dotenv file, beside a key of somebody else."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.simulator, self.clock, self.dotenv = simulator, DrivenClock(simulator), folder / ".env"
        self.somebodys = simulator.create_key_by_hand(PROJECT, "somebody's").key_id
        # Due in a day: the first look adopts it, and a later one replaces it.
        soon = datetime.now(UTC) + timedelta(days=8)
        self.mine = simulator.create_key_by_hand(PROJECT, "mine", expires_at=soon)
        self.dotenv.write_text(f"{FIELD}={self.mine.secret.reveal()}\n")
        config = folder / "rotator.yaml"
        written = document(folder, simulator.base_url, [policy(in_file(self.dotenv), **TIMES)])
        config.write_text(yaml.safe_dump(written))
        self.environ = {"MANAGEMENT_KEY": simulator.management_key.reveal()}
        self.settings = load(config, self.environ)

    def look(self) -> Outcome:
        """One look, by a process of its own as far as its memory goes."""
        with application(self.settings, self.environ, clock=self.clock) as wired:
            return wired.reconciler.reconcile(self.settings.policies[0])

    def looks(self, duration: timedelta) -> list[Outcome]:
        """A look whenever one is due, for so long."""
        end, outcomes = self.clock.now() + duration, [self.look()]
        while outcomes[-1].next_at < end:
            self.clock.skip(outcomes[-1].next_at - self.clock.now())
            outcomes.append(self.look())
            assert len(outcomes) < 60, "it never comes to rest"
        self.clock.skip(end - self.clock.now())
        return outcomes

    def accepted(self) -> bool:
        """Whether a consumer's call with what the file holds goes through."""
        (line,) = (line for line in self.dotenv.read_text().splitlines() if line.startswith(FIELD))
        secret = line.partition("=")[2].strip("'\"")
        body = {"model": "demo/model", "messages": [{"role": "user", "content": "hello"}]}
        url = f"{self.simulator.base_url}/v1/chat/completions"
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.post(url, json=body, headers=headers, trust_env=False, timeout=60).status_code == 200


@pytest.fixture
def installation(tmp_path: Path, simulator: Simulator) -> Iterator[Installation]:
    yield Installation(tmp_path, simulator)
    simulator.settings(date_skew=0)
    simulator.clear_faults()


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(("effect", "when"), LIES.values(), ids=LIES.keys())
def test_a_lie_harms_nobody_and_all_ends_well(
    installation: Installation, effect: str, when: dict[str, object], times: int
) -> None:
    """Promises 1, 2, 4 and 7, with the lie around adoption, replacement and revocation."""
    simulator = installation.simulator
    for duration in (timedelta(0), timedelta(days=2), timedelta(hours=2)):
        simulator.fault(effect, times=times, **when)
        installation.looks(duration)
        assert installation.accepted()
    simulator.clear_faults()

    installation.looks(timedelta(days=9))

    assert installation.accepted()
    assert simulator.key(installation.somebodys)["state"] == "live"
    assert len(ours(simulator)) == 1
    assert simulator.key(installation.mine.key_id)["state"] != "live"


def test_promise_2_nothing_is_revoked_while_the_provider_s_clock_is_hours_off(installation: Installation) -> None:
    simulator = installation.simulator
    while not ours(simulator):
        outcome = installation.look()
        installation.clock.skip(outcome.next_at - installation.clock.now())
    simulator.settings(date_skew=7200)
    installation.clock.skip(timedelta(hours=2))
    outcome = installation.look()
    assert simulator.key(installation.mine.key_id)["state"] == "live"
    assert outcome.next_at <= installation.clock.now() + timedelta(minutes=11), "it asks again soon"
    simulator.settings(date_skew=0)
    installation.look()
    assert simulator.key(installation.mine.key_id)["state"] == "revoked"


def test_an_outage_that_refuses_good_keys_revokes_nothing_of_ours(installation: Installation) -> None:
    simulator = installation.simulator
    installation.look()
    simulator.refuse_all_keys()
    outcome = installation.look()
    assert outcome.problems
    simulator.clear_faults()
    installation.looks(timedelta(hours=1))
    assert installation.accepted()
    assert simulator.key(installation.somebodys)["state"] == "live"
