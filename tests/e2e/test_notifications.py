"""Notifications on real parts: a rotation tells people, a channel that is down delays nothing, no secret leaves."""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.events import RotationRequested
from tests.e2e.installation import FIELD, credentials, document, in_file, policy, record, soon
from tests.parts.receiver import Receiver, receiver
from tests.parts.rotator import Rotator
from tests.parts.secret_search import files, search
from tests.parts.simulator import PROJECT, Simulator

SIGNING = "whsec_" + base64.b64encode(b"made up for the end-to-end tests").decode()
TOKEN = "made-up-token-of-a-chat-0123456789"


class Installation:
    """A policy whose key is to be replaced now, a webhook, and a chat by apprise."""

    def __init__(self, folder: Path, simulator: Simulator, hook: Receiver, chat: Receiver) -> None:
        self.folder, self.simulator, self.hook, self.chat = folder, simulator, hook, chat
        self.by_hand = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon())
        self.place = folder / ".env"
        self.place.write_text(f"{FIELD}={self.by_hand.secret.reveal()}\n")
        self.document: dict[str, Any] = document(
            folder,
            simulator.base_url,
            [policy(in_file(self.place), grace="1s")],
            notifications={
                "ops": {"type": "webhook", "url": hook.url, "secret": {"env": "SIGNING"}, "policies": ["ch*"]},
                "chat": {"type": "apprise", "url": {"env": "CHAT"}, "events": ["rotated"]},
            },
        )
        self.rotator = Rotator(folder, self.document, {**credentials(simulator), "SIGNING": SIGNING, "CHAT": self.url})

    @property
    def url(self) -> str:
        return f"json://user:{TOKEN}@127.0.0.1:{self.chat.port}/{TOKEN}"

    def write(self, **changed: Any) -> None:
        self.document |= changed
        self.rotator.config.write_text(yaml.safe_dump(self.document))

    def rotate_now(self) -> None:
        """As ``rotator rotate`` does."""
        journal = SqlJournal.open(f"sqlite:///{self.folder}/state.db", is_dead=lambda _holder: False)
        journal.request("chat", RotationRequested(reason="a test"), datetime.now(UTC))
        journal.close()

    def secrets(self) -> list[str]:
        key = self.place.read_text().partition(f"{FIELD}=")[2].splitlines()[0]
        return [TOKEN, SIGNING, key, self.by_hand.secret.reveal(), self.simulator.management_key.reveal()]


@pytest.fixture
def installation(tmp_path: Path, simulator: Simulator) -> Iterator[Installation]:
    with receiver() as hook, receiver() as chat:
        yield Installation(tmp_path, simulator, hook, chat)


def test_promises_3_and_6_a_trial_tells_what_each_channel_said_a_pass_tells_and_a_dry_run_does_not(
    installation: Installation,
) -> None:
    rotator, hook, chat = installation.rotator, installation.hook, installation.chat
    hook.answers, chat.answers = [(204, {})], [(403, {})]
    trial = rotator.call("--test-notifications", "--log-level", "debug")
    assert (trial.returncode, trial.stdout) == (
        1,
        "ops: sent\nchat: the service answered with 403\n2 channels tried, 1 failed\n",
    )
    assert not (installation.folder / "state.db").exists()
    rotator.call("--dry-run")
    assert (hook.kinds(), len(chat.requests)) == (["rotator.test"], 1)

    hook.answers, chat.answers = [(503, {})], []
    done = rotator.run_once("--log-level", "debug")
    new = record(installation.folder).current
    assert (done.returncode, new is None) == (0, False), done.stderr
    assert hook.kinds() == ["rotator.test", "rotator.adopted"], "which was answered with 503"
    assert '"it was answered with 503"' in done.stderr
    _, told = (body["message"] for body in chat.bodies())
    assert told.startswith(f"Every destination holds the new key {new.key_id}. The replaced one stays valid until")

    written = {
        "output": f"{trial.stdout}{trial.stderr}{done.stdout}{done.stderr}".encode(),
        **{f"sent {number}": body for number, (_, _, body) in enumerate([*hook.requests, *chat.requests])},
        **files(installation.folder, but=installation.place),
    }
    assert search(installation.secrets(), written) == []


def test_promises_9_and_10_a_channel_that_hangs_delays_nothing_and_a_reload_brings_another(
    installation: Installation,
) -> None:
    installation.write(
        notifications={"ops": {**installation.document["notifications"]["ops"], "url": installation.hook.url}}
    )
    installation.hook.hold.clear()
    with installation.rotator.service() as service:
        service.wait_for_event("key.closed")
        installation.write(notifications={"later": {"type": "apprise", "url": {"env": "CHAT"}, "failed_after": 1}})
        service.process.send_signal(signal.SIGHUP)
        service.wait_for_event("configuration.reloaded", notifications=["later", "ops"])
        installation.rotate_now()
        installation.chat.wait(lambda place: any("holds the new key" in body["message"] for body in place.bodies()))
        installation.hook.hold.set()
    assert search(installation.secrets(), {"log": "".join(service.lines).encode()}) == []
