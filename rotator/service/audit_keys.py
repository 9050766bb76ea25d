"""Which key each destination holds, without making an idle key look used; and when keys were used last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from rotator.domain.audit.seen import PlaceSeen, ProjectSeen, Proof
from rotator.domain.model import Identity, KeyFacts, KeyKind, Policy, Refused
from rotator.domain.naming import is_name_of
from rotator.domain.record import KeyRecord, KeyState, Origin, PolicyRecord
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.domain.snapshot import DestinationView
from rotator.errors import BackendError, ProviderError
from rotator.ports import KeyProvider

_One = TypeVar("_One")
_Result = TypeVar("_Result")
_Answer = Identity | Refused | str
"""``str``: why there is no answer."""

_IN_USE = frozenset({KeyState.CURRENT, KeyState.CANDIDATE})


def side_by_side(
    todo: Sequence[_One], look: Callable[[_One], _Result], workers: int, *, lane: Callable[[_One], str]
) -> list[_Result]:
    """The result of each, in their order; each lane has its own threads."""
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(ThreadPoolExecutor(min(workers, number), thread_name_prefix="audit"))
            for name, number in Counter(map(lane, todo)).items()
        }
        return [future.result() for future in [pools[lane(one)].submit(look, one) for one in todo]]


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """Tells which keys destinations hold.

    :param records: what the journal remembers; ``None`` without one.
    :param lists: provider and project to the list of its keys.
    :param secrets: the values, by fingerprint.
    """

    providers: Callable[[str], KeyProvider]
    records: Mapping[str, PolicyRecord] | None
    lists: Mapping[tuple[str, str], ProjectSeen]
    secrets: Mapping[Fingerprint, SecretValue]
    workers: int

    def places(self, views: Sequence[tuple[Policy, DestinationView]]) -> tuple[PlaceSeen, ...]:
        """Each destination with its key; the provider is asked once about each value that nothing else explains."""
        explained = [self._explained(policy, view) for policy, view in views]
        asking = dict.fromkeys(
            (place.policy.provider, place.view.fingerprint)
            for place in explained
            if place.proof is Proof.NONE and place.view.fingerprint
        )
        answers = dict(
            zip(asking, side_by_side(list(asking), self._ask, self.workers, lane=lambda one: one[0]), strict=True)
        )
        return tuple(_answered(place, answers) for place in explained)

    def organizations(self, places: Iterable[PlaceSeen]) -> dict[str, str]:
        """Project to its organisation, where a stranger's key makes it matter. At most one question for each."""
        places = tuple(places)
        found = {
            answer.project: answer.organization
            for place in places
            if isinstance(answer := place.answer, Identity) and answer.project and answer.organization
        }
        strangers = [p for p in places if isinstance(p.answer, Identity) and p.answer.project != p.policy.project]
        for policy in {place.policy.project: place.policy for place in strangers}.values():
            ours = next((p for p in places if p.proof is Proof.LISTED and p.policy.project == policy.project), None)
            if policy.project in found or ours is None or ours.view.fingerprint is None:
                continue
            told = self._ask((policy.provider, ours.view.fingerprint))
            if isinstance(told, Identity) and told.organization:
                found[policy.project] = told.organization
        return found

    def _explained(self, policy: Policy, view: DestinationView) -> PlaceSeen:
        """What the journal and the list say of a value; without a proof where the provider must be asked."""
        fingerprint = view.fingerprint
        if fingerprint is None:
            return PlaceSeen(policy=policy, view=view)
        key = self._recorded.get(fingerprint)
        if key is not None and key.state is KeyState.RETIRING:
            kind = KeyKind.LEGACY if key.origin is Origin.LEGACY else None
            legacy = Identity(kind=kind, key_id=key.key_id, project=None) if kind else None
            return PlaceSeen(policy=policy, view=view, proof=Proof.RECORDED, key_id=key.key_id, answer=legacy)
        if key is not None and self._is_listed(policy, key):
            answer = Identity(kind=KeyKind.PROJECT, key_id=key.key_id, project=key.project)
            return PlaceSeen(policy=policy, view=view, proof=Proof.LISTED, key_id=key.key_id, answer=answer)
        hinted = self._hinted(policy, view) if self.records is None else ""
        if hinted:
            return PlaceSeen(policy=policy, view=view, proof=Proof.HINTED, key_id=hinted)
        return PlaceSeen(policy=policy, view=view, key_id=key.key_id if key else "")

    @cached_property
    def _recorded(self) -> Mapping[Fingerprint, KeyRecord]:
        """By value. Where several policies know it, one that still needs it counts."""
        found: dict[Fingerprint, KeyRecord] = {}
        for record in (self.records or {}).values():
            for key in record.keys:
                if key.fingerprint and (key.fingerprint not in found or key.state in _IN_USE):
                    found[key.fingerprint] = key
        return found

    def _is_listed(self, policy: Policy, key: KeyRecord) -> bool:
        project = self.lists.get((policy.provider, key.project))
        return project is not None and project.facts(key.key_id) is not None

    def _hinted(self, policy: Policy, view: DestinationView) -> str:
        """Without a journal: the id of a key that may be in its grace, because the list has a younger one of ours."""
        key_id = view.hints.get("key_id", "")
        if not key_id or view.hints.get("fingerprint") != view.fingerprint:
            return ""
        project = self.lists.get((policy.provider, policy.project))
        own = project.facts(key_id) if project else None
        if project is None or own is None:
            return ""
        return key_id if any(_is_younger(one, own, policy) for one in project.listed or ()) else ""

    def _ask(self, what: tuple[str, Fingerprint]) -> _Answer:
        provider, fingerprint = what
        try:
            return self.providers(provider).identify(self.secrets[fingerprint])
        except (ProviderError, BackendError) as error:
            return str(error)


