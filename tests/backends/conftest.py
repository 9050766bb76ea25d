"""What the tests of the backends share: metadata, and each backend with a place of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stamina
from dotenv import dotenv_values

from rotator.adapters.backends.aws_secrets_manager import AwsSecretsManagerBackend
from rotator.adapters.backends.dotenv import DotenvBackend
from rotator.adapters.backends.vault import AppRoleAuth, VaultBackend
from rotator.clock import SystemClock
from rotator.domain.model import Destination
from rotator.service.guard import GuardedBackend, Limits
from rotator.testing.backends import BackendCase, some_metadata
from tests.fakes.backend import FakeBackend
from tests.parts.aws import AwsEndpoint
from tests.parts.openbao import OpenBao

__all__ = ["LEAST_POLICY", "BackendCase", "a_destination", "some_metadata"]

PATCH_POLICY = """
path "{mount}/data/{path}"     {{ capabilities = ["create", "patch", "read", "update"] }}
path "{mount}/metadata/{path}" {{ capabilities = ["patch"] }}
"""
KV1_POLICY = 'path "{mount}/{path}" {{ capabilities = ["create", "read", "update"] }}'
INBOX_POLICY = """
path "{mount}/data/{path}"    {{ capabilities = ["read"] }}
path "{mount}/destroy/{path}" {{ capabilities = ["update"] }}
"""
KV1_INBOX_POLICY = 'path "{mount}/{path}" {{ capabilities = ["read", "delete"] }}'
# Enough as well: without "patch", a write reads the secret and sends it back as a whole.
LEAST_POLICY = """
path "{mount}/data/{path}"     {{ capabilities = ["create", "read", "update"] }}
path "{mount}/metadata/{path}" {{ capabilities = ["patch"] }}
"""


def a_destination(name: str, **options: str) -> Destination:
    return Destination(name, f"{name}:{'/'.join(options.values())}", tuple(options.items()))


def fake_case() -> BackendCase:
    backend = FakeBackend()

    def at(field: str) -> Destination:
        return a_destination("fake", path="place", field=field)

    def other(field: str) -> str | None:
        value = backend.read(at(field)).value
        return value.reveal() if value else None

    return BackendCase(backend, at, lambda field, text: backend.put_by_hand(at(field), text), other)


def _dotenv(folder: Path) -> BackendCase:
    path = folder / ".env"

    def lines() -> dict[str, str | None]:
        return dict(dotenv_values(path, interpolate=False)) if path.exists() else {}

    def put(field: str, text: str) -> None:
        path.write_text("".join(f"{name}='{value}'\n" for name, value in {**lines(), field: text}.items()))

    return BackendCase(
        DotenvBackend(),
        lambda field: a_destination("dotenv", path=str(path), field=field),
        put,
        lambda field: lines().get(field),
        keeps_previous=False,
        one_version_for_all_fields=False,
    )


def _vault(server: OpenBao, mount: str, policy: str) -> BackendCase:
    role = server.approle(policy.format(mount=mount, path="app"))
    backend = VaultBackend(url=server.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))

    def fields() -> dict[str, Any]:
        return server.get(mount, "app") if "app" in _names(server, mount) else {}

    return BackendCase(
        backend,
        lambda field: a_destination("vault", mount=mount, path="app", field=field),
        lambda field, text: void(server.put(mount, "app", {**fields(), field: text})),
        lambda field: fields().get(field),
    )


def _kv1(server: OpenBao, mount: str, policy: str = KV1_POLICY) -> BackendCase:
    role = server.approle(policy.format(mount=mount, path="app"))
    kv = server.root.secrets.kv.v1

    def fields() -> dict[str, Any]:
        keys = (server.root.list(mount) or {"data": {"keys": []}})["data"]["keys"]
        return dict(kv.read_secret("app", mount_point=mount)["data"]) if "app" in keys else {}

    return BackendCase(
        VaultBackend(url=server.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id)),
        lambda field: a_destination("vault", mount=mount, path="app", field=field),
        lambda field, text: void(kv.create_or_update_secret("app", {**fields(), field: text}, mount_point=mount)),
        lambda field: fields().get(field),
        keeps_previous=False,
        keeps_metadata=False,
        one_version_for_all_fields=False,
    )


def _names(server: OpenBao, mount: str) -> list[str]:
    answer = server.root.list(f"{mount}/metadata")
    return list(answer["data"]["keys"]) if answer else []


def _aws(endpoint: AwsEndpoint) -> BackendCase:
    secret_id = endpoint.new_secret()
    backend = AwsSecretsManagerBackend(region=endpoint.region, endpoint_url=endpoint.url)

    def fields() -> dict[str, Any]:
        stages = endpoint.root.describe_secret(SecretId=secret_id).get("VersionIdsToStages") or {}
        return dict(json.loads(endpoint.get(secret_id))) if stages else {}

    def put(field: str, text: str) -> None:
        endpoint.root.put_secret_value(SecretId=secret_id, SecretString=json.dumps({**fields(), field: text}))

    return BackendCase(
        backend,
        lambda field: a_destination("aws", secret_id=secret_id, field=field),
        put,
        lambda field: fields().get(field),
    )


def void(_result: object) -> None:
    """For a call whose result nobody needs."""


KINDS = ("fake", "dotenv", "openbao", "openbao with patch", "openbao kv 1", "aws", "strict aws")
KINDS_OF_INBOX = ("fake", "guarded fake", "openbao inbox", "openbao kv 1 inbox", "aws")
KINDS_WITH_LAYOUT = (*KINDS, "guarded fake")


@pytest.fixture(params=[*KINDS, "guarded fake", "guarded openbao"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackendCase]:
    match request.param.removeprefix("guarded "):
        case "fake":
            made = fake_case()
        case "dotenv":
            made = _dotenv(tmp_path)
        case "openbao":
            made = _vault(request.getfixturevalue("openbao"), request.getfixturevalue("kv_mount"), LEAST_POLICY)
        case "openbao with patch":
            made = _vault(request.getfixturevalue("openbao"), request.getfixturevalue("kv_mount"), PATCH_POLICY)
        case "openbao inbox":
            made = _vault(request.getfixturevalue("openbao"), request.getfixturevalue("kv_mount"), INBOX_POLICY)
        case "openbao kv 1 inbox":
            made = _kv1(request.getfixturevalue("openbao"), request.getfixturevalue("kv1_mount"), KV1_INBOX_POLICY)
        case "openbao kv 1":
            made = _kv1(request.getfixturevalue("openbao"), request.getfixturevalue("kv1_mount"))
        case "aws":
            made = _aws(request.getfixturevalue("aws"))
        case _:
            made = _aws(request.getfixturevalue("strict_aws"))
    yield _guarded(made) if request.param.startswith("guarded") else made
    made.backend.close()


def _guarded(case: BackendCase) -> BackendCase:
    limits = Limits(concurrency=2, rate=1000)
    return replace(case, backend=GuardedBackend(case.backend, name="guarded", clock=SystemClock(), limits=limits))


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Retries follow each other at once, as many as ever."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield
