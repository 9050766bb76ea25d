"""The stage of a soak: real parts, many policies in many places, and a wire that notes every secret that goes by."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from rotator.domain.secret import SecretValue
from tests.backends.conftest import LEAST_POLICY
from tests.backends.proxy import Answer, Proxy, Request, Upstream
from tests.parts.aws import CREDENTIALS, Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator
from tests.parts.simulator import ORGANIZATION, Simulator

FIELD = "TOGETHER_API_KEY"
INSTANCE = "soak"
VERSIONS_KEPT = 1000  # of each OpenBao secret, so that its whole history can be looked at afterwards
GRACE = 6.0  # seconds
TIMEOUT = 2  # seconds, of a request to the provider

RESTLESS = {"lifetime": "168s", "renew_before": "160s", "check_every": "6s", "settle": "3s", "grace": f"{GRACE:g}s"}
"""A key is replaced after eight seconds, and would live for another 160: no failure of half a minute ends it."""

CALM = {**RESTLESS, "lifetime": "6h", "renew_before": "3h"}
"""One last rotation of every policy, then nothing for the rest of the run."""

_LAYOUTS = (
    ("dotenv",),
    ("openbao",),
    ("dotenv", "openbao"),
    ("openbao", "aws"),
    ("openbao", "openbao"),
    ("dotenv", "dotenv"),
    ("dotenv", "openbao", "aws"),
    ("openbao", "dotenv"),
)
_POLICIES_IN_A_PROJECT = 5
_KEY = re.compile(rb"tgp_v1_[\w-]+")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One destination, as a consumer finds it.

    :param where: a file, a path in the mount, or a secret's name.
    :param name: as the journal calls it.
    """

    policy: str
    kind: str
    where: str
    name: str


