"""The life of a token: made when it is first needed, renewed ahead of time, replaced when it ends.

============  ==========================  ==================================  =====================================
auth          first use                   2/3 of its lease is over            refused in the middle (403)
============  ==========================  ==================================  =====================================
a login       the login (one request;     renew-self (one request); a new     lookup-self; ended: a new login and the
              a wrapped secret id: three) login where that gains too little   request again, whichever it was
token         none; after the first       renew-self, where it is renewable   the reference is read again, and a new
              success one lookup-self     and the policy allows it            token tried; the same: lookup-self
token file    none                        none: others renew it               the file is read again, likewise
============  ==========================  ==================================  =====================================

- A 403 comes before any effect, so a changing request is repeated too. An ended token and a missing right look the
  same: lookup-self tells. A token that lives is replaced only when it is older than ``_ROLE_CHANGES`` (its policies are
  those of its login); the right that is missing is missing in the younger one as well.
- A renewal that fails for a passing reason is tried again in what is left of the lease. A renewal that gains less than
  a third of the first lease has met the maximum TTL: the next step is a login.
- Nothing runs on its own: a token that is not used is not renewed, and an idle pass makes no login.
- Closing gives back the tokens that our logins made, and no other.
"""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import requests
from hvac.api.auth_methods import Token

from rotator.adapters.backends.vault_auth import Login, logged_in
from rotator.adapters.backends.vault_errors import Refusal, translated
from rotator.adapters.backends.vault_wire import Adapter, Wire
from rotator.domain.secret import SecretValue
from rotator.errors import BackendError, BackendUnavailable

Now = Callable[[], datetime]

RENEW_AT = 2 / 3
_GAIN = 1 / 3
_AGAIN_AT = 1 / 4  # of what is left, after a renewal that failed for a passing reason
_ROLE_CHANGES = timedelta(minutes=5)
_DENIED = "permission denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A token and what is known of its lease.

    :param lease: the first one; zero where it has no end, or none is known.
    :param act_at: when it is renewed or replaced.
    """

    adapter: Adapter
    since: datetime
    lease: timedelta = timedelta()
    renewable: bool = False
    act_at: datetime | None = None
    ends: datetime | None = None
    revocable: bool = True

    def leased(self, left: timedelta, *, renewable: bool, now: datetime) -> Held:
        """With so much of its lease left from now on."""
        if not left:
            return replace(self, renewable=False, act_at=None, ends=None)
        return replace(self, renewable=renewable, act_at=now + left * RENEW_AT, ends=now + left)

    def over(self, now: datetime) -> bool:
        """Whether its lease has ended, as far as is known."""
        return self.ends is not None and now >= self.ends

    def later(self, now: datetime) -> Held:
        """To be renewed or replaced a little later."""
        return self if self.ends is None else replace(self, act_at=now + (self.ends - now) * _AGAIN_AT)


class Tokens(ABC):
    """The token in use. Safe for several threads: one of them logs in or renews, the others wait for it."""

    def __init__(self, wire: Wire, now: Now) -> None:
        self._wire = wire
        self._now = now
        self._lock = threading.RLock()
        self._held: Held | None = None
        self._failed: BackendError | None = None

    def adapter(self) -> Adapter:
        """What sends with a token that should be good. Raises ``BackendError``."""
        before = self._failed
        with self._lock:
            return self._good(before)

    def instead_of(self, denied: Adapter) -> Adapter | None:
        """Another token than the one that was just refused; ``None`` when there is no better one."""
        before = self._failed
        with self._lock:
            if self._held is None or self._held.adapter is not denied:
                return self._good(before)
            self._raise_what_came_since(before)
            try:
                better = self._better(self._held)
            except BackendError as error:
                self._failed = copy.copy(error)
                raise
            if better is None:
                return None
            self._held = better
            return better.adapter

    def _good(self, before: BackendError | None) -> Adapter:
        """With the lock. Nothing is left to be kept where a token has ended and no other was to be had."""
        if self._held is None:
            self._raise_what_came_since(before)
        try:
            self._held = self._acquired() if self._held is None else self._kept(self._held)
        except BackendError as error:
            self._held, self._failed = None, copy.copy(error)
            raise
        return self._held.adapter

    def _raise_what_came_since(self, before: BackendError | None) -> None:
        """Somebody tried while we waited: what hangs or locks accounts is not asked once for each thread."""
        if self._failed is not before and self._failed is not None:
            raise copy.copy(self._failed)

    def served(self, adapter: Adapter) -> None:  # noqa: B027 -- most have nothing to do
        """A request with that token was carried out."""

    def close(self) -> None:
        """Forget the token."""
        with self._lock:
            self._held = None

    @abstractmethod
    def _acquired(self) -> Held: ...

    @abstractmethod
    def _better(self, held: Held) -> Held | None:
        """After ``held`` was refused."""

    def _kept(self, held: Held) -> Held:
        """``held``, renewed or replaced where it is time."""
        now = self._now()
        if held.act_at is None or now < held.act_at:
            return held
        if not held.renewable or held.over(now):
            return self._after(held)
        try:
            made = renewed(held.adapter)
        except BackendUnavailable:
            return held.later(now)
        if made is None:
            return self._after(held)
        left = span(made.get("lease_duration"))
        gained = held.ends is None or now + left - held.ends >= held.lease * _GAIN
        return held.leased(left, renewable=made.get("renewable") is True and gained, now=now)

    def _after(self, held: Held) -> Held:
        """``held`` can't be renewed (any more)."""
        return replace(held, act_at=None)


