"""An AWS Secrets Manager endpoint: moto in a process of its own, behind a proxy that counts and is as strict as AWS.

moto 5 differs from AWS (Secrets Manager API Reference) where the proxy puts it right:

- PutSecretValue: a ``ClientRequestToken`` never carries another content, and a secret has at most 65,536 bytes. A
  repeat with the same content does nothing; moto would label the version anew, and take ``AWSCURRENT`` from it.
- GetSecretValue without version and label means ``AWSCURRENT``; moto goes on to answer with a former version after
  UpdateSecretVersionStage.
- UpdateSecretVersionStage looks and moves in one step: changes are carried out one at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.backends.proxy import Answer, Proxy, Request, Upstream

_START_SECONDS = 60
_LARGEST = 65_536
_READING = {"GetSecretValue", "DescribeSecret", "ListSecrets", "ListSecretVersionIds", "BatchGetSecretValue"}
REGION = "eu-central-1"
ROOT = "testing"
"""An access key that may do everything."""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ROOT,
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
OTHER_CREDENTIALS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")


class AwsEndpoint:
    """What tests ask of an endpoint, whatever is behind it: a proxy that counts, and a client that may do all."""

    region = REGION

    def __init__(self) -> None:
        self._proxy: Proxy | None = None
        self._client: Any = None

    @property
    def proxy(self) -> Proxy:
        """Where requests are counted, and broken by a test that wants it."""
        if self._proxy is None:
            raise RuntimeError("the endpoint is not started")
        return self._proxy

    @property
    def url(self) -> str:
        """The endpoint for ``endpoint_url``."""
        return self.proxy.url

    @property
    def root(self) -> Any:
        """A boto3 client of Secrets Manager that may do everything."""
        if self._client is None:
            import boto3  # noqa: PLC0415 -- slow to import, and only some tests use it

            session = boto3.Session(ROOT, "testing", region_name=self.region)
            self._client = session.client("secretsmanager", endpoint_url=self.url)
        return self._client

    def new_secret(self, value: str | dict[str, Any] | None = None) -> str:
        """Create a secret as a person would; a mapping is stored as JSON. Returns its name."""
        name = f"test/{uuid.uuid4().hex[:12]}"
        content = {} if value is None else {"SecretString": value if isinstance(value, str) else json.dumps(value)}
        self.root.create_secret(Name=name, **content)
        return name

    def get(self, name: str, **which: str) -> str:
        """The text under a label or of a version; ``AWSCURRENT`` without either."""
        return str(self.root.get_secret_value(SecretId=name, **which)["SecretString"])

    def changing_requests(self) -> list[str]:
        """Every request so far that changes a secret, as ``PutSecretValue``. STS has no target, and changes none."""
        return [request.target for request in list(self.proxy.requests) if request.target not in {*_READING, ""}]


class Aws(AwsEndpoint):
    """A context manager around one endpoint. Clients need ``CREDENTIALS`` in their environment."""

    def __init__(self) -> None:
        super().__init__()
        self._command = Path(sys.executable).with_name("moto_server")
        if not self._command.exists():
            raise RuntimeError(f"moto can't start: {self._command} is missing (install the dev group: moto)")
        self._folder = tempfile.TemporaryDirectory(prefix="rotator-aws-")
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._contents: dict[tuple[str, str], tuple[str, Answer]] = {}

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with (Path(self._folder.name) / "server.log").open("wb") as log:
            # A session of its own: Ctrl-C reaches our process alone, which then ends this one in order.
            self._process = subprocess.Popen(
                [self._command, "--host", "127.0.0.1", "--port", str(port)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(port)
            self._proxy = Proxy(f"http://127.0.0.1:{port}", self._as_strict_as_aws)
            self._proxy.__enter__()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        if self._proxy is not None:
            self._proxy.__exit__(kind, error, trace)
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def _as_strict_as_aws(self, request: Request, upstream: Upstream) -> Answer:
        if request.target == "GetSecretValue":
            asked = json.loads(request.body)
            if not asked.keys() & {"VersionId", "VersionStage"}:
                asked["VersionStage"] = "AWSCURRENT"
            return upstream(json.dumps(asked).encode())
        if request.target in _READING:
            return upstream(request.body)
        with self._lock:
            if request.target != "PutSecretValue":
                return upstream(request.body)
            asked = json.loads(request.body)
            content = asked.get("SecretString", "")
            if len(content.encode()) > _LARGEST:
                return _refusal("ValidationException")
            fingerprint = hashlib.sha256(content.encode()).hexdigest()
            used = (asked["SecretId"], asked["ClientRequestToken"])
            if used in self._contents:
                carried, answer = self._contents[used]
                return answer if carried == fingerprint else _refusal("ResourceExistsException")
            answer = upstream(request.body)
            if answer.status == 200:
                self._contents[used] = (fingerprint, answer)
            return answer

    def _wait_until_ready(self, port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        log = (Path(self._folder.name) / "server.log").read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"moto can't start: {log[-1] if log else 'it said nothing'}")


def _refusal(code: str) -> Answer:
    body = json.dumps({"__type": code, "message": "refused"}).encode()
    return Answer(400, body, (("Content-Type", "application/x-amz-json-1.1"),))


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[Aws]:
    """One endpoint for all tests of a process."""
    with Aws() as endpoint:
        yield endpoint


@pytest.fixture
def aws(aws_endpoint: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The endpoint, and made-up credentials in the environment."""
    for name in OTHER_CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    for name, text in CREDENTIALS.items():
        monkeypatch.setenv(name, text)
    return aws_endpoint
