"""What the tests of the pages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.people import give_link
from tests.service.people import PEOPLE, AssistedStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[AssistedStage]:
    """A key is asked for, and there is a link for half an hour."""
    made = AssistedStage(f"sqlite:///{tmp_path}/state.db")
    made.change(name="chat", assistance=PEOPLE)
    made.look()
    give_link(made)
    yield made
    made.journal.close()
