"""What the end-to-end tests share: places that hold a key, a configuration for them, and what is true at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.record import KeyState, PolicyRecord
from tests.backends.conftest import LEAST_POLICY
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.simulator import PROJECT, Simulator

FIELD = "TOGETHER_API_KEY"
NEIGHBOUR = "DATABASE_PASSWORD"
INSTANCE = "e2e"
POLICY = "chat"
PLACES = ("dotenv", "openbao", "aws")

CALM = {"lifetime": "1h", "renew_before": "30m", "grace": "2s", "settle": "1s"}
"""One rotation, when a key made by hand comes to its own end; then nothing for the rest of the test."""

_T = TypeVar("_T")


def soon(seconds: float = 0) -> datetime:
    """The end of a key that ``CALM`` renews in so many seconds."""
    return datetime.now(UTC) + timedelta(minutes=30, seconds=seconds)


def until(what: Callable[[], _T], *, seconds: float = 40, every: float = 0.1) -> _T:
    """The first result that is true; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        result = what()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what.__name__}"
        time.sleep(every)


@dataclass(kw_only=True)
class Places:
    """A dotenv file, an OpenBao secret and an AWS secret that all hold one key, beside things of other people."""

    folder: Path
    openbao: OpenBao
    mount: str
    aws: Aws
    neighbours: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(PLACES, "kept"))

    def __post_init__(self) -> None:
        self.dotenv = self.folder / "chat" / ".env"
        self.dotenv.parent.mkdir()
        self.secret_id = self.aws.new_secret({FIELD: "", NEIGHBOUR: self.neighbours["aws"]})

    def put(self, secret: str) -> None:
        """What a person does: the same key in all three."""
        self.dotenv.write_text(
            f"# the chat service reads this\n{NEIGHBOUR}={self.neighbours['dotenv']}\n{FIELD}={secret}\nMODEL=big\n"
        )
        self.dotenv.chmod(0o600)
        self.openbao.put(self.mount, "app", {FIELD: secret, NEIGHBOUR: self.neighbours["openbao"]})
        content = json.dumps({FIELD: secret, NEIGHBOUR: self.neighbours["aws"]})
        self.aws.root.put_secret_value(SecretId=self.secret_id, SecretString=content)

    def variables(self) -> dict[str, str]:
        """The dotenv file without its comments."""
        lines = self.dotenv.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def contents(self) -> dict[str, dict[str, Any]]:
        """Everything that each of the three holds."""
        return {
            "dotenv": self.variables(),
            "openbao": self.openbao.get(self.mount, "app"),
            "aws": json.loads(self.aws.get(self.secret_id)),
        }

    def held(self) -> set[str]:
        """The different keys in them."""
        return {content[FIELD] for content in self.contents().values()}

    def hints(self) -> dict[str, dict[str, str]]:
        """What each of them tells about its key, beside it."""
        marker = "# rotator: "
        comment = next(line for line in self.dotenv.read_text().splitlines() if line.startswith(marker))
        metadata = self.openbao.root.secrets.kv.v2.read_secret_metadata("app", mount_point=self.mount)["data"]
        tags = self.aws.root.describe_secret(SecretId=self.secret_id)["Tags"]
        return {
            "dotenv": json.loads(comment.removeprefix(marker)),
            "openbao": _after(f"rotator/{FIELD}/", metadata["custom_metadata"]),
            "aws": _after(f"rotator:{FIELD}:", {tag["Key"]: tag["Value"] for tag in tags}),
        }

    def destinations(self) -> list[dict[str, str]]:
        """As the configuration writes them, in the order of ``PLACES``."""
        return [
            {"backend": "dotenv", "path": str(self.dotenv), "field": FIELD},
            {"backend": "openbao", "mount": self.mount, "path": "app", "field": FIELD},
            {"backend": "aws", "secret_id": self.secret_id, "field": FIELD},
        ]

    def backends(self, *, openbao_url: str = "") -> dict[str, dict[str, Any]]:
        """With an AppRole for OpenBao; its two halves are in the environment of ``least_credentials``."""
        auth = {"method": "approle", "role_id": {"env": "ROLE_ID"}, "secret_id": {"env": "SECRET_ID"}}
        return {
            "openbao": {"type": "vault", "url": openbao_url or self.openbao.url, "auth": auth},
            "aws": {"type": "aws-secrets-manager", "region": self.aws.region, "endpoint_url": self.aws.url},
        }

    def least_credentials(self) -> dict[str, str]:
        """An AppRole that may do what the rotator needs at this one path, and nothing else."""
        role = self.openbao.approle(LEAST_POLICY.format(mount=self.mount, path="app"))
        return {"ROLE_ID": role.role_id.reveal(), "SECRET_ID": role.secret_id.reveal()}


def _after(prefix: str, pairs: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in pairs.items() if name.startswith(prefix)}


def document(
    folder: Path, base_url: str, policies: list[dict[str, Any]], backends: Mapping[str, Any] | None = None, **rest: Any
) -> dict[str, Any]:
    """A configuration with a journal in ``folder``."""
    return {
        "version": 1,
        "instance": INSTANCE,
        "state": {"url": f"sqlite:///{folder}/state.db"},
        "log": {"level": "info", "format": "json"},
        "providers": {
            "together": {"type": "together", "base_url": base_url, "management_key": {"env": "MANAGEMENT_KEY"}}
        },
        "backends": dict(backends or {}),
        "policies": policies,
        **rest,
    }


def policy(destinations: list[dict[str, str]], name: str = POLICY, **times: str) -> dict[str, Any]:
    """A policy of ``PROJECT``; its times are ``CALM`` unless told otherwise."""
    return {"name": name, "provider": "together", "project": PROJECT, **CALM, **times, "destinations": destinations}


def in_file(path: Path) -> list[dict[str, str]]:
    """The destinations of a policy that has one dotenv file only."""
    return [{"backend": "dotenv", "path": str(path), "field": FIELD}]


def credentials(simulator: Simulator) -> dict[str, str]:
    """The environment of a configuration by ``document``."""
    return {"MANAGEMENT_KEY": simulator.management_key.reveal()}


def record(folder: Path, name: str = POLICY) -> PolicyRecord:
    """What the journal in ``folder`` remembers of a policy."""
    journal = SqlJournal.open_read_only(f"sqlite:///{folder}/state.db")
    try:
        return journal.load(name)
    finally:
        journal.close()


def at_rest(folder: Path, name: str = POLICY) -> bool:
    """Nothing is left to do: one current key, no other, no rotation under way, no creation to look for."""
    remembered = record(folder, name)
    states = [key.state for key in remembered.keys]
    return states == [KeyState.CURRENT] and not remembered.in_flight and not remembered.open_intents


def ours(simulator: Simulator, state: str = "live") -> list[str]:
    """The ids of the keys that this installation created, in one state."""
    return [
        key["id"]
        for key in simulator.keys(project=PROJECT, state=state)
        if key["name"].startswith(f"rotator_{INSTANCE}_{POLICY}_")
    ]


def states(simulator: Simulator) -> dict[str, str]:
    """Key id to state, of every key that ever was."""
    return {key["id"]: key["state"] for key in simulator.keys()}
