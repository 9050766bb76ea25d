"""Gather: look at the world, read only, and ask no more than the next decision needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rotator.domain.key_checks import ASK_AGAIN
from rotator.domain.model import Destination, Identity, Policy, Refused
from rotator.domain.naming import is_name_of
from rotator.domain.record import KeyRecord, KeyState, Origin, PolicyRecord
from rotator.domain.rollback import former_key
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.domain.snapshot import Claim, DestinationView, Reach, World
from rotator.errors import BackendError, ProviderError
from rotator.ports import Journal, KeyProvider, Observation, SecretBackend
from rotator.service.view import view_of

OBSERVATION_MAX_AGE = timedelta(minutes=2)
"""How old what another policy's look has seen may be, to prove that a key is held nowhere else.

So a pass over hundreds of policies of one project does not read each place hundreds of times. Nothing from before this
process began is believed: the journal may have been replaced by an older copy meanwhile.
"""

_CLAIMING = frozenset({KeyState.CURRENT, KeyState.CANDIDATE, KeyState.RETIRING})


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was seen, and beside it the secrets that the destinations hold: in memory, for this look only.

    :param is_new: no decision was made of it yet.
    """

    world: World
    secrets: Mapping[Fingerprint, SecretValue] = field(default_factory=dict)
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherer:
    """Looks at providers and backends through their ports.

    :param policies: all policies of the configuration: a key may lie in the destination of another one.
    :param began_at: what others have seen before is not believed.
    :param pulse: called before each question outside: many slow ones take longer than a lease lasts.
    """

    providers: Callable[[str], KeyProvider]
    backends: Callable[[str], SecretBackend]
    journal: Journal
    policies: Sequence[Policy]
    began_at: datetime
    pulse: Callable[[], None] = lambda: None

    def beating(self, pulse: Callable[[], None]) -> Gatherer:
        """The same one, for a look whose lease must be kept. What ``pulse`` raises ends the look."""
        return replace(self, pulse=pulse)

    def look(self, policy: Policy) -> Gathered:
        """Read every destination, and ask the provider about each different value that they hold.

        These are the values in use, so asking makes no idle key look used: a retiring key lies in no destination.
        """
        secrets: dict[Fingerprint, SecretValue] = {}
        views = tuple(self._view(destination, secrets) for destination in policy.destinations)
        identities, problem = self._identify(policy, secrets)
        world = World(destinations=views, identities=identities, provider_problem=problem, skew=self._skew(policy))
        return Gathered(world, secrets)

    def complete(self, policy: Policy, record: PolicyRecord, gathered: Gathered, now: datetime) -> Gathered:
        """Add the provider's list and other policies' destinations, where the record makes them matter."""
        world = gathered.world
        can_list = not policy.assisted and world.listed is None and not world.provider_problem
        if can_list and (_needs_list(record, world, now) or (gathered.is_new and self._is_long_ago(policy, now))):
            world = self._with_list(policy, world)
        ending = [key for key in record.keys if _may_be_ended(key, now)]
        if any(key.key_id not in world.claims for key in ending):  # one may have begun to retire in this very look
            world = self._with_others(policy, ending, world, now)
        untold = [key for key in ending if may_be_revoked(key, now) and _use_is_untold(policy, world, key)]
        if untold:
            world = self._with_use(policy, untold, replace(gathered, world=world))
        return replace(gathered, world=world, is_new=False)

    def _is_long_ago(self, policy: Policy, now: datetime) -> bool:
        """Whether the list is read without another cause: at a process's first look, and once a day.

        So whatever became of the journal, by a restored copy for one, no key of ours stays unknown for longer.
        """
        last = self.journal.look(policy.name)
        if last is None or last.ok_at is None:
            return True
        return last.ok_at < self.began_at or last.ok_at.date() != now.date()

    def _view(self, destination: Destination, secrets: dict[Fingerprint, SecretValue]) -> DestinationView:
        self.pulse()
        return view_of(destination, self.backends, secrets)

    def _identify(
        self, policy: Policy, secrets: Mapping[Fingerprint, SecretValue]
    ) -> tuple[dict[Fingerprint, Identity | Refused], str]:
        identities: dict[Fingerprint, Identity | Refused] = {}
        try:
            for fingerprint, secret in secrets.items():
                self.pulse()
                identities[fingerprint] = self.providers(policy.provider).identify(secret)
        except (ProviderError, BackendError) as error:  # a backend's, where that holds the management key
            return identities, str(error)
        return identities, ""

    def _with_list(self, policy: Policy, world: World) -> World:
        self.pulse()
        try:
            rows = self.providers(policy.provider).list_keys(policy.project)
            listed = tuple({facts.key_id: facts for facts in rows}.values())
        except (ProviderError, BackendError) as error:
            return replace(world, provider_problem=str(error))
        return replace(world, listed=listed, skew=self._skew(policy))

    def _skew(self, policy: Policy) -> timedelta | None:
        try:
            return self.providers(policy.provider).skew()
        except (ProviderError, BackendError):  # it can't even be made; the look has said so already
            return None

    def _with_others(self, policy: Policy, ending: Sequence[KeyRecord], world: World, now: datetime) -> World:
        """What other policies hold and remember of keys that may end now."""
        since = max(now - OBSERVATION_MAX_AGE, self.began_at)
        others = self._others(policy, {policy.project, *(key.project for key in ending)})
        seen: dict[str, Observation] = {}
        for scope in {scope_of(other) for other in others}:
            seen.update(self.journal.observations(scope, since=since))
        by_id = any(key.fingerprint is None for key in ending)  # found by its name: only the provider knows its value
        held: dict[Fingerprint, tuple[str, ...]] = {}
        ids: dict[str, tuple[str, ...]] = {}
        unknown: list[str] = []
        away: set[str] = set()  # backends that did not answer: one of them must not be waited for again and again
        for other, destination in ((one, place) for one in others for place in one.destinations):
            found = seen.get(destination.name)
            if found is None or (by_id and found.fingerprint and not found.key_id):
                is_away = destination.backend in away
                found = None if is_away else self._observe(other, destination, by_id=by_id, now=now)
            if found is None:
                away.add(destination.backend)
                unknown.append(destination.name)
            elif found.fingerprint:
                held[found.fingerprint] = (*held.get(found.fingerprint, ()), destination.name)
                ids[found.key_id] = (*ids.get(found.key_id, ()), destination.name)
        for one in self._seen_elsewhere(policy, ending, others):
            if one.fingerprint:
                held[one.fingerprint] = (*held.get(one.fingerprint, ()), one.destination)
        claims = {key.key_id: self._claims(policy, key, now) for key in ending}
        return replace(world, held_by_others=held, ids_held_by_others=ids, others_unknown=tuple(unknown), claims=claims)

    def _observe(self, other: Policy, destination: Destination, *, by_id: bool, now: datetime) -> Observation | None:
        """One look at another policy's destination; ``None`` where it can't be looked at.

        What lies there is shown to that policy's own provider alone.
        """
        secrets: dict[Fingerprint, SecretValue] = {}
        view = self._view(destination, secrets)
        if view.reach is not Reach.OK:
            return None
        key_id = ""
        if by_id and view.fingerprint:
            identities, problem = self._identify(other, secrets)
            if problem:
                return None
            identity = identities[view.fingerprint]
            key_id = identity.key_id if isinstance(identity, Identity) else ""
        return Observation(
            destination=destination.name,
            scope=scope_of(other),
            fingerprint=view.fingerprint,
            seen_at=now,
            key_id=key_id,
        )

    def _seen_elsewhere(self, policy: Policy, keys: Sequence[KeyRecord], others: Sequence[Policy]) -> list[Observation]:
        """Destinations of other projects that held one of the keys when they were last looked at.

        A key works in its project alone, wherever a person has copied it to. That is rare, so these places are not
        read anew: one of them that hangs must not hold up the policies of every project.
        """
        if len(others) >= len(self.policies) - 1:
            return []
        seen = self.journal.seen_holding(
            [key.key_id for key in keys], [key.fingerprint for key in keys if key.fingerprint]
        )
        if not seen:  # nearly always: the names of thousands of places are not gathered for nothing
            return []
        beside = {policy.name, *(other.name for other in others)}
        elsewhere = {d.name for other in self.policies if other.name not in beside for d in other.destinations}
        return [one for one in seen if one.destination in elsewhere]

    def _claims(self, policy: Policy, key: KeyRecord, now: datetime) -> tuple[Claim, ...]:
        records = self.journal.others_with(key.key_id, policy.name)
        configured = {other.name for other in self.policies} if records else set()
        recorded = (_claim(record, key.key_id, now) for record in records if record.policy in configured)
        return (*(claim for claim in recorded if claim), *self._claims_by_name(policy, key, now))

    def _claims_by_name(self, policy: Policy, key: KeyRecord, now: datetime) -> list[Claim]:
        """After the journal was lost: of a policy that knows no key yet, and whose key this was by its name."""
        return [
            Claim(policy=other.name, until=now + ASK_AGAIN)
            for other in self.policies
            if other.name != policy.name
            and scope_of(other) == scope_of(policy)
            and is_name_of(key.name, other.instance, other.name)
            and self.journal.load(other.name).current is None
        ]

    def _with_use(self, policy: Policy, keys: Sequence[KeyRecord], gathered: Gathered) -> World:
        """Ask for billed use where the list tells none. It can hold a revocation back, never justify one."""
        world = gathered.world
        asking = next(((f, identity) for f in world.held if (identity := world.identity(f))), None)
        since = min(key.grace_until or key.since for key in keys) - policy.quiet
        try:
            if asking is None:
                return world
            fingerprint, identity = asking
            self.pulse()
            used = self.providers(policy.provider).used_until(
                [key.key_id for key in keys], since, gathered.secrets[fingerprint], identity.organization
            )
        except (ProviderError, BackendError) as error:
            return replace(world, use_problem=str(error))
        return replace(world, used_until={**world.used_until, **used})

    def _others(self, policy: Policy, projects: Collection[str]) -> list[Policy]:
        """In whose places keys of these projects can be used; a policy's project may have been changed since."""
        return [other for other in self.policies if other.project in projects and other.name != policy.name]


