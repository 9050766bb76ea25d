"""The simulator as a process of its own, for tests, demo and bench."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from rotator.domain.secret import SecretValue

ORGANIZATION = "org_acme"
PROJECT = "proj_chat"
OTHER_PROJECT = "proj_batch"
FOREIGN_PROJECT = "proj_globex"

_READY_WITHIN = 20.0  # seconds; a busy machine starts Python slowly

DEFAULT_SEED: Mapping[str, object] = {
    "organizations": [
        {
            "id": ORGANIZATION,
            "name": "Acme",
            "users": [{"id": "user_ada", "name": "Ada"}],
            "management_keys": [
                {"id": "key_management", "name": "rotator"},
                {"id": "key_auditor", "name": "auditor", "read_only": True},
            ],
            "legacy_key": {},
            "projects": [{"id": PROJECT, "name": "Chat"}, {"id": OTHER_PROJECT, "name": "Batch"}],
        },
        {
            "id": "org_globex",
            "name": "Globex",
            "billing_usage": False,
            "projects": [{"id": FOREIGN_PROJECT, "name": "Globex"}],
        },
    ]
}
"""Two organisations: ``org_acme`` with two projects, a legacy key and two management keys; and a stranger."""


@dataclass(frozen=True)
class HandMadeKey:
    """A key that a person made in the console."""

    key_id: str
    secret: SecretValue = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class SeenRequest:
    """One request of the trail (``rotator.simulator.trail``), times as ``datetime``."""

    n: int
    at: datetime
    method: str
    template: str
    project_id: str | None
    key_id: str | None
    credential: str | None
    effect: str | None
    done_at: datetime | None
    status: int | None


class Simulator:
    """A running ``python -m rotator.simulator``, and its control API.

    Use as a context manager; entering starts the process and plants ``seed``, leaving stops it.

    :param log: a file for its errors; without one they go where ours go. The server tells of each broken connection.
    """

    def __init__(self, seed: Mapping[str, object] = DEFAULT_SEED, *, log: Path | None = None) -> None:
        self._seed = seed
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._control = httpx.Client(timeout=30.0, trust_env=False)
        self._secrets: dict[str, SecretValue] = {}
        self.base_url = ""

    def __enter__(self) -> Self:
        try:
            self.start()
            self.reset()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    # --- the process --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process and wait until it answers; ``RuntimeError`` when it does not."""
        command = [sys.executable, "-m", "rotator.simulator", "--port", "0"]
        with contextlib.ExitStack() as stack:
            errors = stack.enter_context(self._log.open("ab")) if self._log else None
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=errors)
        self.base_url = self._first_line().strip()
        if not self.base_url.startswith("http://"):
            raise RuntimeError(
                f"the simulator did not start (exit status {self._process.poll()}); see its errors above"
            )

    def _first_line(self) -> str:
        process = self.process
        assert process.stdout is not None
        deadline, line = time.monotonic() + _READY_WITHIN, b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise RuntimeError(f"the simulator did not say within {_READY_WITHIN:g} s where it listens")
            part = os.read(process.stdout.fileno(), 1)
            if not part:
                process.wait(timeout=5)
                break
            line += part
        return line.decode()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, while it runs."""
        if self._process is None:
            raise RuntimeError("the simulator is not started")
        return self._process

    def stop(self) -> int | None:
        """Stop the process, if it runs; returns its exit status."""
        self._control.close()
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.terminate()
        try:
            status = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        with contextlib.suppress(OSError):
            if process.stdout is not None:
                process.stdout.close()
        return status

    # --- the platform -----------------------------------------------------------------------------------------

    def reset(self, seed: Mapping[str, object] | None = None) -> dict[str, SecretValue]:
        """Forget everything and plant a seed (the one of the constructor); returns secrets by key id."""
        self._secrets.clear()
        return self._plant("reset", self._seed if seed is None else seed)

    def seed(self, seed: Mapping[str, object]) -> dict[str, SecretValue]:
        """Plant a seed beside what is there; returns secrets by key id."""
        return self._plant("seed", seed)

    def _plant(self, path: str, seed: Mapping[str, object]) -> dict[str, SecretValue]:
        answer = self._call("POST", path, seed)
        secrets = {key_id: SecretValue(text) for key_id, text in answer["secrets"].items()}
        self._secrets |= secrets
        return secrets

    def secret(self, key_id: str) -> SecretValue:
        """The secret of a key that the last seed planted: ``key_management``, ``key_auditor``, ..."""
        return self._secrets[key_id]

    @property
    def management_key(self) -> SecretValue:
        """The management key of the default seed."""
        return self.secret("key_management")

    def create_organization(self, name: str, *, id_: str = "", billing_usage: bool = True) -> str:
        """Returns the id."""
        answer = self._call("POST", "organizations", {"name": name, "id": id_, "billing_usage": billing_usage})
        return str(answer["id"])

    def create_project(self, name: str, *, organization: str = ORGANIZATION, id_: str = "") -> str:
        """Returns the id."""
        return str(self._call("POST", "projects", {"organization_id": organization, "name": name, "id": id_})["id"])

    def create_user(self, name: str, *, organization: str = ORGANIZATION, id_: str = "") -> str:
        """Returns the id."""
        return str(self._call("POST", "users", {"organization_id": organization, "name": name, "id": id_})["id"])

    def remove_user(self, user_id: str) -> None:
        """The person leaves the organisation."""
        self._call("DELETE", f"users/{user_id}")

    def create_key_by_hand(
        self, project: str = PROJECT, name: str = "by hand", *, expires_at: datetime | None = None, **more: object
    ) -> HandMadeKey:
        """A person makes a key in the console (``more``: what ``POST /_simulator/keys`` takes besides)."""
        body = {"project_id": project, "name": name, "expires_at": expires_at and expires_at.isoformat(), **more}
        answer = self._call("POST", "keys", body)
        return HandMadeKey(answer["id"], SecretValue(answer["key"]))

    def create_default_project_key(self, organization: str = ORGANIZATION) -> HandMadeKey:
        """A key from before there were projects."""
        answer = self._call("POST", "keys", {"organization_id": organization, "name": "from before"})
        return HandMadeKey(answer["id"], SecretValue(answer["key"]))

    def create_management_key(self, organization: str, *, read_only: bool = False) -> SecretValue:
        """Another management key."""
        body = {"organization_id": organization, "name": "management", "kind": "management_key", "read_only": read_only}
        return SecretValue(self._call("POST", "keys", body)["key"])

    def create_session(self, user_id: str, organization: str = ORGANIZATION) -> SecretValue:
        """A person's session (``user_jwt``): a credential that is no API key."""
        body = {"organization_id": organization, "name": "session", "kind": "user_jwt", "created_by": user_id}
        return SecretValue(self._call("POST", "keys", body)["key"])

    def revoke_by_hand(self, key_id: str) -> None:
        """A person revokes a key in the console."""
        self._call("DELETE", f"keys/{key_id}")

    def expire(self, key_id: str) -> None:
        """A key's expiration date comes now."""
        self._call("POST", f"keys/{key_id}/expire")

    def regenerate_legacy_key(self, organization: str = ORGANIZATION) -> HandMadeKey:
        """The owner regenerates the legacy organisation key (or gets one)."""
        answer = self._call("POST", f"organizations/{organization}/legacy-key")
        return HandMadeKey(answer["id"], SecretValue(answer["key"]))

    def settings(self, **seconds: float) -> None:
        """``accept_after``, ``refuse_after``, ``list_after``, ``date_skew``."""
        self._call("PATCH", "settings", seconds)

    def advance(self, seconds: float) -> datetime:
        """Let time pass on the platform (less than 0: its clock is turned back); returns its time."""
        return datetime.fromisoformat(self._call("POST", "clock", {"advance": seconds})["now"])

    def chat(self, secret: SecretValue) -> int:
        """A consumer's call with that key; returns the status."""
        body = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"Authorization": f"Bearer {secret.reveal()}"}
        return self._control.post(f"{self.base_url}/v1/chat/completions", json=body, headers=headers).status_code

    # --- what happened, and what shall go wrong ---------------------------------------------------------------

    def fault(self, effect: str, *, method: str = "", path: str = "", **more: object) -> None:
        """One rule: requests of ``method`` whose path matches ``path`` go wrong (``more``: skip, times, ...)."""
        self.faults([{"match": {"method": method, "path_regex": path}, "effect": effect, **more}])

    def faults(self, rules: Sequence[Mapping[str, object]]) -> None:
        """Add rules, as ``rotator.simulator.plan`` documents them."""
        self._call("POST", "faults", rules)

    def plan(self, plan: Mapping[str, object]) -> None:
        """Add a whole plan, random rules with it: ``{"seed": 7, "rules": [...], "random": [...]}``."""
        self._call("POST", "faults", plan)

    def chance(self, seed: int, effect: str, probability: float, **more: object) -> None:
        """One random rule: a request that matches goes wrong with this probability (``more``: match, delay, ...)."""
        self.plan({"seed": seed, "random": [{"effect": effect, "probability": probability, **more}]})

    def refuse_all_keys(self, seconds: float | None = None, *, path: str = "") -> None:
        """An outage in which the platform refuses good keys, until it is over or the faults are cleared."""
        self.fault("refuse_keys", path=path, times=None, lasts=seconds)

    def fault_report(self) -> list[dict[str, Any]]:
        """How often each rule matched and fired; random rules last."""
        return list(self._call("GET", "faults"))

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self._call("DELETE", "faults")

    def state(self) -> dict[str, Any]:
        """Keys, projects, users, and the platform's time; no secrets."""
        return dict(self._call("GET", "state"))

    def keys(self, *, project: str | None = None, state: str | None = None) -> list[dict[str, Any]]:
        """The keys of the state dump, of one project and in one state (``live``, ``expired``, ``revoked``)."""
        return [
            key
            for key in self.state()["keys"]
            if project in (None, key["project_id"]) and state in (None, key["state"])
        ]

    def key(self, key_id: str) -> dict[str, Any]:
        """One key of the state dump."""
        return next(key for key in self.keys() if key["id"] == key_id)

    def counters(self) -> dict[str, Any]:
        """``requests``, ``answers``, ``changing_requests``, ``chat_calls``, ``refused_chat_calls``."""
        return dict(self._call("GET", "counters"))

    def clear_counters(self) -> None:
        """Count from zero."""
        self._call("DELETE", "counters")

    def requests(self, *, method: str | None = None, key_id: str | None = None, after: int = 0) -> list[SeenRequest]:
        """The trail of the last 20,000 requests, oldest first: of one method, to one key's path, after number N."""
        seen = [_seen(step) for step in self._call("GET", f"requests?after={after}")]
        return [step for step in seen if method in (None, step.method) and key_id in (None, step.key_id)]

    def revocations(self, *, after: int = 0) -> list[SeenRequest]:
        """Every DELETE that reached the platform, whatever it answered."""
        return [step for step in self.requests(method="DELETE", after=after) if step.done_at is not None]

    def clear_requests(self) -> None:
        """Begin a new trail."""
        self._call("DELETE", "requests")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        answer = self._control.request(method, f"{self.base_url}/_simulator/{path}", json=body)
        if answer.is_error:
            raise RuntimeError(f"{method} /_simulator/{path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None


def _seen(step: Mapping[str, Any]) -> SeenRequest:
    times = {name: step[name] and datetime.fromisoformat(step[name]) for name in ("at", "done_at")}
    return SeenRequest(**{**step, **times})


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_process: Simulator) -> Simulator:
    simulator_process.reset()
    return simulator_process
