"""The contracts between the service and the world. Adapters implement them; each has one contract suite.

All calls are synchronous, bounded in time by the adapter, and safe to make from several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, runtime_checkable

from rotator.domain.audit.surroundings import Granted
from rotator.domain.events import Event
from rotator.domain.model import Destination, Held, Identity, IssuedKey, KeyFacts, KeyMetadata, Refused
from rotator.domain.record import PolicyRecord
from rotator.domain.secret import Fingerprint, SecretValue


class KeyProvider(Protocol):
    """Issues and revokes API keys.

    Reads raise ``ProviderUnavailable`` after their own bounded retries. A changing call is sent once; it raises
    ``OutcomeUnknown`` when it may have been carried out, and any other ``ProviderError`` only when it was not.
    """

    def create_key(self, project: str, name: str, expires_at: datetime) -> IssuedKey:
        """Create a key. Never repeated: a second call makes a second key."""
        ...

    def list_keys(self, project: str) -> Sequence[KeyFacts]:
        """Every live key of the project, all pages."""
        ...

    def set_expiration(self, project: str, key_id: str, expires_at: datetime | None) -> None:
        """Set a key's expiration date, or take it away. Safe to repeat. ``ProviderRejected`` without such a key."""
        ...

    def revoke_key(self, project: str, key_id: str) -> None:
        """Revoke a key for ever. Safe to repeat: a key that is gone already is a success."""
        ...

    def identify(self, secret: SecretValue) -> Identity | Refused:
        """Ask the provider which key this is (whoami). Counts as a use of the key.

        ``Refused`` only when the provider said that it does not accept the secret (or when the text can't be
        sent at all); every other failure raises.
        """
        ...

    def used_until(
        self, key_ids: Collection[str], since: datetime, as_key: SecretValue, organization: str | None
    ) -> Mapping[str, datetime]:
        """For each of these keys that was billed since then: the end of the last period with its use.

        A hint only: use shows up late, and not every use is billed. Empty where the provider has no such figures.

        :param as_key: a key of that organisation, to ask with.
        """
        ...

    def skew(self) -> timedelta | None:
        """The provider's clock minus ours, as its last answer told; ``None`` where none did."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class SecretBackend(Protocol):
    """A place where secrets live.

    Reads raise ``BackendUnavailable``, ``BackendDenied`` or ``WrongDestination``. ``write`` raises besides
    ``VersionConflict`` (nothing was written) and ``OutcomeUnknown`` (it may have been).
    """

    def read(self, destination: Destination) -> Held:
        """What the destination holds now. A missing secret or field is ``Held(value=None, ...)``, no error."""
        ...

    def read_previous(self, destination: Destination) -> SecretValue | None:
        """The value before the current one, where the backend keeps it; ``None`` otherwise."""
        ...

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:
        """What the backend says of where this is, to compare with the policy's ``expect``.

        A text for each name that it can answer: ``account``, ``region``; ``namespace``, ``cluster_name``; ``hostname``.
        """
        ...

    def check_writable(self, destination: Destination) -> None:
        """Raise what a ``write`` would raise, as far as it can be known without changing anything."""
        ...

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """Compare and set: put ``value`` where ``read`` gave the version ``expected``, or raise ``VersionConflict``.

        Everything else that lies in the same place is kept. ``metadata.rotation_id`` is the idempotency token: a
        repeat with the same value succeeds, and completes the metadata. After ``OutcomeUnknown`` the value may be
        there, with its metadata or without: read, and write again.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


@runtime_checkable
class Destroyer(Protocol):
    """What a ``SecretBackend`` can besides, if it is fit for an inbox: a place where people put new keys."""

    def read(self, destination: Destination) -> Held:
        """See ``SecretBackend``."""
        ...

    def destroy(self, destination: Destination, expected: str) -> None:
        """Destroy for ever what ``read`` gave with the version ``expected``, and all that lay there before.

        The whole secret that the destination is a field of, every version of it. Safe to repeat. ``VersionConflict``
        where something newer lies there: that stays, and is to be looked at. Raises besides what ``write`` raises.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place that a listing has found: a secret, or a file. Its fields are not read yet.

    :param options: as a destination of the configuration names it, without ``backend`` and ``field``.
    :param name: for people, without the backend's: ``secret/apps/chat``.
    """

    options: tuple[tuple[str, str], ...]
    name: str