def scope_of(policy: Policy) -> str:
    """Where a policy's key can work at all: its provider and project."""
    return f"{policy.provider}/{policy.project}"


def observations_of(policy: Policy, record: PolicyRecord, world: World, now: datetime) -> list[Observation]:
    """What this look has seen, fit to be written down: fingerprints only of values known as keys.

    What the provider was not asked about is not written down: it would look as if no key were there.
    """
    return [
        Observation(
            destination=view.destination.name,
            scope=scope_of(policy),
            fingerprint=_known(record, world, view.fingerprint),
            seen_at=now,
            key_id=identity.key_id if (identity := world.identity(view.fingerprint)) else "",
        )
        for view in world.destinations
        if view.reach is Reach.OK and (view.fingerprint is None or view.fingerprint in world.identities)
    ]


def may_be_revoked(key: KeyRecord, now: datetime) -> bool:
    """Whether this look may decide to revoke the key: what that takes must be asked."""
    if key.state is KeyState.RETIRING:
        return key.grace_until is None or key.grace_until <= now
    return key.state is KeyState.ORPHAN and (key.revoke_after is None or key.revoke_after <= now)


def _may_be_ended(key: KeyRecord, now: datetime) -> bool:
    """Whether this look may end the key's life, now or by an earlier expiration: nobody else may hold it then."""
    return _is_brought_forward(key) or may_be_revoked(key, now)


