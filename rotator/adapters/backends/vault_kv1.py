"""Secrets in a KV version 1 engine: one value, no versions, no metadata, and no compare-and-set.

- **Version**: a keyed hash of the field's value, empty where there is none, as for dotenv files: the key is drawn by
  each process and never written. After a restart a journaled version only says "look again".
- **A race that can't be closed here.** A write reads, compares, and sends the whole secret back. Somebody else's
  write between the two, a few milliseconds, is overwritten without a trace, in this field or in another one of the
  same secret. Two writers of one backend in one process never do that to each other (a lock), and two processes with
  one policy don't (the journal's lease). Two policies with a field each in the same secret can, where two processes,
  or two backends with the same address, have them. Reading back after the write finds a write that came after ours,
  not one that ours has undone. Where other programs write into the same secret, use KV version 2.
- **Hints** have no place but fields beside the key, so there are only those that ``beside`` asks for. A lost journal
  is rebuilt without them, from the provider's answers alone.
- There is **no previous value**, and nobody tells when or by whom a secret was written.

**Requests of a rotation**, five: read; capabilities; read and write; read back. The second read can't go: it is what
makes the race short.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from rotator.adapters.backends.vault_engine import Engines
from rotator.adapters.backends.vault_place import Glances, KvVersion, Place, data_of
from rotator.adapters.backends.vault_rights import Rights, to_read, to_write
from rotator.adapters.backends.vault_session import Refusal, VaultSession
from rotator.domain.model import Held, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import VersionConflict, WrongDestination


class Kv1:
    """The part of ``VaultBackend`` for version 1."""

    def __init__(self, session: VaultSession, engines: Engines, rights: Rights) -> None:
        self._session = session
        self._engines = engines
        self._rights = rights
        self._salt = secrets.token_bytes(32)
        self._locks: dict[str, threading.Lock] = {}
        self._glances: Glances[bool] = Glances()

    def read(self, place: Place) -> Held:
        """One request."""
        fields = self._look(place)
        self._glances.note(place, fields is not None)
        found = fields or {}
        value = place.value_in(found)
        hints = {fact: str(found[name]) for name, fact in place.layout.beside if found.get(name)}
        return Held(value=value, version=self._version(place, found), metadata=hints)

    def fields(self, place: Place) -> Mapping[str, Any]:
        """All fields. One request."""
        return self._look(place) or {}

    def check_writable(self, place: Place) -> None:
        """One request, after a look; otherwise two."""
        read, needs = to_read(place, KvVersion.ONE), to_write(place, KvVersion.ONE)
        granted = self._rights.ask(place, [read])
        seen = self._glances.just_now(place)
        if seen is None:
            if not granted.has(read):
                granted.require(place, [read, *needs.values()])
            seen = self._look(place) is not None
        granted.require(place, [read, needs["living" if seen else "never"]])

    def write(self, place: Place, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """Two requests: read and write. See the module for what can happen between them."""
        with self._locks.setdefault(place.plain, threading.Lock()):
            found = self._look(place)
            fields = found or {}
            held = place.value_in(fields)
            ours = held is not None and held.same_as(value)
            if not ours and self._version(place, fields) != expected:
                raise VersionConflict(f"{place.name}: the field was changed by somebody else")
            whole = {**fields, **place.fields_for(value, metadata)}
            if whole == fields:
                return
            what = f"{'create' if found is None else 'update'} on {place.plain}"
            self._session.change(lambda adapter: adapter.post(f"/v1/{quote(place.plain)}", json=whole), what)

    def destroy(self, place: Place, expected: str) -> None:
        """Two requests: read and delete. What somebody puts there between them is destroyed unseen."""
        with self._locks.setdefault(place.plain, threading.Lock()):
            found = self._look(place)
            if found is None:
                return
            if self._version(place, found) != expected:
                raise VersionConflict(f"{place.name}: somebody put another value there")
            self._session.ask(lambda adapter: adapter.delete(f"/v1/{quote(place.plain)}"), f"delete on {place.plain}")

    def _look(self, place: Place) -> dict[str, Any] | None:
        """The fields; ``None`` where there is no secret."""
        try:
            answer = self._session.ask(
                lambda adapter: adapter.get(f"/v1/{quote(place.plain)}"), f"read on {place.plain}"
            )
        except Refusal as refusal:
            if refusal.body.get("errors"):
                raise WrongDestination(f"{place.name}: nothing is mounted at {place.mount}/") from None
            self._engines.confirm(place, KvVersion.ONE)
            return None
        return data_of(answer)

    def _version(self, place: Place, fields: Mapping[str, Any]) -> str:
        """Of the field's whole text: what stands around the key in a template counts too."""
        text = fields.get(place.field)
        if not isinstance(text, str) or not text:
            return ""
        value = SecretValue(text)
        return hashlib.blake2b(value.fingerprint().encode(), key=self._salt, digest_size=16).hexdigest()