class OwnTokens(Tokens):
    """Tokens of our own logins."""

    def __init__(self, auth: Login, wire: Wire, now: Now) -> None:
        super().__init__(wire, now)
        self._auth = auth
        self._replaced: list[Held] = []

    def close(self) -> None:
        """Revoke what we made, so that runs from cron leave nothing behind."""
        with self._lock:
            made = [*self._replaced, *([self._held] if self._held else [])]
            self._replaced, self._held = [], None
        for held in made:
            if not held.revocable or held.over(self._now()):
                continue
            try:
                Token(held.adapter).revoke_self()
            except Refusal:
                continue  # it has ended already
            except requests.RequestException:
                return  # the server is not there; they end with their own lifetime

    def _acquired(self) -> Held:
        made = logged_in(self._auth, self._wire)
        now, lease = self._now(), span(made.get("lease_duration"))
        held = Held(
            adapter=self._wire.adapter(SecretValue(made["client_token"])),
            since=now,
            lease=lease,
            revocable=made.get("token_type") != "batch",
        )
        return held.leased(lease, renewable=made.get("renewable") is True, now=now)

    def _after(self, held: Held) -> Held:
        try:
            made = self._acquired()
        except BackendError:
            if held.over(self._now()):
                raise
            return held.later(self._now())
        self._put_aside(held)
        return made

    def _better(self, held: Held) -> Held | None:
        if known(held.adapter) is not None and self._now() - held.since < _ROLE_CHANGES:
            return None
        made = self._acquired()
        self._put_aside(held)
        return made

    def _put_aside(self, held: Held) -> None:
        # Not revoked at once: another thread may be in the middle of a request with it.
        now = self._now()
        self._replaced = [one for one in (*self._replaced, held) if not one.over(now)]


def renewed(adapter: Adapter) -> dict[str, Any] | None:
    """The ``auth`` part of renew-self's answer; ``None`` where it can't be renewed. Raises ``BackendUnavailable``."""
    try:
        with translated("update on auth/token/renew-self", changes=False):
            answer = Token(adapter).renew_self()
    except BackendUnavailable:
        raise
    except (BackendError, Refusal):
        return None
    made = answer.get("auth") if isinstance(answer, dict) else None
    return made if isinstance(made, dict) else None


def known(adapter: Adapter) -> dict[str, Any] | None:
    """What the token may know of itself; ``None`` where it has ended or may not ask."""
    try:
        with translated("read on auth/token/lookup-self", changes=False):
            answer = Token(adapter).lookup_self()
    except BackendUnavailable:
        raise
    except (BackendError, Refusal):
        return None
    data = answer.get("data") if isinstance(answer, dict) else None
    return data if isinstance(data, dict) else None


def is_unknown(adapter: Adapter) -> bool:
    """Whether the server takes the token for none of its own; ``False`` where that is not certain.

    For a message alone: a token that lives and may not ask is answered with 403 as well, in other words. Source: Vault
    and OpenBao, ``vault/request_handling.go``: ``fetchACLTokenEntryAndEntity`` ends in a bare "permission denied" (with
    "invalid token" beside it in newer Vaults); a check of policies ends in a list with that error in it.
    """
    try:
        Token(adapter).lookup_self()
    except Refusal as refusal:
        errors = refusal.body.get("errors")
        return refusal.status == HTTPStatus.FORBIDDEN and (errors == [_DENIED] or refusal.says("invalid token"))
    except (requests.RequestException, OSError):
        return False
    return False


def span(seconds: object) -> timedelta:
    return timedelta(seconds=seconds) if isinstance(seconds, int) and seconds > 0 else timedelta()
