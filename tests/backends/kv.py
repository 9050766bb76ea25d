"""What the tests of KV versions 1 and 2 share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rotator.adapters.backends.vault import AppRoleAuth, VaultBackend
from rotator.domain.layout import Layout
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from tests.backends.conftest import a_destination
from tests.parts.openbao import OpenBao

FIELD = "TOGETHER_API_KEY"
NEW = SecretValue("tgp_v1_new")
JSON = (("Content-Type", "application/json"),)


def at(mount: str, path: str = "app", *, layout: Layout | None = None, **options: str) -> Destination:
    made = a_destination("vault", mount=mount, path=path, field=FIELD, **options)
    return replace(made, layout=layout) if layout else made


def with_role(server: OpenBao, policy: str, url: str = "") -> VaultBackend:
    role = server.approle(policy)
    return VaultBackend(
        url=url or server.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id), timeout=2
    )


def put1(server: OpenBao, mount: str, fields: dict[str, Any]) -> None:
    server.root.secrets.kv.v1.create_or_update_secret("app", fields, mount_point=mount)


def get1(server: OpenBao, mount: str) -> dict[str, Any]:
    return dict(server.root.secrets.kv.v1.read_secret("app", mount_point=mount)["data"])