def withheld(places: Iterable[PlaceSeen]) -> list[str]:
    """What was not asked, because asking counts as use."""
    return [
        f"{place.name}: whether the provider accepts {place.key_id} was not asked: it may be in its grace, and the "
        "question would count as use"
        for place in places
        if place.proof is Proof.HINTED or (place.proof is Proof.RECORDED and place.answer is None)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What is known of the use of keys.

    :param until: key id to the end of its last use.
    :param unknown: ids of keys of which nobody tells whether they are used.
    :param gaps: why, a sentence each.
    """

    until: Mapping[str, datetime]
    unknown: frozenset[str]
    gaps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Asks for billed use, where the lists tell none.

    :param since: earlier use does not matter.
    """

    providers: Callable[[str], KeyProvider]
    secrets: Mapping[Fingerprint, SecretValue]
    since: datetime

    def of(self, projects: Iterable[ProjectSeen], places: Iterable[PlaceSeen]) -> Used:
        """What could be known of it."""
        asking = {
            (place.policy.provider, place.policy.project): place
            for place in places
            if isinstance(place.answer, Identity) and place.answer.project == place.policy.project
        }
        used: dict[str, datetime] = {}
        gaps: list[str] = []
        unknown: set[str] = set()
        for project in projects:
            untold = [facts.key_id for facts in project.listed or () if self._is_untold(facts)]
            if not untold:
                continue
            place = asking.get((project.provider, project.project))
            found = self._ask(place, untold) if place else "no key to ask with lies in a destination"
            if isinstance(found, str):
                unknown.update(untold)
                gaps.append(f"{project.project}: when {len(untold)} of its keys were used last is not known: {found}")
            else:
                used |= found
        return Used(until=used, unknown=frozenset(unknown), gaps=tuple(gaps))

    def _is_untold(self, facts: KeyFacts) -> bool:
        """A key that is old enough to matter, and of which the list tells no use."""
        return facts.last_used_at is None and (facts.created_at is None or facts.created_at <= self.since)

    def _ask(self, place: PlaceSeen, key_ids: Sequence[str]) -> Mapping[str, datetime] | str:
        answer, fingerprint = place.answer, place.view.fingerprint
        assert fingerprint is not None, "what was identified was read"
        organization = answer.organization if isinstance(answer, Identity) else None
        try:
            provider = self.providers(place.policy.provider)
            return provider.used_until(key_ids, self.since, self.secrets[fingerprint], organization)
        except (ProviderError, BackendError) as error:
            return str(error)


def _answered(place: PlaceSeen, answers: Mapping[tuple[str, Fingerprint], _Answer]) -> PlaceSeen:
    fingerprint = place.view.fingerprint
    if place.proof is not Proof.NONE or fingerprint is None:
        return place
    answer = answers[place.policy.provider, fingerprint]
    if isinstance(answer, str):
        return PlaceSeen(policy=place.policy, view=place.view, key_id=place.key_id, problem=answer)
    key_id = answer.key_id if isinstance(answer, Identity) else place.key_id
    return PlaceSeen(policy=place.policy, view=place.view, proof=Proof.ASKED, key_id=key_id, answer=answer)


def _is_younger(one: KeyFacts, than: KeyFacts, policy: Policy) -> bool:
    if one.key_id == than.key_id or not is_name_of(one.name, policy.instance, policy.name):
        return False
    return one.created_at is None or than.created_at is None or one.created_at > than.created_at
