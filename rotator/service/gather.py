"""Gather: look at the world, read only, and ask no more than the next decision needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rotator.domain.model import Destination, Identity, KeyRecord, KeyState, Policy, PolicyRecord, Refused
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.domain.snapshot import DestinationView, Reach, World
from rotator.errors import BackendError, ProviderError, WrongDestination
from rotator.ports import Journal, KeyProvider, Observation, SecretBackend

OBSERVATION_MAX_AGE = timedelta(minutes=15)
"""How old what another policy's look has seen may be, to prove that a key is held nowhere else."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was seen, and beside it the secrets that the destinations hold: in memory, for this look only."""

    world: World
    secrets: Mapping[Fingerprint, SecretValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherer:
    """Looks at providers and backends through their ports.

    :param policies: all policies of the configuration: a key may lie in the destination of another one.
    """

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    journal: Journal
    policies: Sequence[Policy]

    def look(self, policy: Policy) -> Gathered:
        """Read every destination, and ask the provider about each different value that they hold.

        These are the values in use, so asking makes no idle key look used: a retiring key lies in no destination.
        """
        secrets: dict[Fingerprint, SecretValue] = {}
        views = tuple(self._view(destination, secrets) for destination in policy.destinations)
        identities, problem = self._identify(policy, secrets)
        world = World(destinations=views, identities=identities, provider_problem=problem)
        return Gathered(world, secrets)

    def complete(self, policy: Policy, record: PolicyRecord, gathered: Gathered, now: datetime) -> Gathered:
        """Add the provider's list and other policies' destinations, where the record makes them matter."""
        world = gathered.world
        if world.listed is None and not world.provider_problem and _needs_list(record, world, now):
            world = self._with_list(policy, world)
        if world.held_by_others is None and any(_may_be_ended(key, now) for key in record.keys):
            world = self._with_others(policy, world, now)
        return replace(gathered, world=world)

    def _view(self, destination: Destination, secrets: dict[Fingerprint, SecretValue]) -> DestinationView:
        try:
            held = self.backends(destination.backend).read(destination)
        except WrongDestination as error:
            return DestinationView(destination=destination, reach=Reach.WRONG, problem=str(error))
        except BackendError as error:
            return DestinationView(destination=destination, reach=Reach.UNREADABLE, problem=str(error))
        if held.value is None:
            return DestinationView(destination=destination, version=held.version)
        fingerprint = held.value.fingerprint()
        secrets[fingerprint] = held.value
        return DestinationView(destination=destination, fingerprint=fingerprint, version=held.version)

    def _identify(
        self, policy: Policy, secrets: Mapping[Fingerprint, SecretValue]
    ) -> tuple[dict[Fingerprint, Identity | Refused], str]:
        identities: dict[Fingerprint, Identity | Refused] = {}
        try:
            for fingerprint, secret in secrets.items():
                identities[fingerprint] = self.providers(policy.provider).identify(secret)
        except ProviderError as error:
            return identities, str(error)
        return identities, ""

    def _with_list(self, policy: Policy, world: World) -> World:
        try:
            listed = tuple(self.providers(policy.provider).list_keys(policy.project))
        except ProviderError as error:
            return replace(world, provider_problem=str(error))
        return replace(world, listed=listed)

    def _with_others(self, policy: Policy, world: World, now: datetime) -> World:
        seen = self.journal.observations(scope_of(policy), since=now - OBSERVATION_MAX_AGE)
        held: dict[Fingerprint, tuple[str, ...]] = {}
        unknown: list[str] = []
        for destination in self._others(policy):
            if destination.name in seen:
                fingerprint = seen[destination.name]
            else:
                view = self._view(destination, {})
                fingerprint = view.fingerprint
                if view.reach is not Reach.OK:
                    unknown.append(destination.name)
            if fingerprint:
                held[fingerprint] = (*held.get(fingerprint, ()), destination.name)
        return replace(world, held_by_others=held, others_unknown=tuple(unknown))

    def _others(self, policy: Policy) -> Iterable[Destination]:
        for other in self.policies:
            same_scope = other.project == policy.project and other.provider == policy.provider
            if same_scope and other.name != policy.name:
                yield from other.destinations


def scope_of(policy: Policy) -> str:
    """Where a policy's key can work at all: its provider and project."""
    return f"{policy.provider}/{policy.project}"


def observations_of(policy: Policy, world: World, now: datetime) -> list[Observation]:
    """What this look has seen, fit to be written down: fingerprints only of values known as keys."""
    return [
        Observation(
            destination=view.destination.name,
            scope=scope_of(policy),
            fingerprint=_known(world, view.fingerprint),
            seen_at=now,
        )
        for view in world.destinations
        if view.reach is Reach.OK
    ]


def may_be_revoked(key: KeyRecord, now: datetime) -> bool:
    """Whether this look may decide to revoke the key: what that takes must be asked."""
    if key.state is KeyState.RETIRING:
        return key.grace_until is None or key.grace_until <= now
    return key.state is KeyState.ORPHAN and (key.revoke_after is None or key.revoke_after <= now)


def _may_be_ended(key: KeyRecord, now: datetime) -> bool:
    """Whether this look may end the key's life, now or by an earlier expiration: nobody else may hold it then."""
    brought_forward = key.state is KeyState.RETIRING and not key.expiry_forwarded
    return key.fingerprint is not None and (brought_forward or may_be_revoked(key, now))


def _known(world: World, fingerprint: Fingerprint | None) -> Fingerprint | None:
    return fingerprint if fingerprint and isinstance(world.identities.get(fingerprint), Identity) else None


def _needs_list(record: PolicyRecord, world: World, now: datetime) -> bool:
    if record.open_intents or any(may_be_revoked(key, now) for key in record.keys):
        return True
    if not all(view.fingerprint for view in world.destinations):
        return True  # a first key is due: the list shows that project and management key are right
    current = record.current
    for fingerprint in world.held:
        identity = world.identities.get(fingerprint)
        if isinstance(identity, Refused):
            if record.by_fingerprint(fingerprint):
                return True
        elif current is None or current.fingerprint != fingerprint:
            return True
    return False
