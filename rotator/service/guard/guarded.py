"""The ports again, around any provider and any backend: each call passes rate, concurrency and circuit first.

What a guard refuses was not sent: it raises the port's own ``Unavailable``, and counts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from rotator.domain.audit.surroundings import Granted
from rotator.domain.model import Destination, Held, Identity, IssuedKey, KeyFacts, KeyMetadata, Refused
from rotator.domain.secret import SecretValue
from rotator.errors import BackendUnavailable, ProviderUnavailable, RotatorError, WrongDestination
from rotator.ports import Clock, Destroyer, KeyProvider, Listed, Listing, Observer, SecretBackend, Spot, TellsRights
from rotator.service.guard.circuit import DEFAULT, Circuit, Thresholds
from rotator.service.guard.flow import Elapsed, Limits, Pace, Refusal, Slots
from rotator.service.guard.wish import Wish
from rotator.service.observe import SILENT


class _Guard:
    """One endpoint's rate, concurrency and circuit."""

    def __init__(
        self,
        endpoint: str,
        clock: Clock,
        limits: Limits,
        thresholds: Thresholds,
        wish: Wish | None,
        *,
        error: Callable[[str, float | None], RotatorError],
        observer: Observer,
    ) -> None:
        elapsed = Elapsed(clock)
        self._endpoint = endpoint
        self._clock = clock
        self._pace = Pace(limits.rate, elapsed)
        self._slots = Slots(limits.concurrency, clock, elapsed)
        self._circuit = Circuit(endpoint, elapsed, thresholds, wish or Wish(clock))
        self._error = error
        self._observer = observer

    @contextmanager
    def call(self, method: str, *, revokes: bool = False) -> Iterator[None]:
        """Around one call. Raises the port's ``Unavailable`` when it must not begin, ``Stopping`` at a shutdown."""
        try:
            # Asked twice: at once, to be refused at once; and after the wait, in which the circuit may have opened.
            wait = max(self._circuit.check(revokes=revokes), self._pace.reserve())
            if wait:
                self._clock.sleep(timedelta(seconds=wait))
            with self._slots.one(), self._circuit.attempt(revokes=revokes), self._observed(method):
                yield
        except Refusal as refusal:
            raise self._error(f"{self._endpoint} is not called: {refusal.reason}", refusal.seconds) from None

    @contextmanager
    def _observed(self, method: str) -> Iterator[None]:
        result, began = "ok", time.monotonic()
        try:
            yield
        except BaseException as error:
            result = type(error).__name__ if isinstance(error, RotatorError) else "defect"
            raise
        finally:
            self._observer.called(self._endpoint, method, result, time.monotonic() - began)

    def trouble(self) -> str:
        return self._circuit.trouble()


class GuardedProvider:
    """``ports.KeyProvider`` around another one.

    :param name: as the configuration calls it, for messages.
    :param wish: that of the endpoint's guard before this one, where there was one.
    """

    def __init__(
        self,
        inner: KeyProvider,
        *,
        name: str,
        clock: Clock,
        limits: Limits,
        thresholds: Thresholds = DEFAULT,
        wish: Wish | None = None,
        observer: Observer = SILENT,
    ) -> None:
        self._inner = inner
        self._guard = _Guard(
            f"provider {name}",
            clock,
            limits,
            thresholds,
            wish,
            error=lambda reason, seconds: ProviderUnavailable(reason, retry_after=seconds),
            observer=observer,
        )

    def create_key(self, project: str, name: str, expires_at: datetime) -> IssuedKey:
        """See ``KeyProvider``."""
        with self._guard.call("create_key"):
            return self._inner.create_key(project, name, expires_at)

    def list_keys(self, project: str) -> Sequence[KeyFacts]:
        """See ``KeyProvider``."""
        with self._guard.call("list_keys"):
            return self._inner.list_keys(project)

    def set_expiration(self, project: str, key_id: str, expires_at: datetime | None) -> None:
        """See ``KeyProvider``."""
        with self._guard.call("set_expiration"):
            self._inner.set_expiration(project, key_id, expires_at)

    def revoke_key(self, project: str, key_id: str) -> None:
        """See ``KeyProvider``. The first call that waits while the provider is in trouble."""
        with self._guard.call("revoke_key", revokes=True):
            self._inner.revoke_key(project, key_id)

    def identify(self, secret: SecretValue) -> Identity | Refused:
        """See ``KeyProvider``. What can't be sent is no call, and its answer tells nothing about the provider."""
        if not secret.is_header_safe():
            return self._inner.identify(secret)
        with self._guard.call("identify"):
            return self._inner.identify(secret)

    def used_until(
        self, key_ids: Collection[str], since: datetime, as_key: SecretValue, organization: str | None
    ) -> Mapping[str, datetime]:
        """See ``KeyProvider``."""
        with self._guard.call("used_until"):
            return self._inner.used_until(key_ids, since, as_key, organization)

    def skew(self) -> timedelta | None:
        """See ``KeyProvider``. No call: the last answer has told."""
        return self._inner.skew()

    def close(self) -> None:
        """See ``KeyProvider``."""
        self._inner.close()

    def trouble(self) -> str:
        """What is wrong with the provider, fit for people; empty when all is well."""
        return self._guard.trouble()