def _is_brought_forward(key: KeyRecord) -> bool:
    """Whether this look may give it an earlier expiration."""
    return key.state is KeyState.RETIRING and not key.expiry_forwarded


def _claim(record: PolicyRecord, key_id: str, now: datetime) -> Claim | None:
    """What another policy that has the key, or had it, asks for."""
    theirs = record.key(key_id)
    if theirs is not None:
        until = None if _is_needed(record, theirs, now) else theirs.grace_until
        return Claim(policy=record.policy, until=until) if theirs.state in _CLAIMING else None
    if record.has_found(key_id):
        return Claim(policy=record.policy, until=None)
    return Claim(policy=record.policy, until=record.taken_out[key_id]) if record.has_lost(key_id, now) else None


def _is_needed(record: PolicyRecord, key: KeyRecord, now: datetime) -> bool:
    """Whether a policy needs the key beyond its grace: it is no replaced one, on hold, or about to be put back."""
    put_back = record.rollback is not None and former_key(record) == key
    return key.state is not KeyState.RETIRING or bool(record.held(now)) or put_back


def _use_is_untold(policy: Policy, world: World, key: KeyRecord) -> bool:
    """Whether no list tells a use of the key: there is none, it was not used, or the provider's list never says."""
    if policy.assisted:
        return key.may_be_in_use and key.revocation is None
    facts = world.facts(key.key_id)
    return key.may_be_in_use and facts is not None and facts.last_used_at is None


def _known(record: PolicyRecord, world: World, fingerprint: Fingerprint | None) -> Fingerprint | None:
    if fingerprint is None or world.identity(fingerprint) or record.by_fingerprint(fingerprint):
        return fingerprint
    return None


def _needs_list(record: PolicyRecord, world: World, now: datetime) -> bool:
    if record.current is None or record.open_intents or any(may_be_revoked(key, now) for key in record.keys):
        return True  # without a current key, this is the first look, or the journal was lost
    if not all(view.fingerprint for view in world.destinations):
        return True  # a first key is due: the list shows that project and management key are right
    current = record.current
    for fingerprint in world.held:
        identity = world.identities.get(fingerprint)
        if identity is None:
            continue
        if isinstance(identity, Refused):
            return (
                True  # ended by others, or never a key: who knows what else has happened since the journal was written
            )
        if current is None or current.fingerprint != fingerprint or current.key_id != identity.key_id:
            return True
    if any(key.origin is Origin.ISSUED and _is_brought_forward(key) for key in record.keys):
        return True  # its name there says whether it is still ours to end
    # A key of ours that the journal had lost: perhaps a creation that comes late, too.
    return current.origin is Origin.ISSUED and not current.rotation_id