@dataclass(frozen=True, slots=True)
class Listed:
    """What a listing has found. ``problems``: name and reason of what could not be listed; the rest is complete."""

    spots: tuple[Spot, ...]
    problems: tuple[tuple[str, str], ...] = ()


@runtime_checkable
class Listing(Protocol):
    """What lies in a backend, for a first inventory. It lists and reads, and changes nothing.

    Not every ``SecretBackend`` has it. Patterns are paths; in each part ``*``, ``?`` and ``[...]`` mean what they mean
    to a shell, and a part ``**`` stands for any number of parts, also none.
    """

    def places(self, pattern: str) -> Listed:
        """Every place whose name matches, in the order of their names; each once.

        A pattern without wildcards is that one place, listed without asking.

        :raises BackendError: nothing could be listed.
        """
        ...

    def fields(self, spot: Spot) -> Mapping[str, SecretValue]:
        """Every field of the place that is a text, and not empty. A text without fields has the one name ``""``.

        :raises BackendError: it can't be read, or is nothing that has fields.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to move one policy's rotation forward.

    :param token: the fencing token: grows with every taking; the journal refuses an older one.
    :param ttl: after how much silence of its holder it is free.
    """

    policy: str
    holder: str
    token: int
    ttl: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """When a policy is looked at next, and what the last look saw.

    :param digest: the policy's configuration at that look; another one makes the policy due at once.
        Empty where it is due by every host's clock: something was asked for since, say.
    :param failures: looks in a row that ended in an error.
    :param problem: the last error, fit for people; empty when the last look was fine.
    :param alerts: what a person should hear of: pairs of a check's name and its reason.
    :param ok_at: when a look was fine last, this one or one before it; the journal knows it.
    """

    next_at: datetime
    digest: str
    failures: int = 0
    problem: str = ""
    alerts: tuple[tuple[str, str], ...] = ()
    ok_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How the work on a policy went: when a look was fine last, when one failed, until when somebody has its lease."""

    ok_at: datetime | None = None
    failed_at: datetime | None = None
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a destination held when it was last read.

    :param scope: provider and project of its policy: a key never works outside, so only there it matters.
    :param fingerprint: ``None`` where it held nothing that the provider knows as a key.
    :param key_id: of that key; empty where there is none, or it was not written down.
    """

    destination: str
    scope: str
    fingerprint: Fingerprint | None
    seen_at: datetime
    key_id: str = ""


class Begun(NamedTuple):
    """How many policies began a rotation, and how many of these have failed at their last look."""

    policies: int
    failing: int