class GuardedBackend:
    """``ports.SecretBackend`` around another one.

    :param name: as the configuration calls it, for messages.
    :param wish: that of the endpoint's guard before this one, where there was one.
    """

    def __init__(
        self,
        inner: SecretBackend,
        *,
        name: str,
        clock: Clock,
        limits: Limits,
        thresholds: Thresholds = DEFAULT,
        wish: Wish | None = None,
        observer: Observer = SILENT,
    ) -> None:
        self._inner = inner
        self._guard = _Guard(
            f"backend {name}",
            clock,
            limits,
            thresholds,
            wish,
            error=lambda reason, seconds: BackendUnavailable(reason, retry_after=seconds),
            observer=observer,
        )

    def read(self, destination: Destination) -> Held:
        """See ``SecretBackend``."""
        with self._guard.call("read"):
            return self._inner.read(destination)

    def read_previous(self, destination: Destination) -> SecretValue | None:
        """See ``SecretBackend``."""
        with self._guard.call("read_previous"):
            return self._inner.read_previous(destination)

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:
        """See ``SecretBackend``."""
        with self._guard.call("whereabouts"):
            return self._inner.whereabouts(destination)

    def check_writable(self, destination: Destination) -> None:
        """See ``SecretBackend``."""
        with self._guard.call("check_writable"):
            self._inner.check_writable(destination)

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """See ``SecretBackend``."""
        with self._guard.call("write"):
            self._inner.write(destination, value, metadata, expected)

    def destroy(self, destination: Destination, expected: str) -> None:
        """See ``Destroyer``. ``WrongDestination`` where the backend is none."""
        if not isinstance(self._inner, Destroyer):
            raise WrongDestination(f"{destination}: this type of backend can destroy nothing for good: it is no inbox")
        with self._guard.call("destroy"):
            self._inner.destroy(destination, expected)

    def rights(self, places: Sequence[tuple[Destination, bool]]) -> Granted | None:
        """See ``TellsRights``; ``None`` where the backend has nothing to say."""
        if not isinstance(self._inner, TellsRights):
            return None
        with self._guard.call("rights"):
            return self._inner.rights(places)

    def places(self, pattern: str) -> Listed:
        """See ``Listing``. One call, however many requests it takes."""
        listing = self._listing()
        with self._guard.call("places"):
            return listing.places(pattern)

    def fields(self, spot: Spot) -> Mapping[str, SecretValue]:
        """See ``Listing``."""
        listing = self._listing()
        with self._guard.call("fields"):
            return listing.fields(spot)

    def _listing(self) -> Listing:
        if not isinstance(self._inner, Listing):
            raise WrongDestination("a backend of this type can't be searched")
        return self._inner

    def close(self) -> None:
        """See ``SecretBackend``."""
        self._inner.close()

    def trouble(self) -> str:
        """What is wrong with the backend, fit for people; empty when all is well."""
        return self._guard.trouble()
