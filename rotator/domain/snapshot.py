"""What a decision may look at: ``World`` is what was seen outside, beside it stands what the journal remembers.

No secret is in any of them, only fingerprints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rotator.domain.model import Destination, Identity, KeyFacts, PolicyRecord, Refused
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
    """

    destination: Destination
    reach: Reach = Reach.OK
    fingerprint: Fingerprint | None = None
    version: str = ""
    problem: str = ""
    retryable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What was seen outside, once, read-only.

    :param identities: what the provider says of each value that a destination of the policy holds.
    :param listed: the project's keys; ``None`` where the list was not needed.
    :param provider_problem: why the provider could not be asked; empty where it could.
    :param held_by_others: fingerprints that other policies' destinations hold, with the names of these; ``None``
        where these were not looked at.
    :param others_unknown: other policies' destinations of the same project that could not be looked at.
    """

    destinations: tuple[DestinationView, ...]
    identities: Mapping[Fingerprint, Identity | Refused] = field(default_factory=dict)
    listed: tuple[KeyFacts, ...] | None = None
    provider_problem: str = ""
    held_by_others: Mapping[Fingerprint, tuple[str, ...]] | None = None
    others_unknown: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[Fingerprint, ...]:
        """The different values that the destinations hold, in their order."""
        return tuple(dict.fromkeys(view.fingerprint for view in self.destinations if view.fingerprint))

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
