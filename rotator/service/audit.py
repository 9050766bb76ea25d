"""Gathers all that an audit judges, read-only, and asks for each thing once.

- The provider's list once for each project, whatever the number of policies; each destination is read once.
- Our own calls count as use, so the provider is asked about a value (whoami) only where list and journal do not
  explain it; and never about a key that is, or may be, in its grace.
- What fails is a finding; the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rotator.domain.audit.seen import Limits, PlaceSeen, ProjectSeen, Schedule, Seen
from rotator.domain.model import Destination, Policy
from rotator.domain.record import KeyState, PolicyRecord
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.domain.snapshot import DestinationView, Reach
from rotator.errors import BackendError, ProviderError
from rotator.ports import Journal, KeyProvider, SecretBackend
from rotator.service.audit_keys import Identifier, Usage, side_by_side, withheld
from rotator.service.view import view_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the audit is about.

    :param policies: these alone; empty: all.
    :param projects: their policies alone; empty: all.
    """

    policies: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()

    def has(self, policy: Policy) -> bool:
        """Whether a policy is asked for."""
        return (not self.policies or policy.name in self.policies) and (
            not self.projects or policy.project in self.projects
        )

    @property
    def is_all(self) -> bool:
        """Whether nothing was left out."""
        return not self.policies and not self.projects


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What was seen; and which values lie in destinations, by fingerprint, to compare credentials of ours with."""

    seen: Seen
    lying: Mapping[Fingerprint, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Looks at everything once.

    :param journal: ``None`` on a machine that has none.
    :param policies: all of the configuration.
    :param workers: how many places of one lane are looked at side by side.
    :param verify: what is wrong with the journal's chain of events, a sentence each; ``None`` where it has none.
    """

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    journal: Journal | None
    policies: Sequence[Policy]
    workers: int
    now: Callable[[], datetime]
    limits: Limits = field(default_factory=Limits)
    verify: Callable[[], Sequence[str]] | None = None

    def look(self, scope: Scope, unknown: Iterable[str] = ()) -> Gathered:
        """See all of it. Raises ``JournalUnavailable`` where a journal is given and can't be read."""
        records = self.journal.records() if self.journal else None
        schedules = _schedules(self.journal) if self.journal else {}
        chain = tuple(self.verify()) if self.verify and self.journal else None
        asked_for = tuple(policy for policy in self.policies if scope.has(policy))
        projects = {(policy.provider, policy.project) for policy in asked_for}
        others = tuple(p for p in self.policies if (p.provider, p.project) in projects and not scope.has(p))
        secrets: dict[Fingerprint, SecretValue] = {}
        views, lists = self._read((*asked_for, *others), secrets)
        identifier = Identifier(
            providers=self.providers, records=records, lists=lists, secrets=secrets, workers=self.workers
        )
        places = identifier.places(views)
        used = Usage(providers=self.providers, secrets=secrets, since=self.now() - self.limits.unused_after).of(
            lists.values(), places
        )
        projects_seen, unseen = _as_far_as_seen(lists.values(), places)
        seen = Seen(
            now=self.now(),
            policies=asked_for,
            others=others,
            places=places,
            projects=projects_seen,
            records=records,
            schedules=schedules,
            organizations=identifier.organizations(places),
            skew=self._skew({policy.provider for policy in asked_for}),
            used_until=used.until,
            use_unknown=used.unknown,
            chain=chain,
            abandoned=_abandoned(self.policies, records) if scope.is_all else (),
            limits=self.limits,
            unknown=(*unknown, *_without_list(lists.values()), *unseen, *withheld(places), *used.gaps),
        )
        return Gathered(
            seen=replace(seen, unknown=(*seen.unknown, *_not_recorded(seen))),
            lying=_lying(views),
        )

    def _read(
        self, policies: Sequence[Policy], secrets: dict[Fingerprint, SecretValue]
    ) -> tuple[list[tuple[Policy, DestinationView]], dict[tuple[str, str], ProjectSeen]]:
        """Every destination and every list, all side by side."""
        todo = [(policy, destination) for policy in policies for destination in policy.destinations]

        def look(one: tuple[Policy, Destination]) -> tuple[Policy, DestinationView]:
            return one[0], view_of(one[1], self.backends, secrets)

        listed = {(policy.provider, policy.project): policy for policy in policies}
        with ThreadPoolExecutor(self.workers, thread_name_prefix="list") as lists:
            pending = {where: lists.submit(self._list, policy) for where, policy in listed.items()}
            # Threads of its own for each backend: one that hangs holds up no other.
            views = side_by_side(todo, look, self.workers, lane=lambda one: one[1].backend)
        return views, {where: future.result() for where, future in pending.items()}

    def _list(self, policy: Policy) -> ProjectSeen:
        provider, project = policy.provider, policy.project
        if policy.assisted:  # a person makes the keys: there is no list to read
            return ProjectSeen(provider=provider, project=project)
        try:
            rows = self.providers(provider).list_keys(project)
        except (ProviderError, BackendError) as error:  # a backend's, where that holds the management key
            return ProjectSeen(provider=provider, project=project, problem=str(error), complete=False)
        listed = tuple({facts.key_id: facts for facts in rows}.values())
        return ProjectSeen(provider=provider, project=project, listed=listed)

    def _skew(self, providers: Iterable[str]) -> dict[str, timedelta]:
        found = {}
        for name in sorted(providers):
            try:
                skew = self.providers(name).skew()
            except (ProviderError, BackendError):  # it can't even be made; its lists have said so
                continue
            if skew is not None:
                found[name] = skew
        return found


