"""What the tests of Vault's sessions share: a clock that they drive, roles on a real server, and requests by kind."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rotator.adapters.backends.vault import VaultBackend
from rotator.adapters.backends.vault_auth import Auth
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from tests.backends.conftest import a_destination
from tests.backends.proxy import Proxy, Request
from tests.parts.openbao import OpenBao

FIELD = "TOGETHER_API_KEY"
NEW = SecretValue("tgp_v1_new")
JSON = (("Content-Type", "application/json"),)
READING = """
path "{mount}/data/app" {{ capabilities = ["create", "read", "update"] }}
path "{mount}/metadata/app" {{ capabilities = ["patch"] }}
"""


@dataclass
class Hands:
    """A clock that a test moves."""

    time: datetime = field(default_factory=lambda: datetime(2026, 11, 25, 12, tzinfo=UTC))

    def now(self) -> datetime:
        return self.time

    def forward(self, **span: float) -> None:
        self.time += timedelta(**span)


def at(mount: str, path: str = "app", field: str = FIELD) -> Destination:
    """With its version of KV: these tests count the requests of a session, not the ones that find it out."""
    return a_destination("vault", mount=mount, path=path, field=field, kv_version="2")


def through(proxy: Proxy, auth: Auth, clock: Hands | None = None, **options: Any) -> VaultBackend:
    return VaultBackend(url=proxy.url, auth=auth, timeout=2, now=(clock or Hands()).now, **options)


def policy(server: OpenBao, text: str) -> str:
    name = f"policy-{uuid.uuid4().hex[:12]}"
    server.root.sys.create_or_update_policy(name, text)
    return name


def method(server: OpenBao, kind: str) -> str:
    """A fresh mount of an auth method."""
    mount = f"{kind}-{uuid.uuid4().hex[:8]}"
    server.root.sys.enable_auth_method(kind, path=mount)
    return mount


def is_login(request: Request) -> bool:
    return request.path.startswith("/v1/auth/") and "/login" in request.path


def kinds(proxy: Proxy) -> list[str]:
    """The requests so far, by what they do."""
    found = []
    for request in proxy.requests:
        last = request.path.partition("?")[0].rsplit("/", 1)[-1]
        found.append("login" if is_login(request) else "data" if "/data/" in request.path else last)
    return found


def forget(proxy: Proxy) -> None:
    proxy.requests.clear()
