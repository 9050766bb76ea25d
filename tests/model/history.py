"""What happened at the provider and in the destinations, whoever did it. It knows nothing of the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rotator.domain.model import Destination, KeyFacts, Policy
from tests.fakes.backend import FakeBackend
from tests.fakes.provider import FakeProvider

EMPTY, GARBAGE = "", "?"
"""Instead of a key's id: what a place holds."""

STALE_LIST = timedelta(minutes=5)
"""How old a list can be that the provider gives; less than the settle time."""


@dataclass(frozen=True, eq=False)
class Turn:
    """One look of one holder at one policy.

    :param tick: counts the acts of persons: those with a higher number came while the look was under way.
    """

    holder: str
    policy: Policy
    tick: int
    began: datetime


@dataclass(frozen=True, slots=True)
class Put:
    """Who wrote a place last."""

    by_person: bool
    tick: int
    at: datetime


@dataclass
class History:
    """``faults`` are the promises that were broken, each as (kind, sentence); ``story`` is all that happened."""

    provider: FakeProvider
    backends: Mapping[str, FakeBackend]
    now: Callable[[], datetime]
    policies: dict[str, Policy]
    tick: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)  # what a person can paste, by key id
    maker: dict[str, str] = field(default_factory=dict)  # key id to the policy that it was created for
    lay_in: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # policy to what its places held
    ever_held: set[str] = field(default_factory=set)
    ever_written: set[str] = field(default_factory=set)  # by us, with our hints beside
    in_vain: set[str] = field(default_factory=set)  # handed over when nobody needed it
    person_killed: dict[str, int] = field(default_factory=dict)
    configured: dict[str, int] = field(default_factory=dict)  # destination name to the tick of its configuration
    puts: dict[str, Put] = field(default_factory=dict)
    lay_at: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # destination name to what it held
    seen: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    given_back: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # seen, and a person's again
    overwritten: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    ever_overwritten: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    ever_displaced: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # also what was drift
    pending: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    replaced_at: dict[tuple[str, str], datetime] = field(default_factory=dict)
    left_at: dict[tuple[str, str], datetime] = field(default_factory=dict)
    fine_looks: dict[str, int] = field(default_factory=dict)  # policy to the tick of its last one
    complete: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # what lay everywhere once
    settled: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # what a fine look saw everywhere
    ever_asked: dict[str, int] = field(default_factory=dict)  # key id to the tick at which a person should revoke it
    unseen: set[str] = field(default_factory=set)  # keys that nobody can find where there is no list
    waived: set[str] = field(default_factory=set)
    leaked: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # said to be, and not ended yet
    graces: dict[str, set[timedelta]] = field(default_factory=lambda: defaultdict(set))
    on_hold: dict[str, int] = field(default_factory=dict)
    owner: dict[str, Turn] = field(default_factory=dict)  # who took the policy's lease last
    overtaken: set[Turn] = field(default_factory=set)  # those that had an effect after another took their lease
    saw: dict[Turn, dict[str, str]] = field(default_factory=dict)  # what each place held when the look began
    brought: dict[Turn, set[str]] = field(default_factory=lambda: defaultdict(set))  # keys that a look has written
    looked: dict[Turn, set[str]] = field(default_factory=lambda: defaultdict(set))  # places that a look has read
    last_seen: dict[str, str] = field(default_factory=dict)  # destination name to what the last look saw there
    unlooked: set[str] = field(default_factory=set)  # policies of which the journal may tell what was long ago
    compromise_open: set[str] = field(default_factory=set)  # policies whose leaked keys were not all replaced yet
    was_sent_before: bool = False  # an effect comes now that was sent minutes ago
    lists: list[tuple[datetime, dict[str, tuple[KeyFacts, ...]]]] = field(default_factory=list)

    # --- looking --------------------------------------------------------------------------------------------

    def holds_of(self, policy: Policy) -> list[str]:
        """What each destination of the policy holds."""
        return [self.holds(destination) for destination in policy.destinations]

    def holds(self, destination: Destination) -> str:
        """The id of the key that a place holds, ``EMPTY`` or ``GARBAGE``."""
        value = self.backends[destination.backend].read(destination).value
        if value is None:
            return EMPTY
        return self.provider._ids_by_fingerprint.get(value.fingerprint(), GARBAGE)

    def holders(self, key_id: str) -> list[tuple[Policy, Destination]]:
        """The configured destinations of its project that hold a key: in another one it can not be used."""
        places = [
            (p, d) for p in self.policies.values() for d in p.destinations if p.project == self.project_of(key_id)
        ]
        return [(policy, destination) for policy, destination in places if self.holds(destination) == key_id]

    def lies_anywhere(self, key_id: str) -> bool:
        """Whether any configured destination holds a key, of whatever project: a person may have copied it there."""
        return any(self.holds(d) == key_id for p in self.policies.values() for d in p.destinations)

    def is_accepted(self, key_id: str) -> bool:
        """Whether the provider takes the key, all delays apart."""
        key = self.provider._keys.get(key_id)
        if key is None or key.revoked_at is not None:
            return False
        return key.facts.expires_at is None or key.facts.expires_at > self.provider._now()

    def expires_at(self, key_id: str) -> datetime | None:
        return self.provider._keys[key_id].facts.expires_at

    def project_of(self, key_id: str) -> str:
        return self.provider._keys[key_id].facts.project

    def older_list(self, project: str) -> tuple[KeyFacts, ...]:
        """What the provider's list was some minutes ago."""
        since = self.now() - STALE_LIST
        older = [lists for at, lists in self.lists if at <= since]
        return older[-1].get(project, ()) if older else ()

    def tell(self, sentence: str) -> None:
        self.story.append(f"{self.now():%m-%d %H:%M:%S} {sentence}")

    def blame(self, kind: str, sentence: str) -> None:
        self.faults.append((kind, sentence))
        self.tell(f"FAULT {kind}: {sentence}")

    def began(self, turn: Turn) -> None:
        """What lies in the destinations when a look begins may be adopted by it."""
        self.saw[turn] = {destination.name: self.holds(destination) for destination in turn.policy.destinations}
        self.seen[turn.policy.name] |= set(self.holds_of(turn.policy)) - {EMPTY, GARBAGE}

    def read(self, turn: Turn, destination: Destination) -> None:
        """The first read of a place is what its look decides on; it may be paused before it."""
        policy = turn.policy
        if destination in policy.destinations and destination.name not in self.looked[turn]:
            self.looked[turn].add(destination.name)
            self.saw[turn][destination.name] = held = self.holds(destination)
            self.last_seen[destination.name] = held
            self.seen[policy.name] |= {held} - {EMPTY, GARBAGE}

    def moved(self) -> None:
        """After every change of a place: who has its replacement everywhere now?"""
        for policy in self.policies.values():
            held = self.holds_of(policy)
            if not all(self.is_accepted(key_id) for key_id in held):
                continue
            self.complete[policy.name] |= set(held) if len(set(held)) == 1 else set()
            for key_id in self.pending[policy.name] - set(held):
                self.pending[policy.name].discard(key_id)
                self.replaced_at[policy.name, key_id] = self.now()

    def listing_changed(self) -> None:
        projects = {key.facts.project for key in self.provider._keys.values()}
        rows = {
            project: tuple(self.provider._keys[key_id].facts for key_id in self.provider.live(project))
            for project in projects
        }
        self.lists.append((self.now(), rows))

    # --- what persons do -------------------------------------------------------------------------------------------

    def person_put(self, destination: Destination, before: str, what: str) -> None:
        self.tick += 1
        self._leaves(destination, before)
        self.lay_at[destination.name].add(what)
        self.puts[destination.name] = Put(by_person=True, tick=self.tick, at=self.now())
        if what not in {EMPTY, GARBAGE}:
            self.ever_held.add(what)
            self.waived |= {what} & self.ever_asked.keys()  # against what they were asked
            for policy in self.policies.values():
                if destination in policy.destinations:
                    self.lay_in[policy.name].add(what)
                    self.overwritten[policy.name].discard(what)
                    self.pending[policy.name].discard(what)
                    self.replaced_at.pop((policy.name, what), None)
        for name in self.policies:
            if self.maker.get(before) == name and before not in self.settled[name]:
                # Whether we or a person had taken the former key out can't be told any more.
                self.overwritten[name] &= self.maker.keys()
        for policy in self.policies.values():
            # A key that nobody has adopted is out of sight when a person has taken it out.
            ours = {key_id for key_id, name in self.maker.items() if name == policy.name}
            if policy.assisted and policy.name in self.unlooked:
                self.unseen |= ours & {before}
            known = ours | self.ever_overwritten[policy.name] | self.settled[policy.name]
            if before not in known and before not in self.holds_of(policy):
                self.leaked[policy.name].discard(before)
        self.tell(f"a person puts {what or 'nothing'} into {destination.name}")
        self.moved()

    def person_revoked(self, key_id: str) -> None:
        self.tick += 1
        self.person_killed[key_id] = self.tick
        self.tell(f"a person revokes {key_id}")
        self.listing_changed()
        self.moved()

    def person_configured(self, policies: Mapping[str, Policy]) -> None:
        self.tick += 1
        new = {d.name for p in policies.values() for d in p.destinations}
        old = {d.name for p in self.policies.values() for d in p.destinations}
        for name in new - old:
            self.configured[name] = self.tick
        for name in self.policies.keys() | policies.keys():
            if self.policies.get(name) != policies.get(name):
                # What a person took away from a policy was not replaced there by us: it owes no grace for it.
                self.pending[name].clear()
                held = set(self.holds_of(self.policies[name])) if name in self.policies else set()
                if any(self.maker.get(key_id) == name and key_id not in self.settled[name] for key_id in held):
                    self.overwritten[name] &= self.maker.keys()  # see ``person_put``
                # A key that nobody has adopted, and that lies in no place of the policy any more, is out of sight.
                mine = {self.holds(d) for d in policies[name].destinations} if name in policies else set()
                self.leaked[name] &= mine | self.settled[name] | self.ever_overwritten[name]
            if name in policies and policies[name].assisted:
                made = {key_id for key_id, maker in self.maker.items() if maker == name}
                kept = {key_id for key_id in made if self.lies_anywhere(key_id)}
                self.unseen |= made - (kept if name in self.unlooked else self.ever_held)
        for policy in policies.values():
            self.graces[policy.name].add(policy.grace)
        self.policies.clear()
        self.policies.update(policies)
        self.moved()

    def person_compromised(self, policy: Policy) -> None:
        self.tell(f"a person says that {policy.name} is compromised")
        if policy.name in self.compromise_open:
            return  # said once more: what answers the first time is the answer
        self.compromise_open.add(policy.name)
        held = set(self.holds_of(policy)) - {EMPTY, GARBAGE}
        ours = {key_id for key_id, name in self.maker.items() if name == policy.name}
        self.leaked[policy.name] |= held
        self.waived |= held | ours | self.ever_overwritten[policy.name] | self.seen[policy.name]

    def forget(self) -> None:
        """The journal is lost or an older one: what nobody can know any more is owed by nobody."""
        self.overwritten.clear()
        self.leaked.clear()
        self.compromise_open.clear()
        self.ever_asked.clear()
        self.unlooked = self.policies.keys() | set(self.maker.values())
        unlisted = {name for name, policy in self.policies.items() if policy.assisted}
        made = {key_id for key_id, name in self.maker.items() if name in unlisted}
        self.unseen |= {key_id for key_id in made if not self.lies_anywhere(key_id)}
        self.settled.clear()
        self.fine_looks.clear()
        for name, keys in self.given_back.items():
            self.seen[name] |= keys  # an older copy still has them for its own
        for key_id in [key_id for key_id in self.maker if self.provider._keys[key_id].facts.created_by != "rotator"]:
            del self.maker[key_id]  # a person's again: no list tells that it was handed over
        for graces in (self.replaced_at, self.left_at):
            for name, key_id in [pair for pair in graces if self.maker.get(pair[1]) != pair[0]]:
                del graces[
                    name, key_id
                ]  # whose key it is, its name tells; who had copied it or made it by hand, nothing
        self.tell("the journal is another one")

    # --- inside ----------------------------------------------------------------------------------------------------

    def _leaves(self, destination: Destination, key_id: str) -> None:
        """Consumers may have read what we published, and what a fine look saw there."""
        put = self.puts.get(destination.name)
        for name, policy in self.policies.items():
            if key_id in {EMPTY, GARBAGE} or put is None or destination not in policy.destinations:
                continue
            if self.configured.get(destination.name, 0) > max(put.tick, self.fine_looks.get(name, 0)):
                continue  # a place that has just come back, and that nobody has looked at since
            if not put.by_person or put.tick <= self.fine_looks.get(name, 0):
                self.left_at[name, key_id] = self.now()
