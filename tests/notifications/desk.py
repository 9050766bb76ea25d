"""A journal, a clock that is driven, a place where messages arrive, and senders of as many processes as are wanted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain import events as ev
from rotator.domain.channel import Rules
from rotator.domain.notices import Kind, Level
from rotator.errors import SendFailed
from rotator.ports import Look
from rotator.ports_notify import Message
from rotator.service.notify import Sender
from tests.domain.build import DAY, HOUR, NOW, POLICY, key
from tests.parts.journals import new_journal

RULES = Rules(
    name="ops", events=frozenset(map(str, Kind)), policies=("*",), level=Level.INFO, per_hour=20, failed_after=3
)
SECOND = timedelta(seconds=1)


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def sleep(self, duration: timedelta) -> None:
        raise NotImplementedError


@dataclass
class Place:
    """Where messages arrive.

    ``down``: what it says instead of taking them; ``poison``: it takes none with this text; ``crashes``: the sender
    dies after one; ``loses``: its answer is lost; ``breaks``: its library raises what nobody foresaw.
    """

    got: list[Message] = field(default_factory=list)
    tries: int = 0
    down: str = ""
    poison: str = ""
    crashes: bool = False
    loses: bool = False
    breaks: bool = False

    def send(self, message: Message, now: datetime) -> None:
        self.tries += 1
        if self.breaks:
            raise UnicodeError("https://hooks.example/T0KEN")
        if self.down:
            raise SendFailed(self.down)
        if self.poison and self.poison in message.body:
            raise SendFailed("it was answered with 400", is_refusal=True)
        self.got.append(message)
        if self.crashes:
            raise KeyboardInterrupt
        if self.loses:
            raise SendFailed("no answer within 20s")

    def told(self) -> list[tuple[str, object]]:
        return [(message.kind, message.fields["policy"]) for message in self.got]


class Desk:
    """A journal, a clock, a place, and the senders of as many processes as are wanted."""

    def __init__(self, path: Path) -> None:
        new_journal(path)
        self.journal = SqlJournal.open(f"sqlite:///{path}", is_dead=lambda holder: holder == "dead")
        self.clock, self.place = Clock(), Place()
        self.counted: list[str] = []

    def sender(self, holder: str = "me", **rules: object) -> Sender:
        made = Sender(
            rules=replace(RULES, **rules),
            make=lambda: self.place,
            outbox=self.journal.outbox(),
            journal=self.journal,
            clock=self.clock,
            policies={"chat": POLICY, "batch": replace(POLICY, name="batch")},
            instance="prod",
            holder=holder,
            clean=lambda text: text.replace("tgp_v1_x", "[redacted]"),
            count=lambda _channel, result: self.counted.append(result),
        )
        made.outbox.begin(made.rules.name)
        return made

    def adopt(self, policy: str = "chat", name: str = "a") -> None:
        lease = self.journal.acquire(policy, "looker", self.clock.now(), HOUR)
        adopted = ev.KeyAdopted(key=key(name), grace_until=NOW + 9 * DAY, grace_limit=NOW + 9 * DAY)
        self.journal.append(lease, [adopted], self.clock.now())
        self.journal.release(lease)

    def leaks(self, reason: str) -> None:
        self.journal.request("chat", ev.RotationRequested(reason=reason, compromised=True), self.clock.now())

    def look(self, policy: str = "chat", **changes: object) -> None:
        lease = self.journal.acquire(policy, "looker", self.clock.now(), HOUR)
        look = replace(Look(next_at=self.clock.now() + 6 * HOUR, digest="d1"), **changes)
        self.journal.note_look(lease, look, [], known=self.journal.load(policy), now=self.clock.now())