class Journal(Protocol):
    """The rotator's own durable memory. Never a secret.

    Every call raises ``JournalUnavailable`` when it can't be carried out. What returned is durable.
    """

    def load(self, policy: str) -> PolicyRecord:
        """What is remembered of a policy; an empty record where there is nothing."""
        ...

    def records(self) -> Mapping[str, PolicyRecord]:
        """What is remembered of every policy, in one query."""
        ...

    def looks(self) -> Mapping[str, Look]:
        """The schedule of every policy that was ever looked at, in one query."""
        ...

    def works(self) -> Mapping[str, Work]:
        """How the work on every policy went, in one query."""
        ...

    def look(self, policy: str) -> Look | None:
        """The schedule of one policy; ``None`` when it was never looked at."""
        ...

    def acquire(self, policy: str, holder: str, now: datetime, ttl: timedelta) -> Lease:
        """Take the policy's lease, or raise ``LeaseHeld``. Every ``append`` by the holder prolongs it.

        A lease is free when it was released, has run out, or its holder is a process that is known to be dead. One
        that runs out later than its holder can have meant was taken before the clock stepped back: it is free too.
        """
        ...

    def taken(self, lease: Lease) -> PolicyRecord:
        """What was remembered when ``acquire`` gave the lease, without asking again: the beginning of a look.

        What an operator asks for meanwhile comes with the first ``append``, or makes the policy due after the look.
        """
        ...

    def renew(self, lease: Lease, now: datetime) -> None:
        """Prolong the lease, or raise ``LeaseLost``: the heartbeat of work that records nothing for a while."""
        ...

    def release(self, lease: Lease) -> None:
        """Give the lease back; a lease that was lost meanwhile is no error."""
        ...

    def append(self, lease: Lease, events: Sequence[Event], now: datetime) -> PolicyRecord:
        """Record events and the state that they make, in one transaction; ``LeaseLost`` when fenced off."""
        ...

    def note_look(
        self, lease: Lease, look: Look, seen: Sequence[Observation], *, known: PolicyRecord, now: datetime
    ) -> None:
        """Record the end of a look, and give the lease back; ``LeaseLost`` when fenced off.

        Where the record is no longer the ``known`` one, somebody asked for something: the policy is due ``now``, and
        by every other clock.
        """
        ...

    def observations(self, scope: str, since: datetime) -> Mapping[str, Observation]:
        """By destination name, what each of that provider and project was seen to hold at ``since`` or later."""
        ...

    def others_with(self, key_id: str, policy: str) -> Sequence[PolicyRecord]:
        """The records of other policies that have that key, whose rotation in flight found it, or that lost it."""
        ...

    def begun_since(self, moment: datetime, besides: str) -> Begun:
        """How many policies besides that one began a rotation at ``moment`` or later that nobody had asked for."""
        ...

    def seen_holding(self, key_ids: Sequence[str], fingerprints: Sequence[Fingerprint]) -> Sequence[Observation]:
        """Which destinations held one of these keys when they were last looked at, however long ago."""
        ...

    def request(self, policy: str, event: Event, now: datetime) -> None:
        """Record what an operator asked for, beside whoever holds the lease, and make the policy due.

        By the clock of every host: that of the one where it is asked for may be ahead.
        """
        ...

    def close(self) -> None:
        """Give back connections and files."""
        ...


@runtime_checkable
class TellsRights(Protocol):
    """What a ``SecretBackend`` may be besides: one that can say what its own credential may do. For an audit."""

    def rights(self, places: Sequence[tuple[Destination, bool]]) -> Granted:
        """What is granted, beside what these places need; changes nothing.

        :param places: what the configuration names, each with whether it is written.
        :raises BackendError: where it can't be known, with what would let it be known.
        """
        ...


class Observer(Protocol):
    """Is told what happens, to count it. It never raises, and never sees a secret."""

    def know(self, policies: Iterable[str]) -> None:
        """These are served from now on."""
        ...

    def called(self, endpoint: str, method: str, result: str, seconds: float) -> None:
        """A call of a provider or backend came to its end.

        :param endpoint: ``provider NAME`` or ``backend NAME``.
        :param method: of the port.
        :param result: ``ok``, or the name of the error.
        """
        ...

    def looked(self, policy: str, result: str, seconds: float, cause: str = "") -> None:
        """A look came to its end."""
        ...

    def alerted(self, policy: str, check: str) -> None:
        """A look raised an alert."""
        ...

    def recorded(self, policy: str, kind: str) -> None:
        """An event of this kind is durable."""
        ...

    def notified(self, channel: str, result: str) -> None:
        """A notification was ``sent``, ``failed``, or ``left_out``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What consumers are told of a key: everything but its secret.

    :param old_key_ids: of the keys in their grace.
    :param destinations: names of the places that hold it.
    :param test: it is only tried: nothing has changed.
    """

    instance: str
    policy: str
    project: str
    key_id: str
    old_key_ids: tuple[str, ...]
    destinations: tuple[str, ...]
    test: bool = False


class HookRunner(Protocol):
    """Lets consumers learn of a new key, by a command or a request."""

    def run(self, hook: str, news: News, pulse: Callable[[], None]) -> None:
        """Run the hook of that name, once, and to its end. At its timeout it is ended, with all that it has started.

        :param pulse: called several times a second while it is waited for; what it raises ends the hook too.
        :raises HookFailed: when it did not succeed, or is not configured.
        """
        ...


class Clock(Protocol):
    """Time, as an argument of everything that needs it."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def sleep(self, duration: timedelta) -> None:
        """Wait; raises ``Stopping`` when the service is asked to stop meanwhile."""
        ...
