"""The real parts that stay up for many runs: a simulator, an OpenBao, an AWS endpoint, a nursery of processes."""

from __future__ import annotations

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
from tests.parts.openbao import OpenBao
from tests.parts.secrets_manager import Refused
from tests.parts.simulator import Simulator
from tests.parts.strict_aws import ACCOUNT, StrictAws

_MEMORY = Path("/dev", "shm")
_POLICY = """
path "kv/data/apps/+"     { capabilities = ["create", "read", "update"] }
path "kv/metadata/apps/+" { capabilities = ["patch"] }
"""


class _GatedAws(StrictAws):
    """The endpoint that is stricter than moto, and cheaper; its requests go by the gate first."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def _serve(self, request: Request, upstream: Upstream) -> Answer | None:
        strict = super()._serve
        return self._gate.through("aws", request, lambda _body: strict(request, upstream))

    def ask(self, action: str, **body: str) -> dict[str, Any]:
        """One request of a person's, by no gate; empty where there is no such secret or version."""
        with self._lock:
            try:
                return self.service.call(ACCOUNT, self.region, action, body)
            except Refused:
                return {}


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
        assert self.aws.ask("CreateSecret", Name=name, SecretString=json.dumps(content))
        return name

    def aws_content(self, name: str) -> dict[str, Any]:
        """The object under ``AWSCURRENT``; empty where no version has the label."""
        answer = self.aws.ask("GetSecretValue", SecretId=name, VersionStage="AWSCURRENT")
        return json.loads(answer.get("SecretString", "{}"))
