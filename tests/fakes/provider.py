"""A ``KeyProvider`` in memory, on a clock that a test drives."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from rotator.domain.model import Identity, IssuedKey, KeyFacts, KeyKind, Refused
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.errors import ProviderRejected

Call = Literal["create_key", "list_keys", "set_expiration", "revoke_key", "identify", "used_until"]


class DrivenClock:
    """Time that stands still until a test moves it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def __call__(self) -> datetime:
        return self._now

    def advance(self, duration: timedelta) -> None:
        self._now += duration


@dataclass
class _Key:
    facts: KeyFacts
    kind: KeyKind
    revoked_at: datetime | None = None


@dataclass
class _Trouble:
    call: Call
    error: Exception
    passes: int
    after: bool


class FakeProvider:
    """See ``rotator.ports.KeyProvider``.

    :param now: the provider's clock.
    :param accept_after: from a key's creation until its secret is accepted.
    :param refuse_after: from a key's revocation until its secret is refused.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        accept_after: timedelta = timedelta(0),
        refuse_after: timedelta = timedelta(0),
    ) -> None:
        self._now = now
        self._accept_after = accept_after
        self._refuse_after = refuse_after
        self._keys: dict[str, _Key] = {}
        self._ids_by_fingerprint: dict[Fingerprint, str] = {}
        self._troubles: list[_Trouble] = []
        self._numbers = itertools.count(1)
        self.calls: list[Call] = []
        self.billed: dict[str, datetime] = {}
        self.ahead: timedelta | None = None
        self.closed = False

    # --- the port -----------------------------------------------------------------------------------------

    def create_key(self, project: str, name: str, expires_at: datetime) -> IssuedKey:
        with self._call("create_key"):
            return self._make(project, name, expires_at, created_by="rotator")

    def list_keys(self, project: str) -> Sequence[KeyFacts]:
        with self._call("list_keys"):
            return tuple(key.facts for key in self._keys.values() if self._is_live(key, project))

    def set_expiration(self, project: str, key_id: str, expires_at: datetime | None) -> None:
        with self._call("set_expiration"):
            key = self._keys.get(key_id)
            if key is None or not self._is_live(key, project):
                raise ProviderRejected("no such key")
            if expires_at is not None and expires_at <= self._now():
                raise ProviderRejected("an expiration in the past")
            key.facts = replace(key.facts, expires_at=expires_at)

    def revoke_key(self, project: str, key_id: str) -> None:
        with self._call("revoke_key"):
            key = self._keys.get(key_id)
            if key is not None and key.kind is KeyKind.LEGACY:
                raise ProviderRejected("the legacy key can't be revoked")
            if key is not None and self._is_live(key, project):
                key.revoked_at = self._now()

    def identify(self, secret: SecretValue) -> Identity | Refused:
        if not secret.is_header_safe():
            return Refused("malformed: never sent")
        with self._call("identify"):
            key = self._keys.get(self._ids_by_fingerprint.get(secret.fingerprint(), ""))
            if key is None or not self._is_accepted(key):
                return Refused("401 invalid_api_key")
            key.facts = replace(key.facts, last_used_at=self._now())
            project = key.facts.project if key.kind is KeyKind.PROJECT else None
            return Identity(kind=key.kind, key_id=key.facts.key_id, project=project, organization="org_fake")

    def used_until(self, key_ids, since, as_key, organization):
        with self._call("used_until"):
            return {key_id: until for key_id, until in self.billed.items() if key_id in key_ids and until > since}

    def skew(self) -> timedelta | None:
        return self.ahead

    def close(self) -> None:
        self.closed = True

    # --- what a test does ---------------------------------------------------------------------------------------

    def fail(self, call: Call, error: Exception, *, nth: int = 1, after: bool = False) -> None:
        """Raise ``error`` at the ``nth`` such call from now on, before or after its effect."""
        self._troubles.append(_Trouble(call, error, nth - 1, after))

    def create_by_hand(self, project: str, name: str = "by hand", expires_at: datetime | None = None) -> IssuedKey:
        """A person makes a key in the console."""
        return self._make(project, name, expires_at, created_by="user_ada")

    def legacy_key(self) -> IssuedKey:
        """The legacy organisation key, which no list shows."""
        return self._make("", "legacy", None, created_by=None, kind=KeyKind.LEGACY)

    def revoke_by_hand(self, key_id: str) -> None:
        """A person revokes a key in the console."""
        self._keys[key_id].revoked_at = self._now()

    def use(self, key_id: str) -> None:
        """A consumer uses a key now."""
        key = self._keys[key_id]
        key.facts = replace(key.facts, last_used_at=self._now())

    def is_revoked(self, key_id: str) -> bool:
        return self._keys[key_id].revoked_at is not None

    def live(self, project: str) -> list[str]:
        """The ids of the project's live keys, without a call."""
        return [key.facts.key_id for key in self._keys.values() if self._is_live(key, project)]

    # --- inside -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _call(self, call: Call) -> Iterator[None]:
        self.calls.append(call)
        trouble = self._next_trouble(call)
        if trouble is not None and not trouble.after:
            raise trouble.error
        yield
        if trouble is not None:
            raise trouble.error

    def _next_trouble(self, call: Call) -> _Trouble | None:
        found = None
        for trouble in [trouble for trouble in self._troubles if trouble.call == call]:
            if trouble.passes == 0 and found is None:
                found = trouble
                self._troubles.remove(trouble)
            else:
                trouble.passes = max(0, trouble.passes - 1)
        return found

    def _make(
        self,
        project: str,
        name: str,
        expires_at: datetime | None,
        *,
        created_by: str | None,
        kind: KeyKind = KeyKind.PROJECT,
    ) -> IssuedKey:
        secret = SecretValue("tgp_v1_" + secrets.token_urlsafe(32))
        facts = KeyFacts(
            key_id=f"key_{next(self._numbers):06d}",
            name=name,
            project=project,
            created_at=self._now(),
            expires_at=expires_at,
            created_by=created_by,
        )
        self._keys[facts.key_id] = _Key(facts, kind)
        self._ids_by_fingerprint[secret.fingerprint()] = facts.key_id
        return IssuedKey(facts, secret)

    def _is_live(self, key: _Key, project: str) -> bool:
        expired = key.facts.expires_at is not None and key.facts.expires_at <= self._now()
        return key.kind is KeyKind.PROJECT and key.facts.project == project and key.revoked_at is None and not expired

    def _is_accepted(self, key: _Key) -> bool:
        now, facts = self._now(), key.facts
        return (
            (facts.created_at is None or facts.created_at + self._accept_after <= now)
            and (facts.expires_at is None or now < facts.expires_at)
            and (key.revoked_at is None or now < key.revoked_at + self._refuse_after)
        )
