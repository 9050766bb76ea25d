"""Around the backend or provider of a plug-in: whatever its code does, the service sees what the port promises.

- An error of the port passes; any other becomes one, named by its class and its line alone: what it says may hold a
  secret. A changing call that fails so has an unknown outcome.
- An answer of another type than the port's is not believed.
- A message with a secret in it is not passed on: it would go to the log and the journal.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from rotator.domain.model import Destination, Held, Identity, IssuedKey, KeyFacts, KeyMetadata, Refused
from rotator.domain.secret import SecretValue, secrets_in_memory
from rotator.domain.text import printable
from rotator.errors import (
    BackendError,
    BackendUnavailable,
    MissingSecret,
    OutcomeUnknown,
    ProviderError,
    ProviderNonsense,
    ProviderUnavailable,
    RotatorError,
    WrongDestination,
)
from rotator.ports import Destroyer, KeyProvider, SecretBackend

_T = TypeVar("_T")
_SHORTEST = 8  # characters of a secret that is looked for in a message; shorter ones are in many by chance


class _Contained:
    """Calls others' code."""

    def __init__(self, kind: str, passes: tuple[type[RotatorError], ...]) -> None:
        self._what = f"the plug-in {kind}"
        self._passes: tuple[type[RotatorError], ...] = (*passes, OutcomeUnknown, MissingSecret)

    @contextmanager
    def call(self, name: str, otherwise: type[RotatorError]) -> Iterator[None]:
        """Around one call; what is no error of the port is raised as ``otherwise``."""
        try:
            yield
        except self._passes as error:
            if not _shows_a_secret(str(error)):
                raise
            # As the port's own kind: how a plug-in's own is made is not known.
            kind = next(kind for kind in type(error).__mro__ if kind.__module__ == RotatorError.__module__)
            raise kind(f"{self._what}: {name} failed; what it says has a secret in it") from None
        except Exception as error:  # noqa: BLE001 -- others' code
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            raise otherwise(f"{self._what}: {name} failed ({where})") from None

    def answer(self, answer: _T, kinds: type | tuple[type, ...], name: str, otherwise: type[RotatorError]) -> _T:
        """The answer, if it is of one of these kinds."""
        if not isinstance(answer, kinds):
            raise otherwise(f"{self._what}: {name} answered with {type(answer).__name__}")
        return answer


def _shows_a_secret(text: str) -> bool:
    return any(secret in text for secret in secrets_in_memory() if len(secret) >= _SHORTEST)


class PluggedBackend:
    """A ``rotator.ports.SecretBackend`` around a plug-in's.

    :param make: makes it.
    """

    def __init__(self, kind: str, make: Callable[[], SecretBackend]) -> None:
        self._contained = _Contained(kind, (BackendError,))
        with self._contained.call("make", BackendUnavailable):
            self._inner = make()

    def read(self, destination: Destination) -> Held:
        """See the port."""
        with self._contained.call("read", BackendUnavailable):
            held = self._inner.read(destination)
        value: Any = self._contained.answer(held, Held, "read", WrongDestination).value
        self._contained.answer(value, (SecretValue, type(None)), "read", WrongDestination)
        return held

    def read_previous(self, destination: Destination) -> SecretValue | None:
        """See the port."""
        with self._contained.call("read_previous", BackendUnavailable):
            previous = self._inner.read_previous(destination)
        return self._contained.answer(previous, (SecretValue, type(None)), "read_previous", WrongDestination)

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:
        """See the port."""
        with self._contained.call("whereabouts", BackendUnavailable):
            told = self._inner.whereabouts(destination)
        return self._contained.answer(told, Mapping, "whereabouts", WrongDestination)

    def check_writable(self, destination: Destination) -> None:
        """See the port."""
        with self._contained.call("check_writable", BackendUnavailable):
            self._inner.check_writable(destination)

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """See the port."""
        with self._contained.call("write", OutcomeUnknown):
            self._inner.write(destination, value, metadata, expected)

    def destroy(self, destination: Destination, expected: str) -> None:
        """See ``Destroyer``. ``WrongDestination`` where the plug-in's backend is none."""
        inner = self._inner
        if not isinstance(inner, Destroyer):
            raise WrongDestination(f"{destination}: this type of backend can destroy nothing for good: it is no inbox")
        with self._contained.call("destroy", OutcomeUnknown):
            inner.destroy(destination, expected)

    def close(self) -> None:
        """See the port. The run is over: nothing depends on how it goes."""
        with suppress(Exception):
            self._inner.close()


class PluggedProvider:
    """A ``rotator.ports.KeyProvider`` around a plug-in's.

    :param make: makes it.
    """

    def __init__(self, kind: str, make: Callable[[], KeyProvider]) -> None:
        self._contained = _Contained(kind, (ProviderError,))
        with self._contained.call("make", ProviderUnavailable):
            self._inner = make()

    def create_key(self, project: str, name: str, expires_at: datetime) -> IssuedKey:
        """See the port."""
        with self._contained.call("create_key", OutcomeUnknown):
            issued = self._inner.create_key(project, name, expires_at)
        return self._contained.answer(issued, IssuedKey, "create_key", OutcomeUnknown)

    def list_keys(self, project: str) -> Sequence[KeyFacts]:
        """See the port."""
        with self._contained.call("list_keys", ProviderUnavailable):
            keys = tuple(self._inner.list_keys(project))
        for facts in keys:
            self._contained.answer(facts, KeyFacts, "list_keys", ProviderNonsense)
        with self._contained.call("list_keys", ProviderNonsense):  # a name that is no text
            return tuple(
                replace(facts, name=printable(facts.name), created_by=printable(facts.created_by or "") or None)
                for facts in keys
            )

    def set_expiration(self, project: str, key_id: str, expires_at: datetime | None) -> None:
        """See the port."""
        with self._contained.call("set_expiration", OutcomeUnknown):
            self._inner.set_expiration(project, key_id, expires_at)

    def revoke_key(self, project: str, key_id: str) -> None:
        """See the port."""
        with self._contained.call("revoke_key", OutcomeUnknown):
            self._inner.revoke_key(project, key_id)

    def identify(self, secret: SecretValue) -> Identity | Refused:
        """See the port."""
        with self._contained.call("identify", ProviderUnavailable):
            identity = self._inner.identify(secret)
        return self._contained.answer(identity, (Identity, Refused), "identify", ProviderNonsense)

    def used_until(
        self, key_ids: Collection[str], since: datetime, as_key: SecretValue, organization: str | None
    ) -> Mapping[str, datetime]:
        """See the port."""
        with self._contained.call("used_until", ProviderUnavailable):
            used = self._inner.used_until(key_ids, since, as_key, organization)
        return self._contained.answer(used, Mapping, "used_until", ProviderNonsense)

    def skew(self) -> timedelta | None:
        """See the port."""
        with self._contained.call("skew", ProviderUnavailable):
            skew = self._inner.skew()
        return self._contained.answer(skew, (timedelta, type(None)), "skew", ProviderNonsense)

    def close(self) -> None:
        """See the port. The run is over: nothing depends on how it goes."""
        with suppress(Exception):
            self._inner.close()
