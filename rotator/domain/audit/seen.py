"""All that an audit has seen, once, read-only; and what it could not see. No secret is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from rotator.domain.audit.surroundings import Surroundings
from rotator.domain.model import Identity, KeyFacts, Policy, Refused
from rotator.domain.naming import is_name_of
from rotator.domain.record import KeyRecord, KeyState, PolicyRecord
from rotator.domain.snapshot import DestinationView

BILLED = timedelta(hours=1)
"""Billing tells the use of whole hours."""


class Proof(StrEnum):
    """How it is known which key a destination holds."""

    ASKED = "the provider was asked"
    LISTED = "the journal knows its fingerprint, and the provider lists the key"
    RECORDED = "the journal knows its fingerprint; a key in its grace is not asked about"
    HINTED = "what lies beside it says so; a key that may be in its grace is not asked about"
    NONE = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From when on something is a finding.

    :param unused_after: how long a key is not used before it counts as dormant.
    :param credential_age: how old a credential of our own may be.
    :param longest_lifetime: of a policy.
    """

    unused_after: timedelta = timedelta(days=45)
    credential_age: timedelta = timedelta(days=90)
    longest_lifetime: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSeen:
    """One destination.

    :param key_id: of the key that it holds, as far as it is known.
    :param answer: what the provider says of the value; ``None`` where it was not asked, or did not answer.
    :param problem: why nothing is known of the value, fit for people.
    """

    policy: Policy
    view: DestinationView
    proof: Proof = Proof.NONE
    key_id: str = ""
    answer: Identity | Refused | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """Of the destination."""
        return self.view.destination.name


