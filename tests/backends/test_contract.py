"""The contract of ``rotator.ports.SecretBackend``, kept by every backend and by the fake, guarded or not."""

from __future__ import annotations

import pytest

from rotator.errors import WrongDestination
from rotator.testing.backends import BackendContract, InboxContract
from rotator.testing.layouts import LayoutContract
from tests.backends.conftest import KINDS_OF_INBOX, KINDS_WITH_LAYOUT


class TestEveryBackend(BackendContract):
    """With the fixture ``case`` of the conftest."""


@pytest.mark.parametrize("case", KINDS_WITH_LAYOUT, indirect=True)
class TestEveryLayout(LayoutContract):
    """Likewise."""


@pytest.mark.parametrize("case", KINDS_OF_INBOX, indirect=True)
class TestEveryInbox(InboxContract):
    """Likewise, with no more rights than an inbox needs."""


@pytest.mark.parametrize("case", ["guarded dotenv"], indirect=True)
def test_a_backend_that_can_destroy_nothing_for_good_says_so(case):
    case.put("KEY", "tgp_v1_a")
    with pytest.raises(WrongDestination, match="no inbox"):
        case.backend.destroy(case.at("KEY"), case.backend.read(case.at("KEY")).version)
