"""The world of the model: fakes outside, one journal, two holders, a configuration that people edit."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from rotator.domain.events import Held, RollbackRequested, RotationRequested
from rotator.domain.model import Assistance, Destination, Drift, Policy
from rotator.domain.record import Expiration, Origin
from rotator.domain.request_events import RevocationTold
from rotator.domain.requests import Task, tasks_of
from rotator.errors import RotatorError
from rotator.service.reconcile import is_due
from tests.domain.build import NOW
from tests.fakes.backend import FakeBackend
from tests.fakes.provider import FakeProvider
from tests.model.faults import Trouble
from tests.model.history import EMPTY, GARBAGE
from tests.model.holder import Holder
from tests.model.truth import Truth
from tests.parts.journals import new_journal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SETTLE = timedelta(minutes=10)
LATE = timedelta(minutes=4)
"""When an effect comes whose answer was lost; less than the settle time."""

PEOPLE = Assistance(console_url="https://console.example", owners=("ada",))
GRACES = (6 * HOUR, HOUR, DAY)
PROJECTS = {"chat": "proj_a", "search": "proj_a", "mail": "proj_a", "batch": "proj_b"}
BACKENDS = ("one", "two", "three")


def place(backend: str, policy: str) -> Destination:
    options = (("field", "KEY"), ("path", policy))
    return Destination(backend=backend, name=f"{backend}:{policy}#KEY", options=options)


def policy_of(
    name: str,
    *,
    grace: timedelta = GRACES[0],
    backends: tuple[str, ...] = BACKENDS[:2],
    drift: Drift = Drift.ADOPT,
    assistance: Assistance | None = None,
) -> Policy:
    policy = Policy(
        name=name,
        instance="prod",
        provider="together",
        project=PROJECTS[name],
        destinations=tuple(place(backend, name) for backend in backends),
        lifetime=30 * DAY,
        renew_before=7 * DAY,
        grace=grace,
        grace_limit=4 * grace,
        check_every=DAY,
        settle=SETTLE,
        drift=drift,
        hooks=("reload",),
        assistance=assistance,
    )
    return _with_digest(policy)


def by_hands_of(policy: Policy, assistance: Assistance | None) -> Policy:
    """The same, with other people; with ``None`` the provider makes its keys."""
    return _with_digest(replace(policy, assistance=assistance, digest=""))


def _with_digest(policy: Policy) -> Policy:
    return replace(policy, digest=hashlib.sha256(repr(policy).encode()).hexdigest()[:16])


def scratch() -> Path:
    """A folder for journals, in memory where the system has such a place: they need not outlive the test."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
    return Path(tempfile.mkdtemp(prefix="rotator-model-", dir=memory if memory.is_dir() else None))


