"""A notice as a channel sends it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from rotator.domain.notices import Level, Notice, body, title
from rotator.ports_notify import Message


def message_of(notice: Notice, instance: str, clean: Callable[[str], str]) -> Message:
    """As a channel sends it."""
    ident = hashlib.sha256(f"{instance}\0{notice.ident}".encode()).hexdigest()[:32]
    fields: dict[str, object] = {
        "instance": instance,
        "policy": notice.policy,
        "project": notice.project,
        "level": str(notice.level),
        "key_ids": list(notice.key_ids),
        "what": clean(notice.what),
        "advice": clean(notice.advice),
    }
    return Message(
        ident=f"msg_{ident}",
        kind=str(notice.kind),
        level=str(notice.level),
        at=notice.at,
        title=clean(title(notice, instance)),
        body=clean(body(notice)),
        fields=fields,
    )


def trial_notice(now: datetime) -> Notice:
    """What ``--test-notifications`` sends."""
    return Notice(
        ident=f"test {now.isoformat()}",
        kind="test",
        level=Level.INFO,
        at=now,
        what="This is a test: rotator can reach this channel.",
        advice="Nothing is to be done.",
    )
