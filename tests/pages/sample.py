"""Policies in every state that the page can show, served by the real listener over an own journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from rotator.config import HttpSettings
from rotator.domain.model import Policy
from rotator.domain.record import KeyState, Phase, PolicyRecord, RotationRecord
from rotator.domain.secret import SecretValue
from rotator.entrypoints.http.overview import EVERY, Overview
from rotator.entrypoints.http.pages import Pages
from rotator.entrypoints.http.ready import Readiness
from rotator.entrypoints.http.server import Listener
from rotator.errors import JournalUnavailable
from rotator.ports import Look
from tests.domain.build import DAY, HOUR, MINUTE, NOW, POLICY, VAULT, key, record, retiring, rotation

WILD = "<script>alert(1)</script>\"'&amp;{{ 7*7 }}"
TOKEN = "a-token-of-nobody"

Row = tuple[Policy, PolicyRecord, Look | None]


def row(name: str, *keys: object, look: Look | None = None, policy: Policy = POLICY, **changes: object) -> Row:
    """One policy, looked at an hour ago and again in five, unless told otherwise."""
    known = replace(record(*keys, **changes), policy=name)
    return replace(policy, name=name), known, look or Look(next_at=NOW + 5 * HOUR, digest="d1")


def one_of_each() -> dict[str, Row]:
    """Every state, with each way into it that a person should see differently; by what is the matter."""
    due = key("g", created_at=NOW - 24 * DAY, since=NOW - 24 * DAY, expires_at=NOW + 6 * DAY)
    half: RotationRecord = rotation(Phase.PUBLISHING, published=(VAULT.name,), reason="TooOld: made 24 days ago")
    flying = replace(half, started_at=NOW - MINUTE)
    problem = "DestinationUnreadable: vault:secret/chat#KEY: 403 permission denied at /v1/secret/data/chat"
    rows = [
        row("failing", key("a"), look=Look(next_at=NOW + HOUR, digest="", failures=4, problem=problem)),
        row("over", key("b", created_at=NOW - 31 * DAY, expires_at=NOW - HOUR)),
        row("ending", key("c", created_at=NOW - 28 * DAY, expires_at=NOW + 2 * DAY)),
        row("stuck", key("d", created_at=NOW - 24 * DAY, expires_at=NOW + 6 * DAY), rotations=(half,)),
        row("late", key("e"), look=Look(next_at=NOW - HOUR, digest="")),
        row("held", key("f"), hold=f"a freeze {WILD}", hold_until=NOW + DAY),
        row("flying", due, rotations=(flying,)),
        row("due", due),
        row("grace", key("h"), retiring("old", created_at=NOW - 25 * DAY, grace_until=NOW + 20 * HOUR,
                                        expires_at=NOW + 2 * DAY)),
        row("refusal", key("i"), key("gone", KeyState.REVOKED, created_at=NOW - 25 * DAY, revoked_at=NOW - HOUR)),
        (replace(POLICY, name="unseen"), record(), None),
        row("endless", key("j", expires_at=None)),
        row("fine", key("k", created_at=NOW - 12 * DAY, expires_at=NOW + 18 * DAY)),
    ]  # fmt: skip
    return {policy.name: (policy, known, look) for policy, known, look in rows}


@dataclass
class Stage:
    """What the page is drawn from; a test changes it while the listener runs."""

    rows: Mapping[str, Row] = field(default_factory=one_of_each)
    troubles: dict[str, str] = field(default_factory=dict)
    now: datetime = NOW
    broken: bool = False
    dead: str = ""

    def records(self) -> dict[str, PolicyRecord]:
        if self.broken:
            raise JournalUnavailable("the disk is gone")
        return {name: known for name, (_, known, _) in self.rows.items()}

    def looks(self) -> dict[str, Look]:
        self.records()
        return {name: look for name, (_, _, look) in self.rows.items() if look}

    def application(self) -> SimpleNamespace:
        policies = tuple(policy for policy, _, _ in self.rows.values())
        return SimpleNamespace(
            journal=self,
            settings=SimpleNamespace(policies=policies, instance="prod"),
            clock=SimpleNamespace(now=lambda: self.now, stopping=False),
            troubles=lambda: self.troubles,
        )


@contextmanager
def serving(
    stage: Stage,
    token: str | None = None,
    *,
    every: timedelta = EVERY,
    port: int = 0,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[str]:
    """The address of the page."""
    pages = Pages(
        alive=lambda: stage.dead,
        ready=Readiness(application=stage.application, policies=dict),
        token=(lambda: SecretValue(token)) if token else None,
        metrics=lambda: (b"", "text/plain"),
        overview=Overview(application=stage.application, alive=lambda: stage.dead, every=every),
    )
    listener = Listener(HttpSettings(host="127.0.0.1", port=port, token=None, tls=tls), pages)
    listener.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.port}/"
    finally:
        listener.stop()
