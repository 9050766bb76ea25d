"""What a decision may look at: ``World`` is what was seen outside, beside it stands what the journal remembers.

No secret is in any of them, only fingerprints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from rotator.domain.model import Destination, Identity, KeyFacts, Refused
from rotator.domain.record import KeyRecord, PolicyRecord
from rotator.domain.secret import Fingerprint


class Reach(StrEnum):
    """Whether a destination could be looked at."""

    OK = "ok"
    UNREADABLE = "unreadable"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationView:
    """What was seen of one destination, without the secret.

    :param fingerprint: of the value that it holds; ``None`` where it is empty or was not read.
    :param problem: why it could not be read, or is the wrong one.
    :param hints: what lies beside the value, as text pairs.
    :param written: when and by whom it was written last, fit for people; empty where the backend does not tell.
    """

    destination: Destination
    reach: Reach = Reach.OK
    fingerprint: Fingerprint | None = None
    version: str = ""
    problem: str = ""
    retryable: bool = True
    hints: Mapping[str, str] = field(default_factory=dict)
    written: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Another policy's record of a key: it was copied, or was in use before both were managed.

    :param until: retiring there: its grace; ``None`` where it is the current key or a candidate.
    """

    policy: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What was seen outside, once, read-only.

    :param identities: what the provider says of each value that a destination of the policy holds.
    :param listed: the project's keys; ``None`` where the list was not needed.
    :param provider_problem: why the provider could not be asked; empty where it could.
    :param held_by_others: fingerprints that other policies' destinations hold, with the names of these; ``None``
        where these were not looked at.
    :param ids_held_by_others: the same by key id, as far as the provider was asked.
    :param others_unknown: other policies' destinations of the same project that could not be looked at.
    :param claims: key id to what other policies remember of that key.
    :param used_until: key id to the end of the last hour in which the provider billed its use.
    :param use_problem: why billed use could not be asked for; empty where it could, or was not needed.
    :param skew: the provider's clock minus ours; ``None`` where it did not tell.
    """

    destinations: tuple[DestinationView, ...]
    identities: Mapping[Fingerprint, Identity | Refused] = field(default_factory=dict)
    listed: tuple[KeyFacts, ...] | None = None
    provider_problem: str = ""
    held_by_others: Mapping[Fingerprint, tuple[str, ...]] | None = None
    ids_held_by_others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others_unknown: tuple[str, ...] = ()
    claims: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict)
    used_until: Mapping[str, datetime] = field(default_factory=dict)
    use_problem: str = ""
    skew: timedelta | None = None

    @property
    def held(self) -> tuple[Fingerprint, ...]:
        """The different values that the destinations hold, in their order."""
        return tuple(dict.fromkeys(view.fingerprint for view in self.destinations if view.fingerprint))

    def identity(self, fingerprint: Fingerprint | None) -> Identity | None:
        """Which key the provider says that value is; ``None`` where it refused it, or was not asked."""
        answer = self.identities.get(fingerprint) if fingerprint else None
        return answer if isinstance(answer, Identity) else None

    @property
    def held_ids(self) -> frozenset[str]:
        """The ids of the keys that the destinations hold, as the provider says."""
        return frozenset(identity.key_id for value in self.held if (identity := self.identity(value)))

    def last_use(self, key_id: str) -> datetime | None:
        """When the provider says that the key was used last, as far as it tells."""
        facts = self.facts(key_id)
        uses = (facts.last_used_at if facts else None, self.used_until.get(key_id))
        return max((use for use in uses if use), default=None)

    def holders(self, key: KeyRecord) -> tuple[str, ...]:
        """Names of the destinations, of any policy, that hold the key: by its fingerprint, or as the provider says."""
        here = (
            view.destination.name
            for view in self.destinations
            if view.fingerprint is not None and (view.fingerprint == key.fingerprint or self._is(view, key))
        )
        by_value = (self.held_by_others or {}).get(key.fingerprint, ()) if key.fingerprint else ()
        return tuple(dict.fromkeys((*here, *by_value, *self.ids_held_by_others.get(key.key_id, ()))))

    def _is(self, view: DestinationView, key: KeyRecord) -> bool:
        identity = self.identity(view.fingerprint)
        return identity is not None and identity.key_id == key.key_id

    def facts(self, key_id: str) -> KeyFacts | None:
        """The list's row of that key, or ``None``."""
        return next((facts for facts in self.listed or () if facts.key_id == key_id), None)

    def beside(self, record: PolicyRecord) -> Snapshot:
        """Both halves together."""
        return Snapshot(world=self, record=record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a decision may look at."""

    world: World
    record: PolicyRecord
