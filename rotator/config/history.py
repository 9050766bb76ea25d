"""What becomes of the journal's events: how long they are kept, and where the head of their chain is written down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rotator.config.check import Faults
from rotator.config.secrets import IN_HEADER, Follow
from rotator.config.settings import HistorySettings
from rotator.config.shapes.state import StateShape
from rotator.config.source import FieldPath
from rotator.domain.text import duration

_SHORTEST = timedelta(days=7)
"""What the budget of rotations and a person on Monday look back to."""

_OFTEN = timedelta(minutes=1)


def history_settings(
    given: StateShape,
    folder: Path,
    faults: Faults,
    *,
    reference: Follow,
    url: Callable[[str, FieldPath], None],
) -> HistorySettings:
    """The settings; what is wrong goes to ``faults``."""
    anchor, where = given.anchor, ("state", "anchor")
    if given.retention < _SHORTEST:
        faults.add(("state", "retention"), duration(given.retention), f"allowed: {duration(_SHORTEST)} or longer")
    if anchor.every < _OFTEN:
        faults.add((*where, "every"), duration(anchor.every), f"allowed: {duration(_OFTEN)} or longer")
    if anchor.url is not None:
        url(anchor.url, (*where, "url"))
    elif anchor.token is not None:
        faults.add((*where, "token"), "a token without a url", "allowed: with a url")
    token = None if anchor.token is None else reference(anchor.token, (*where, "token"), form=IN_HEADER)
    return HistorySettings(
        retention=given.retention,
        anchor_every=anchor.every,
        anchor_file=folder / anchor.file if anchor.file is not None else None,
        anchor_url=anchor.url,
        anchor_token=token,
    )