class Wire:
    """Notes the secrets that go by, and which key each is."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.key_ids: dict[str, str] = {}  # by fingerprint
        self._lock = threading.Lock()
        self._silences: list[Callable[[], object]] = []

    def silence_once(self, struck: Callable[[], object]) -> None:
        """The next change at the provider is carried out, and its answer never comes; ``struck`` is called then."""
        with self._lock:
            self._silences.append(struck)

    def forget_silences(self) -> None:
        """What did not strike yet never will."""
        with self._lock:
            self._silences.clear()

    def provider(self, request: Request, upstream: Upstream) -> Answer | None:
        """Between rotator and simulator. A broken connection breaks for the rotator too."""
        try:
            answer = upstream(request.body)
        except http.client.IncompleteRead as error:
            self.secrets.update(key.decode() for key in _KEY.findall(error.partial))
            return Answer(201 if request.method == "POST" else 200, error.partial)
        except (http.client.HTTPException, OSError):
            return None
        if request.method == "POST" and answer.status == 201:
            made = json.loads(answer.body)
            self.note(made["id"], made["key"])
        with self._lock:
            silenced = self._silences.pop() if self._silences and request.method != "GET" else None
        if silenced:
            silenced()
            time.sleep(TIMEOUT + 1)
        return None if silenced else answer

    def openbao(self, request: Request, upstream: Upstream) -> Answer | None:
        """Between rotator and OpenBao."""
        try:
            answer = upstream(request.body)
        except (http.client.HTTPException, OSError):
            return None
        if request.path.endswith("/login") and answer.status == 200:
            self.secrets.add(json.loads(answer.body)["auth"]["client_token"])
        return answer

    def note(self, key_id: str, secret: str) -> None:
        self.secrets.add(secret)
        self.key_ids[SecretValue(secret).fingerprint()] = key_id


class Stage:
    """Policies whose keys a person made, and everything that a rotator of them needs."""

    def __init__(self, folder: Path, simulator: Simulator, openbao: OpenBao, aws: Aws, size: int) -> None:
        self.folder, self.simulator, self.openbao, self.aws = folder, simulator, openbao, aws
        self.state = folder / "rotator" / "state.db"
        self.state.parent.mkdir()
        (folder / "places").mkdir()
        self.wire = Wire()
        self.provider = Proxy(simulator.base_url, self.wire.provider)
        self.vault = Proxy(openbao.url, self.wire.openbao)
        self.mount = openbao.new_mount()
        openbao.root.secrets.kv.v2.configure(max_versions=VERSIONS_KEPT, mount_point=self.mount)
        self.projects = [
            simulator.create_project(f"Project {number}", organization=ORGANIZATION)
            for number in range(-(-size // _POLICIES_IN_A_PROJECT))
        ]
        self.policies = {f"policy-{number}": self.projects[number // _POLICIES_IN_A_PROJECT] for number in range(size)}
        self.places: list[Place] = []
        for number, policy in enumerate(self.policies):
            self._furnish(policy, number)
        self._credentials = self._log_in()

    @property
    def users(self) -> dict[str, list[str]]:
        """The policies that use a backend, by its kind."""
        return {
            kind: sorted({place.policy for place in self.places if place.kind == kind})
            for kind in {place.kind for place in self.places}
        }

    def _furnish(self, policy: str, number: int) -> None:
        """A person's key in every place of the policy; most of them end soon, so that each is replaced at once."""
        lifetime = timedelta(seconds=160 + 5 + number % 8) if number % 6 else timedelta(hours=2)
        ends = datetime.now(UTC) + lifetime
        key = self.simulator.create_key_by_hand(self.policies[policy], "made by hand", expires_at=ends)
        secret = key.secret.reveal()
        self.wire.note(key.key_id, secret)
        for which, kind in enumerate(_LAYOUTS[number % len(_LAYOUTS)]):
            where = f"{policy}-{which}"
            if kind == "dotenv":
                file = self.folder / "places" / where / ".env"
                file.parent.mkdir()
                file.write_text(f"# read by the application\nMODEL=demo\n{FIELD}={secret}\n")
                file.chmod(0o600)
                place = Place(policy=policy, kind=kind, where=str(file), name=f"dotenv:{file}#{FIELD}")
            elif kind == "openbao":
                self.openbao.put(self.mount, where, {FIELD: secret, "other": "kept"})
                place = Place(policy=policy, kind=kind, where=where, name=f"openbao:{self.mount}/{where}#{FIELD}")
            else:
                name = self.aws.new_secret({FIELD: secret, "other": "kept"})
                place = Place(policy=policy, kind=kind, where=name, name=f"aws:{name}#{FIELD}")
            self.places.append(place)

    def _log_in(self) -> dict[str, str]:
        role = self.openbao.approle(LEAST_POLICY.format(mount=self.mount, path="*"))
        own = {
            "MANAGEMENT_KEY": self.simulator.management_key.reveal(),
            "ROLE_ID": role.role_id.reveal(),
            "SECRET_ID": role.secret_id.reveal(),
        }
        self.wire.secrets |= {own["MANAGEMENT_KEY"], own["SECRET_ID"], self.openbao.token.reveal()}
        return {**CREDENTIALS, **own, "PYTHONFAULTHANDLER": "1"}

    def rotator(self, times: dict[str, str], *, lease: str = "5m") -> Rotator:
        """An installation with these times; all of them share a journal."""
        return Rotator(self.state.parent, self._document(times, lease), self._credentials)

    def _document(self, times: dict[str, str], lease: str) -> dict[str, Any]:
        auth = {"method": "approle", "role_id": {"env": "ROLE_ID"}, "secret_id": {"env": "SECRET_ID"}}
        return {
            "version": 1,
            "instance": INSTANCE,
            "state": {"url": f"sqlite:///{self.state}"},
            "log": {"level": "debug", "format": "json"},
            "service": {"max_rotations_per_run": 1_000_000, "lease": lease},
            "defaults": times,
            "providers": {
                "together": {
                    "type": "together",
                    "base_url": self.provider.url,
                    "management_key": {"env": "MANAGEMENT_KEY"},
                    "timeout": f"{TIMEOUT}s",
                }
            },
            "backends": {
                "openbao": {"type": "vault", "url": self.vault.url, "auth": auth, "timeout": "5s"},
                "aws": {"type": "aws-secrets-manager", "region": self.aws.region, "endpoint_url": self.aws.url},
            },
            "policies": [
                {
                    "name": policy,
                    "provider": "together",
                    "project": project,
                    "destinations": [self._written(place) for place in self.places if place.policy == policy],
                }
                for policy, project in self.policies.items()
            ],
        }

    def _written(self, place: Place) -> dict[str, str]:
        match place.kind:
            case "dotenv":
                return {"backend": "dotenv", "path": place.where, "field": FIELD}
            case "openbao":
                return {"backend": "openbao", "mount": self.mount, "path": place.where, "field": FIELD}
            case _:
                return {"backend": "aws", "secret_id": place.where, "field": FIELD}

    def read(self, place: Place) -> dict[str, Any]:
        """Everything that a place holds now."""
        match place.kind:
            case "dotenv":
                return dict(dotenv_values(place.where))
            case "openbao":
                return self.openbao.get(self.mount, place.where)
            case _:
                return dict(json.loads(self.aws.get(place.where)))

    def keys(self) -> list[dict[str, Any]]:
        """Every key of the projects that ever was."""
        return [key for key in self.simulator.keys() if key["project_id"] in self.projects]


@contextmanager
def stage(size: int, folder: Path) -> Iterator[Stage]:
    """Start every part; stop them all at the end, whatever happened."""
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator(log=folder / "simulator.log"))
        openbao = stack.enter_context(OpenBao())
        aws = stack.enter_context(Aws())
        made = Stage(folder, simulator, openbao, aws, size)
        stack.enter_context(made.provider)
        stack.enter_context(made.vault)
        yield made
