"""Tokens that somebody else made: renewed where we may, taken anew where others replace them, never revoked by us."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rotator.adapters.backends.vault_auth import Auth, TokenAuth, TokenFileAuth, given_token
from rotator.adapters.backends.vault_tokens import RENEW_AT, Held, Now, OwnTokens, Tokens, is_unknown, known, span
from rotator.adapters.backends.vault_wire import Adapter, Wire
from rotator.errors import BackendDenied, BackendError, BackendUnavailable


class GivenToken(Tokens):
    """A token that somebody made for us."""

    def __init__(self, auth: TokenAuth, wire: Wire, now: Now) -> None:
        super().__init__(wire, now)
        self._auth = auth
        self._looked = False

    def served(self, adapter: Adapter) -> None:
        """Look at its lease, once; a token that is used only by short runs has to be renewed by them."""
        with self._lock:
            held = self._held
            if self._looked or held is None or held.adapter is not adapter:
                return
            self._looked = True
            try:
                told = known(adapter) or {}
            except BackendUnavailable:
                self._looked = False
                return
            self._held = self._with_lease(held, told)
            self.adapter()

    def _with_lease(self, held: Held, told: dict[str, Any]) -> Held:
        lease = span(told.get("period")) or span(told.get("creation_ttl"))
        left = span(told.get("ttl"))
        if told.get("renewable") is not True or not (lease and left):
            return held
        now = self._now()
        ends = now + left
        return replace(held, lease=lease, renewable=True, ends=ends, act_at=ends - lease * (1 - RENEW_AT))

    def _acquired(self) -> Held:
        return Held(adapter=self._wire.adapter(given_token(self._auth)), since=self._now())

    def _better(self, held: Held) -> Held | None:
        other = _if_other(self._acquired(), held, "where auth.token leads (for a variable: and start anew)")
        self._looked = self._looked and other is None
        return other


class TokenFromFile(Tokens):
    """A token in a file that others renew: read again when the file changes, or when the token is refused."""

    def __init__(self, auth: TokenFileAuth, wire: Wire, now: Now) -> None:
        super().__init__(wire, now)
        self._auth = auth
        self._seen: tuple[int, int, int] | None = None

    def _kept(self, held: Held) -> Held:
        mark, seen = self._mark(), self._seen
        if mark in {None, seen}:
            return held
        try:
            return self._acquired()
        except BackendError:  # it is being written: the token that we have may still be good
            self._seen = seen
            return held

    def _acquired(self) -> Held:
        self._seen = self._mark()  # before it is read: a change in between is seen the next time
        return Held(adapter=self._wire.adapter(given_token(self._auth)), since=self._now())

    def _better(self, held: Held) -> Held | None:
        return _if_other(self._acquired(), held, f"into {self._auth.path}")

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self._auth.path.stat()
        except OSError:
            return None  # being replaced, or gone
        return found.st_mtime_ns, found.st_ino, found.st_size


def tokens(auth: Auth, wire: Wire, now: Now) -> Tokens:
    """The one that fits the way to log in."""
    match auth:
        case TokenAuth():
            return GivenToken(auth, wire, now)
        case TokenFileAuth():
            return TokenFromFile(auth, wire, now)
        case _:
            return OwnTokens(auth, wire, now)


def _if_other(made: Held, held: Held, place: str) -> Held | None:
    """``made``, unless it is the one that was refused. Raises ``BackendDenied`` where that one has ended."""
    new, old = made.adapter.secret, held.adapter.secret
    if new is None or old is None or not new.same_as(old):
        return made
    if is_unknown(held.adapter):
        raise BackendDenied(f"the token is not valid (any more), or not from this address: put a new one {place}")
    return None
