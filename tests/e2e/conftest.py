"""A whole installation on real parts: simulator, OpenBao, AWS endpoint, and the rotator as a process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rotator.domain.secret import SecretValue
from tests.backends.conftest import LEAST_POLICY
from tests.parts.aws import CREDENTIALS, Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator
from tests.parts.simulator import PROJECT, Simulator

FIELD = "TOGETHER_API_KEY"
SHORT = {"lifetime": "10s", "renew_before": "6s", "grace": "2s", "check_every": "1s", "settle": "3s"}
LONG = {"lifetime": "30d", "renew_before": "7d", "grace": "24h"}


class Installation:
    """One policy with three destinations, in which a person has put a key."""

    def __init__(self, folder: Path, simulator: Simulator, openbao: OpenBao, mount: str, aws: Aws) -> None:
        self.folder, self.simulator, self.openbao, self.mount, self.aws = folder, simulator, openbao, mount, aws
        self.first = simulator.create_key_by_hand(PROJECT, "by hand")
        text = self.first.secret.reveal()
        self.dotenv = folder / "app" / ".env"
        self.dotenv.parent.mkdir()
        self.dotenv.write_text(f"# read by the app\nMODEL=demo\n{FIELD}={text}\nLAST=line\n")
        openbao.put(mount, "apps/chat", {FIELD: text, "other": "kept"})
        self.secret_id = aws.new_secret({FIELD: text, "other": "kept"})
        role = openbao.approle(LEAST_POLICY.format(mount=mount, path="apps/chat"))
        self.credentials: dict[str, SecretValue] = {
            "MANAGEMENT_KEY": simulator.management_key,
            "ROLE_ID": role.role_id,
            "SECRET_ID": role.secret_id,
        }
        self.auth: dict[str, Any] = {
            "method": "approle",
            "role_id": {"env": "ROLE_ID"},
            "secret_id": {"env": "SECRET_ID"},
        }

    def rotator(self, times: dict[str, str], *, level: str = "info") -> Rotator:
        environ = {name: value.reveal() for name, value in self.credentials.items()}
        return Rotator(self.folder, self.document(times, level), {**CREDENTIALS, **environ})

    def document(self, times: dict[str, str], level: str) -> dict[str, Any]:
        return {
            "version": 1,
            "instance": "test",
            "state": {"url": f"sqlite:///{self.folder}/state/state.db"},
            "log": {"level": level, "format": "json"},
            "providers": {
                "together": {
                    "type": "together",
                    "base_url": self.simulator.base_url,
                    "management_key": {"env": "MANAGEMENT_KEY"},
                }
            },
            "backends": {
                "vault": {"type": "vault", "url": self.openbao.url, "auth": self.auth},
                "aws": {"type": "aws-secrets-manager", "region": self.aws.region, "endpoint_url": self.aws.url},
            },
            "policies": [
                {
                    "name": "chat",
                    "provider": "together",
                    "project": PROJECT,
                    **times,
                    "destinations": [
                        {"backend": "dotenv", "path": "app/.env", "field": FIELD},
                        {"backend": "vault", "mount": self.mount, "path": "apps/chat", "field": FIELD},
                        {"backend": "aws", "secret_id": self.secret_id, "field": FIELD},
                    ],
                }
            ],
        }

    def live(self) -> list[str]:
        """The ids of the project's live keys, oldest first."""
        return [key["id"] for key in self.simulator.keys(project=PROJECT, state="live")]

    def held(self) -> list[str]:
        """What the three destinations hold."""
        line = next(line for line in self.dotenv.read_text().splitlines() if line.startswith(f"{FIELD}="))
        return [
            line.partition("=")[2],
            self.openbao.get(self.mount, "apps/chat")[FIELD],
            json.loads(self.aws.get(self.secret_id))[FIELD],
        ]


@pytest.fixture
def installation(tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws) -> Installation:
    return Installation(tmp_path, simulator, openbao, kv_mount, aws)


def until(condition: Callable[[], bool], act: Callable[[], object] = lambda: None, *, seconds: float = 40) -> None:
    """Until the condition holds; ``act`` again and again meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it did not get there in time")
        act()
        time.sleep(0.05)
