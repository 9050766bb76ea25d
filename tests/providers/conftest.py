from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotator.adapters.providers.together import TogetherProvider
from rotator.domain.secret import SecretValue
from tests.providers.tiny import TinyServer


@pytest.fixture
def tiny() -> Iterator[TinyServer]:
    server = TinyServer()
    yield server
    server.close()


@pytest.fixture
def provider(tiny: TinyServer) -> Iterator[TogetherProvider]:
    provider = TogetherProvider(
        base_url=tiny.base_url, management_key=SecretValue("management"), timeout=2.0, attempts=2, sleep=lambda _: None
    )
    yield provider
    provider.close()
