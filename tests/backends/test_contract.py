"""The contract of ``rotator.ports.SecretBackend``, kept by every backend and by the fake, guarded or not."""

from __future__ import annotations

import pytest

from rotator.testing.backends import BackendContract
from rotator.testing.layouts import LayoutContract
from tests.backends.conftest import KINDS_WITH_LAYOUT


class TestEveryBackend(BackendContract):
    """With the fixture ``case`` of the conftest."""


@pytest.mark.parametrize("case", KINDS_WITH_LAYOUT, indirect=True)
class TestEveryLayout(LayoutContract):
    """Likewise."""