class World:
    """Time is ours; ``skew`` later is the provider's.

    :param by_people: names of policies whose keys people make.
    """

    def __init__(
        self, folder: Path, *, skew: timedelta, lag: timedelta, by_people: Collection[str] = frozenset()
    ) -> None:
        self.current, self._late, self.lag = NOW, [], lag
        self.provider = FakeProvider(now=lambda: self.current + skew, accept_after=lag, refuse_after=lag)
        self.backends = {name: FakeBackend() for name in BACKENDS}
        self.removed: dict[str, Policy] = {}
        policies = {
            "chat": policy_of("chat"),
            "search": policy_of("search", grace=GRACES[2]),
            "mail": policy_of("mail", backends=("three",)),
            "batch": policy_of("batch", backends=("one",)),
        }
        policies |= {name: by_hands_of(policies[name], PEOPLE) for name in by_people}
        self.truth = Truth(self.provider, self.backends, self.now, {})
        self.truth.person_configured(policies)
        self._folder, self._number = folder, 0
        self.known_dead: set[str] = set()
        self.holders: dict[str, Holder] = {}
        self.copy: tuple[bytes, dict[str, int], set[str]] | None = None
        self._new_file()
        self._births = 0
        for seat in ("A", "B"):
            self.start(seat)

    # --- the clock ---------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self.current

    def sleep(self, duration: timedelta) -> None:
        self.advance(duration)

    def advance(self, duration: timedelta) -> None:
        """Move time on; effects that come late come in between."""
        end = self.current + duration
        while self._late and self._late[0][0] <= end:
            at, effect = self._late.pop(0)
            self.current = max(self.current, at)
            self.truth.was_sent_before = True
            try:
                effect()
            except RotatorError as error:
                self.truth.tell(f"a late effect was refused: {error}")
            finally:
                self.truth.was_sent_before = False
        self.current = end

    def later(self, effect: Callable[[], object]) -> None:
        self._late.append((self.current + LATE, effect))

    # --- holders and their journal -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"sqlite:///{self._folder}/{self._number}.db"

    def start(self, seat: str) -> Holder:
        """A fresh process with the newest configuration."""
        self._births += 1
        self.holders[seat] = Holder(self, f"{seat}{self._births}")
        return self.holders[seat]

    def end(self, seat: str, *, known: bool = True) -> None:
        """The process ends; whether others can know that it is dead is another matter."""
        holder = self.holders[seat]
        holder.close()
        if known:
            self.known_dead.add(holder.name)

    def restart(self, seat: str, *, known: bool = True) -> None:
        self.end(seat, known=known)
        self.start(seat)

    def look(self, seat: str, name: str, troubles: tuple[Trouble, ...] = (), *, known: bool = True) -> None:
        """One look; where it ended in a crash, a fresh process takes the seat."""
        holder = self.holders[seat]
        if holder.is_paused or name not in self.truth.policies:
            return
        holder.look(self.truth.policies[name], troubles)
        if holder.crashed:
            self.restart(seat, known=known)

    def hand_over(
        self, seat: str, name: str, key_id: str, *, told: bool, troubles: tuple[Trouble, ...] = (), known: bool = True
    ) -> None:
        """A person hands a key over, at that seat's process.

        :param told: with its expiration; otherwise it is said to be as asked for.
        """
        holder = self.holders[seat]
        if holder.is_paused or name not in self.truth.policies:
            return
        expires = Expiration(self.truth.expires_at(key_id)) if told else None
        holder.take(self.truth.policies[name], key_id, expires, troubles)
        if holder.crashed:
            self.restart(seat, known=known)

    def tasks(self, name: str) -> tuple[Task, ...]:
        """What a person is asked to do for a policy now."""
        policy = self.truth.policies.get(name)
        record = next(iter(self.holders.values())).journal.load(name)
        return tasks_of(policy, record, self.current) if policy else ()

    def make_as_asked(self, name: str) -> tuple[str, bool]:
        """A person makes a key; answers its id, and whether its expiration has to be told at the handover."""
        task = next((task for task in self.tasks(name) if task.kind == "create"), None)
        if task is None or task.expires_at is None or task.expires_at <= self.current:
            return self.new_key(name, self.current + 30 * DAY), True
        return self.new_key(name, task.expires_at, task.key_name), False

    def revoke_as_asked(self, name: str, *, tells: bool) -> None:
        """A person revokes what they are asked to revoke for a policy.

        :param tells: they say so, too.
        """
        for task in self.tasks(name):
            if task.kind == "revoke":
                self.revoke_by_hand(task.key_id)
                asked = next(iter(self.holders.values())).journal.load(name).key(task.key_id)
                if tells and asked and asked.revocation and not asked.revocation.done_by:  # once is enough
                    told = RevocationTold(key_id=task.key_id, by="ada", at=self.now())
                    next(iter(self.holders.values())).journal.request(name, told, self.current)

    def new_key(self, name: str, ends: datetime | None, called: str = "by hand") -> str:
        """A person makes a key in the console; answers its id."""
        issued = self.provider.create_by_hand(PROJECTS[name], called, ends)
        self.advance(self.lag)  # a person who pastes it takes longer than the provider does
        self.truth.secrets[issued.facts.key_id] = issued.secret.reveal()
        self.truth.listing_changed()
        return issued.facts.key_id

    def revoke_by_hand(self, key_id: str) -> None:
        """A person revokes a key in the console."""
        self.provider.revoke_by_hand(key_id)
        self.truth.person_revoked(key_id)
        self.advance(self.lag)

    def resume(self, seat: str) -> None:
        holder = self.holders[seat]
        if holder.is_paused:
            holder.resume()
            if holder.crashed or holder.is_stale:
                self.restart(seat)

    def look_at_due(self, seat: str) -> None:
        looks = self.holders[seat].journal.looks()
        for name, policy in list(self.truth.policies.items()):
            if is_due(policy, looks, self.current):
                self.look(seat, name)

    def next_due(self, seat: str) -> datetime:
        looks = self.holders[seat].journal.looks()
        moments = [looks[name].next_at for name in self.truth.policies if name in looks]
        return max(self.current + timedelta(seconds=1), min(moments, default=self.current))

    def lose_journal(self) -> None:
        """Every process ends, and those that start find nothing."""
        self._replace_journal(None)
        self.truth.on_hold.clear()
        self.truth.forget()
        self.truth.tell("the journal is lost")

    def copy_journal(self) -> None:
        with closing(sqlite3.connect(f"{self._folder}/{self._number}.db")) as connection:
            self.copy = connection.serialize(), dict(self.truth.on_hold), set(self.truth.compromise_open)
        self.truth.tell("the journal is copied")

    def restore_journal(self) -> None:
        assert self.copy is not None
        content, holds, compromised = self.copy
        self._replace_journal(content)
        self.truth.forget()
        records = next(iter(self.holders.values())).journal.records()
        issued = {key.key_id: r.policy for r in records.values() for key in r.keys if key.origin is Origin.ISSUED}
        self.truth.maker |= issued
        self.truth.on_hold = dict.fromkeys(holds, self.truth.tick)
        self.truth.compromise_open = compromised & self.truth.policies.keys()
        self.truth.tell("the journal is restored from the copy")

    # --- operators -----------------------------------------------------------------------------------------------

    def request(self, name: str, event: Held | RollbackRequested | RotationRequested) -> None:
        journal = next(h.journal for h in self.holders.values())
        journal.request(name, event, self.current)
        self.truth.tick += 1
        if isinstance(event, Held):
            self.truth.tell(f"a person puts {name} {'on hold' if event.reason else 'off hold'}")
            self.truth.on_hold.pop(name, None)
            if event.reason:
                self.truth.on_hold[name] = self.truth.tick
        elif isinstance(event, RollbackRequested):
            self.truth.tell(f"a person asks for a rollback of {name}")
        elif event.compromised:
            self.truth.person_compromised(self.truth.policies[name])
        else:
            self.truth.tell(f"a person asks for a rotation of {name}")

    def put(self, destination: Destination, what: str) -> None:
        """A person writes a key (by its id), nothing, or garbage."""
        if what == EMPTY:
            text = None
        elif what == GARBAGE:
            text = "change-me"
        else:
            text = self.truth.secrets[what]
        before = self.truth.holds(destination)
        self.backends[destination.backend].put_by_hand(destination, text)
        self.truth.person_put(destination, before, what)

    def configure(self, policies: dict[str, Policy]) -> None:
        """A person edits the configuration; each process that is not paused has it at its next look."""
        self.truth.person_configured(policies)
        self.truth.tell("configuration: " + ", ".join(f"{p.name} {p.grace} {len(p.destinations)}" for p in
                                                      policies.values()))  # fmt: skip
        for holder in self.holders.values():
            holder.configured()

    def close(self) -> None:
        for holder in self.holders.values():
            holder.close()
        for path in self._folder.glob(f"{self._number}.db*"):
            path.unlink()

    def _new_file(self) -> None:
        self._number = max((int(p.stem) for p in self._folder.glob("[0-9]*.db")), default=0) + 1
        new_journal(self._folder / f"{self._number}.db")

    def _replace_journal(self, content: bytes | None) -> None:
        for seat in self.holders:
            self.end(seat)
        old = list(self._folder.glob(f"{self._number}.db*"))
        self.advance(timedelta(seconds=1))  # nobody does that at once
        self._new_file()
        for path in old:
            path.unlink()
        if content is not None:
            path = Path(f"{self._folder}/{self._number}.db")
            path.write_bytes(content)
        for seat in self.holders:
            self.start(seat)
