"""Every fault at every backend, as far as it applies: ``python -m tests.backends`` prints the table."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from rotator.adapters.backends.aws_secrets_manager import AwsSecretsManagerBackend
from rotator.adapters.backends.dotenv import DotenvBackend
from rotator.adapters.backends.vault import VaultBackend
from rotator.testing.backends import BackendCase
from rotator.testing.faults import FaultContract
from tests.backends.causes_aws import AWS, AwsCase
from tests.backends.causes_local import FAKE, FILES, NOBODY, ROOT, FileCase
from tests.backends.causes_openbao import OPENBAO, VaultCase, with_rights
from tests.backends.conftest import a_destination, fake_case, void
from tests.backends.proxy import Proxy
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao


class TestFake(FaultContract):
    causes = FAKE

    @pytest.fixture
    def case(self) -> BackendCase:
        return fake_case()


class TestDotenv(FaultContract):
    causes = FILES

    @pytest.fixture
    def case(self) -> Iterator[FileCase]:
        with tempfile.TemporaryDirectory() as folder:  # which every user can reach, unlike pytest's
            Path(folder).chmod(0o755)
            path = Path(folder) / "app" / ".env"
            path.parent.mkdir()
            path.parent.chmod(0o777)

            def other(field: str) -> str | None:
                return dotenv_values(path, interpolate=False).get(field)

            def put(field: str, text: str) -> None:
                path.write_text(f"{field}={text}\n")
                path.chmod(0o600)
                if ROOT:
                    os.chown(path, NOBODY, NOBODY)

            yield FileCase(
                DotenvBackend(),
                lambda field: a_destination("dotenv", path=str(path), field=field),
                put,
                other,
                path=path,
            )


class TestOpenBao(FaultContract):
    causes = OPENBAO

    @pytest.fixture
    def case(self, openbao: OpenBao, kv_mount: str) -> Iterator[VaultCase]:
        def other(field: str) -> str | None:
            return openbao.get(kv_mount, "app").get(field)

        with Proxy(openbao.url) as proxy:
            backend = VaultBackend(url=proxy.url, auth=with_rights(openbao, kv_mount))
            yield VaultCase(
                backend,
                lambda field: a_destination("vault", mount=kv_mount, path="app", field=field),
                lambda field, text: void(openbao.put(kv_mount, "app", {field: text})),
                other,
                proxy=proxy,
                server=openbao,
                mount=kv_mount,
            )
            backend.close()


class TestAws(FaultContract):
    causes = AWS

    @pytest.fixture
    def case(self, aws: Aws) -> Iterator[AwsCase]:
        secret_id = aws.new_secret()
        backend = AwsSecretsManagerBackend(region=aws.region, endpoint_url=aws.url)

        def put(field: str, text: str) -> None:
            aws.root.put_secret_value(SecretId=secret_id, SecretString=json.dumps({field: text}))

        yield AwsCase(
            backend,
            lambda field: a_destination("aws", secret_id=secret_id, field=field),
            put,
            lambda field: json.loads(aws.get(secret_id)).get(field),
            endpoint=aws,
            secret_id=secret_id,
        )
        backend.close()
