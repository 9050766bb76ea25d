"""The real parts that stay up for many runs: a simulator, an OpenBao, an AWS endpoint, a nursery of processes."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import tempfile
import uuid
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.backends.proxy import Answer, Proxy, Request, Upstream
from tests.faults.gate import Gate
from tests.faults.nursery import Nursery
from tests.faults.points import Point
from tests.parts.aws import REGION, Aws
from tests.parts.openbao import OpenBao
from tests.parts.simulator import Simulator

_MEMORY = Path("/dev", "shm")
_POLICY = """
path "kv/data/apps/+"     { capabilities = ["create", "read", "update"] }
path "kv/metadata/apps/+" { capabilities = ["patch"] }
"""


class _GatedAws(Aws):
    """The strict endpoint, whose requests go by the gate first."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def _as_strict_as_aws(self, request: Request, upstream: Upstream) -> Answer | None:
        strict = super()._as_strict_as_aws
        return self._gate.through("aws", request, lambda _body: strict(request, upstream))


class Stage:
    """A context manager around everything that is slow to start.

    :ivar calm: the points of a rotation without faults, by the place that is written first; as they are found out.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.is_warm = False
        self.calm: dict[str, list[Point]] = {}
        self.gate = Gate()
        self.openbao = OpenBao()
        self.simulator = Simulator()
        self.aws = _GatedAws(self.gate)

    def __enter__(self) -> Self:
        with self._stack as stack:
            # In memory where there is such a place: a killed process loses no page of the kernel's, on disk or not.
            memory = str(_MEMORY) if os.access(_MEMORY, os.W_OK) else None
            folder = tempfile.TemporaryDirectory(prefix="rotator-faults-", dir=memory)
            self.folder = Path(stack.enter_context(folder)).resolve()
            self.aws_key = secrets.token_urlsafe(30)
            credentials = {
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": self.aws_key,
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            }
            self.nursery = stack.enter_context(Nursery(credentials))
            stack.enter_context(self.openbao)
            stack.enter_context(self.simulator)
            stack.enter_context(self.aws)
            by_gate = partial(partial, self.gate.through)
            self.together_url = stack.enter_context(Proxy(self.simulator.base_url, by_gate("together"))).url
            self.openbao_url = stack.enter_context(Proxy(self.openbao.url, by_gate("openbao"))).url
            self.openbao.root.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
            self.openbao._wait_for_kv2("kv")
            role = self.openbao.approle(_POLICY)
            self.role = {"ROLE_ID": role.role_id.reveal(), "SECRET_ID": role.secret_id.reveal()}
            self.consumer = stack.enter_context(httpx.Client(base_url=self.simulator.base_url, trust_env=False))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def new_aws_secret(self, content: dict[str, str]) -> str:
        """Returns its name."""
        name = f"test/{uuid.uuid4().hex[:12]}"
        self._ask_aws("CreateSecret", Name=name, SecretString=json.dumps(content), ClientRequestToken=str(uuid.uuid4()))
        return name

    def aws_content(self, name: str) -> dict[str, Any]:
        """The object under ``AWSCURRENT``; empty where no version has the label."""
        answer = self._ask_aws("GetSecretValue", SecretId=name, VersionStage="AWSCURRENT")
        return json.loads(answer.get("SecretString", "{}"))

    def _ask_aws(self, action: str, **body: str) -> dict[str, Any]:
        """Straight to the server, by no gate; it checks no signature."""
        connection = http.client.HTTPConnection(self.aws.proxy._host, timeout=20)
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"secretsmanager.{action}",
            "Authorization": f"AWS4-HMAC-SHA256 Credential=testing/20260101/{REGION}/secretsmanager/aws4_request, "
            "SignedHeaders=host, Signature=0",
        }
        try:
            connection.request("POST", "/", json.dumps(body), headers)
            answer = connection.getresponse()
            payload = json.loads(answer.read())
            assert answer.status in {200, 404}, f"{action}: {answer.status}"
            return payload if answer.status == 200 else {}
        finally:
            connection.close()