@dataclass(frozen=True, kw_only=True)
class ProjectSeen:
    """One project of one provider.

    :param listed: its live keys; ``None`` where there is no list, or it could not be read.
    :param problem: why it could not be read; empty where it was, or where the provider has none.
    :param complete: every destination of every policy of the project was looked at.
    """

    provider: str
    project: str
    listed: tuple[KeyFacts, ...] | None = None
    problem: str = ""
    complete: bool = True

    def facts(self, key_id: str) -> KeyFacts | None:
        """The list's row of that key, or ``None``."""
        return self._rows.get(key_id)

    @cached_property
    def _rows(self) -> Mapping[str, KeyFacts]:
        return {one.key_id: one for one in self.listed or ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a policy is looked at next, and how the last looks ended. See ``ports.Look``."""

    next_at: datetime
    failures: int = 0
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What there is to judge.

    :param policies: those that were asked for.
    :param others: all others of the same projects, without which nobody can say that a key is unmanaged.
    :param records: what the journal remembers; ``None`` without a journal.
    :param organizations: project to its organisation, as its accepted keys say.
    :param skew: provider to its clock minus ours.
    :param used_until: key id to the end of the last hour in which its use was billed.
    :param use_unknown: ids of keys of which nobody tells whether they are used: the list does not, and billing did not.
    :param chain: what is wrong with the journal's chain of events; ``None`` where it was not looked at.
    :param journal_problem: why the journal could not be read, or that there is none.
    :param abandoned: names of policies that the journal knows and the configuration has not.
    :param unknown: what could not be known, a sentence each.
    """

    now: datetime
    policies: tuple[Policy, ...]
    others: tuple[Policy, ...] = ()
    places: tuple[PlaceSeen, ...] = ()
    projects: tuple[ProjectSeen, ...] = ()
    records: Mapping[str, PolicyRecord] | None = None
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    organizations: Mapping[str, str] = field(default_factory=dict)
    skew: Mapping[str, timedelta] = field(default_factory=dict)
    used_until: Mapping[str, datetime] = field(default_factory=dict)
    use_unknown: frozenset[str] = frozenset()
    surroundings: Surroundings = field(default_factory=Surroundings)
    chain: tuple[str, ...] | None = None
    journal_problem: str = ""
    abandoned: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    unknown: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[Policy, ...]:
        """The policies that were asked for, and the others of their projects."""
        return (*self.policies, *self.others)

    def asked_for(self) -> Iterator[PlaceSeen]:
        """The destinations of the policies that were asked for."""
        names = {policy.name for policy in self.policies}
        return (place for place in self.places if place.policy.name in names)

    def remembered(self) -> Iterator[tuple[Policy, PolicyRecord]]:
        """Each policy that was asked for, with what the journal knows of it; nothing without a journal."""
        for policy in self.policies if self.records is not None else ():
            if record := (self.records or {}).get(policy.name):
                yield policy, record

    def project_of(self, policy: Policy) -> ProjectSeen:
        """Where a policy's key belongs to."""
        found = self._projects.get((policy.provider, policy.project))
        return found or ProjectSeen(provider=policy.provider, project=policy.project, complete=False)

    @cached_property
    def _projects(self) -> Mapping[tuple[str, str], ProjectSeen]:
        return {(one.provider, one.project): one for one in self.projects}

    def last_use(self, facts: KeyFacts) -> datetime | None:
        """As far as list and usage figures tell."""
        return max((one for one in (facts.last_used_at, self.used_until.get(facts.key_id)) if one), default=None)

    def used_after(self, facts: KeyFacts, moment: datetime) -> datetime | None:
        """The last use, where it is surely later: the whole hour that billing tells of may have begun before."""
        billed = self.used_until.get(facts.key_id)
        is_later = (facts.last_used_at and facts.last_used_at > moment) or (billed and billed - BILLED >= moment)
        return self.last_use(facts) if is_later else None

    def unlisted(self) -> Iterator[tuple[Policy, KeyRecord]]:
        """Every key that consumers may have, of a policy whose keys nobody lists: the journal alone tells of it."""
        for policy, record in self.remembered():
            if self.project_of(policy).listed is None:
                for key in record.in_state(KeyState.CURRENT, KeyState.RETIRING):
                    yield policy, key

    def listed(self) -> Iterator[tuple[ProjectSeen, KeyFacts]]:
        """Every row of every list."""
        for project in self.projects:
            for facts in project.listed or ():
                yield project, facts

    def managed(self) -> Iterator[tuple[Policy, KeyFacts]]:
        """Every listed key of a policy that was asked for: held, recorded, or with a name of ours."""
        names = {policy.name: policy for policy in self.policies}
        for project, facts in self.listed():
            owner = self.owner_of(project, facts)
            if owner in names:
                yield names[owner], facts

    def owner_of(self, project: ProjectSeen, facts: KeyFacts) -> str:
        """The policy that has to do with a listed key; empty where none has."""
        return self._owners.get(facts.key_id) or self._named(project, facts)

    def _named(self, project: ProjectSeen, facts: KeyFacts) -> str:
        """The policy after which a key is named, in that project; neither instance nor policy has an underscore."""
        _, _, rest = facts.name.partition("_")
        instance, _, rest = rest.partition("_")
        policy = self._policies.get((project.provider, project.project, instance, rest.partition("_")[0]))
        return policy.name if policy and is_name_of(facts.name, policy.instance, policy.name) else ""

    @cached_property
    def _policies(self) -> Mapping[tuple[str, str, str, str], Policy]:
        return {(one.provider, one.project, one.instance, one.name): one for one in self.every}

    @cached_property
    def _owners(self) -> Mapping[str, str]:
        owners: dict[str, str] = {}
        for policy in self.every:
            record = (self.records or {}).get(policy.name)
            for key in record.keys if record else ():
                owners.setdefault(key.key_id, policy.name)
        for place in self.places:
            if place.key_id:
                owners.setdefault(place.key_id, place.policy.name)
        return owners

    def holders(self, key_id: str) -> tuple[str, ...]:
        """Names of the destinations that hold a key, as far as it is known."""
        return self._holders.get(key_id, ())

    @cached_property
    def _holders(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for place in self.places:
            if place.key_id:
                found[place.key_id] = (*found.get(place.key_id, ()), place.name)
        return found

    def record_of(self, key_id: str, policy: Policy) -> KeyRecord | None:
        """What the journal knows of a policy's key."""
        record = (self.records or {}).get(policy.name)
        return record.key(key_id) if record else None