def _without_list(projects: Iterable[ProjectSeen]) -> list[str]:
    return [
        f"{one.project}: there is no list of its keys, because a person makes them: shadow keys, expirations that were "
        "not told, names, creators, old keys that are still used and keys that live on after their revocation can't be "
        "found"
        for one in projects
        if one.listed is None and not one.problem
    ]


def _not_recorded(seen: Seen) -> list[str]:
    """What the journal could tell of keys, and does not."""
    ends = [
        f"{policy.name}: when {key.key_id} ends: nobody has told ('rotator adopt {policy.name} --expires')"
        for policy, key in seen.unlisted()
        if key.state is KeyState.CURRENT and key.expires_at is None and not key.expires_told_by
    ]
    return ends + [
        f"{policy.name}: whether {key.key_id} is used since it was replaced: when that was is not recorded"
        for policy, record in seen.remembered()
        for key in record.in_state(KeyState.RETIRING)
        if key.retired_at is None and seen.project_of(policy).facts(key.key_id)
    ]


def _as_far_as_seen(
    projects: Iterable[ProjectSeen], places: Iterable[PlaceSeen]
) -> tuple[tuple[ProjectSeen, ...], list[str]]:
    """The projects, and what is not known of those that have a place of which nobody knows which key it holds."""
    hidden: dict[tuple[str, str], list[str]] = {}
    for place in places:
        if place.view.reach is not Reach.OK or place.problem:
            hidden.setdefault((place.policy.provider, place.policy.project), []).append(place.name)
    seen, unknown = [], []
    for project in projects:
        names = hidden.get((project.provider, project.project), [])
        seen.append(replace(project, complete=project.complete and not names))
        if names and project.listed:
            unknown.append(
                f"{project.project}: which of its keys are shadow keys or orphans: which key these hold is not known: "
                + ", ".join(names)
            )
    return tuple(seen), unknown


def _schedules(journal: Journal) -> dict[str, Schedule]:
    return {
        name: Schedule(next_at=look.next_at, failures=look.failures, problem=look.problem)
        for name, look in journal.looks().items()
    }


def _abandoned(policies: Iterable[Policy], records: Mapping[str, PolicyRecord] | None) -> tuple[str, ...]:
    return tuple(set(records or {}) - {policy.name for policy in policies})


def _lying(views: Iterable[tuple[Policy, DestinationView]]) -> dict[Fingerprint, tuple[str, ...]]:
    found: dict[Fingerprint, tuple[str, ...]] = {}
    for _, view in views:
        if view.fingerprint:
            found[view.fingerprint] = (*found.get(view.fingerprint, ()), view.destination.name)
    return found
