"""Secrets in a KV version 2 engine.

- **Version**: the KV version of the whole secret, ``0`` where it never existed; a change of another field is a
  conflict as well, after which the caller looks again. Every write is check-and-set, so ``cas_required`` changes
  nothing. A deleted or destroyed latest version is an empty destination with its number.
- **Other fields** are kept. Where the credential has ``patch`` on the secret, the new fields alone are sent (JSON
  merge patch): what others keep there is neither read for it nor sent back, and its numbers stay as they were
  written. Otherwise the secret is read, and sent back as a whole. ``patch`` is the better right to give, and takes
  one request less.
- **Hints**: custom metadata ``rotator/<field>/<name>``, merged by PATCH, so that other pairs, and other policies in
  the same secret, keep theirs. Limits (KV v2 API, "Create/update metadata"): 64 pairs, keys of 128 and values of 512
  bytes; that is seven managed fields in one secret.
- The value and the fields beside it are written first, in one step. When the hints then fail, ``OutcomeUnknown``
  says that the value is there: the caller looks, finds it, writes once more, and goes on. A missing right is found
  before.

**Requests of a rotation**, five with ``patch``: read; capabilities; write; hints; read back. None of them can go: the
first tells what is there, the second that nothing is created in vain, value and metadata are never one request in
KV v2, and only reading tells what lies there in the end. Without ``patch`` there is one more read, right before the
write, for the other fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from hvac.adapters import JSONAdapter
from hvac.api.secrets_engines import KvV2

from rotator.adapters.backends.vault_engine import Engines
from rotator.adapters.backends.vault_place import KEY_BYTES, Glances, KvVersion, Place, data_of
from rotator.adapters.backends.vault_rights import Rights, to_read, to_write
from rotator.adapters.backends.vault_session import Refusal, VaultSession
from rotator.domain.layout import Layout
from rotator.domain.model import Held, KeyMetadata
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.errors import BackendDenied, OutcomeUnknown, RotatorError, VersionConflict, WrongDestination

_PAIRS, _VALUE_BYTES = 64, 512
_VERSIONS_KEPT = 10  # KV v2's default max_versions: how far back a previous value is looked for
_DESTROYED_AT_ONCE = 100  # what is older was destroyed when it was taken, or is beyond any usual max_versions
_MERGE = MappingProxyType({"Content-Type": "application/merge-patch+json"})
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class _Secret:
    """One version as it was read; its fields are in no repr. ``fields`` is ``None`` where there are none."""

    fields: Mapping[str, Any] | None
    version: int
    state: Mapping[str, Any]

    __repr__ = object.__repr__

    @property
    def custom(self) -> Mapping[str, str]:
        return self.state.get("custom_metadata") or {}

    @property
    def is_there(self) -> bool:
        return bool(self.version)

    @property
    def condition(self) -> str:
        """As ``to_write`` names it."""
        return "never" if not self.version else "gone" if self.fields is None else "living"


@dataclass(frozen=True, slots=True)
class _Glance:
    """What a read has shown, without any content."""

    version: int
    condition: str
    pairs: frozenset[str]
    fingerprint: Fingerprint | None
    layout: Layout


class Kv2:
    """The part of ``VaultBackend`` for version 2."""

    def __init__(self, session: VaultSession, engines: Engines, rights: Rights) -> None:
        self._session = session
        self._engines = engines
        self._rights = rights
        self._glances: Glances[_Glance] = Glances()

    def read(self, place: Place) -> Held:
        """One request."""
        _require_short(place)
        secret = self._look(place)
        value = place.value_in(secret.fields or {})
        self._note(place, secret, value)
        hints = {
            name.removeprefix(place.prefix): text
            for name, text in secret.custom.items()
            if name.startswith(place.prefix)
        }
        return Held(
            value=value,
            version=str(secret.version),
            metadata=hints,
            changed_at=_changed_at(secret),
            changed_by=_changed_by(secret),
        )

    def fields(self, place: Place) -> Mapping[str, Any]:
        """All fields of the latest version. One request."""
        return self._look(place).fields or {}

    def read_previous(self, place: Place) -> SecretValue | None:
        """The last other value of the field, among the versions that the engine keeps by default."""
        latest = self._look(place)
        current = place.value_in(latest.fields or {})
        for version in range(latest.version - 1, max(0, latest.version - _VERSIONS_KEPT), -1):
            secret = self._look(place, version)
            if not secret.is_there:
                return None  # beyond max_versions; so is all that is older
            try:
                value = place.value_in(secret.fields or {})
            except WrongDestination:
                continue  # of another form, from a time before this layout: no key that could be put back
            if value is not None and (current is None or not value.same_as(current)):
                return value
        return None

    def check_writable(self, place: Place) -> None:
        """One request, after a look; otherwise two."""
        _require_short(place)
        read, needs = to_read(place, KvVersion.TWO), to_write(place, KvVersion.TWO)
        granted = self._rights.ask(place, [read, *needs.values()])
        seen = self._glances.just_now(place)
        if seen is None:
            if not granted.has(read):
                granted.require(place, [read, *needs.values()])
            secret = self._look(place)
            seen = self._note(place, secret, place.value_in(secret.fields or {}))
        granted.require(place, [read, needs[seen.condition], needs["always"]])
        names = {place.prefix + name for name in KeyMetadata.__slots__}
        if len(names | seen.pairs) > _PAIRS:
            raise WrongDestination(f"{place.name}: its custom metadata has no room left ({_PAIRS} pairs)")

    def write(self, place: Place, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """The write itself and the hints: two requests, where a look has just seen the version that is expected."""
        _require_short(place)
        if not self._written_as_seen(place, value, metadata, expected):
            self._compare_and_set(place, value, metadata, expected)
        self._hint(place, metadata)

    def destroy(self, place: Place, expected: str) -> None:
        """Two requests. Versions are destroyed by their numbers, so that one that is written meanwhile is not."""
        last = int(expected) if expected.isdecimal() else 0
        if last:
            versions = list(range(max(1, last - _DESTROYED_AT_ONCE + 1), last + 1))
            self._session.ask(
                lambda adapter: KvV2(adapter).destroy_secret_versions(place.path, versions, mount_point=place.mount),
                f"update on {place.destroy}",
            )
        secret = self._look(place)
        if secret.version != last:
            raise VersionConflict(f"{place.name}: somebody put another value there, version {secret.version}")

    def _written_as_seen(self, place: Place, value: SecretValue, metadata: KeyMetadata, expected: str) -> bool:
        """Write without another look; ``False`` where that can't be, or another version is there by now.

        Check-and-set keeps it safe: a living version never changes its content, and its number was seen with another
        key. (But for a secret whose metadata was deleted, and that was then written as often again: its numbers come
        anew, and nothing in a request could tell.)
        """
        seen = self._glances.last(place)
        if seen is None or str(seen.version) != expected or seen.fingerprint == value.fingerprint():
            return False
        if seen.condition == "gone":
            return False  # it may have been undeleted since, with its fields, and without another number
        if seen.layout != place.layout:
            return False  # whether what lies there has the form that is to be replaced was not looked at
        if seen.condition == "living" and not self._rights.may_patch(place.data):
            return False
        try:
            self._set(place, place.fields_for(value, metadata), seen.version, seen.condition)
        except VersionConflict:
            return False  # perhaps it is our own, of an answer that was lost: a look tells
        return True

    def _compare_and_set(self, place: Place, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        secret = self._look(place)
        held = place.value_in(secret.fields or {})
        ours = held is not None and held.same_as(value)
        if not ours and str(secret.version) != expected:
            raise VersionConflict(f"{place.name}: the secret is at version {secret.version}, not {expected}")
        found, wanted = secret.fields or {}, place.fields_for(value, metadata)
        if all(found.get(name) == text for name, text in wanted.items()):
            return
        if secret.condition == "living" and not self._rights.may_patch(place.data):
            wanted, condition = {**found, **wanted}, "whole"
        else:
            condition = secret.condition
        self._set(place, wanted, secret.version, condition)

    def _set(self, place: Place, fields: Mapping[str, Any], version: int, condition: str) -> None:
        """One changing request: a patch of a living version, otherwise the whole secret."""
        body = {"data": fields, "options": {"cas": version}}
        patch = condition == "living"
        verb = "patch" if patch else "create" if condition == "never" else "update"

        def send(adapter: JSONAdapter) -> object:
            if not patch:
                return adapter.post(f"/v1/{quote(place.data)}", json=body)
            try:
                return _patched(adapter, place.data, body)
            except Refusal as refusal:
                if refusal.status != _NOT_FOUND:
                    raise
            raise VersionConflict(f"{place.name}: the secret was deleted in between")

        try:
            answer = self._session.change(send, f"{verb} on {place.data}")
        except BackendDenied:
            self._rights.forget(place.data)
            raise
        if not isinstance(answer, dict):
            raise OutcomeUnknown(f"{verb} on {place.data}: the answer is not what Vault sends")

    def _hint(self, place: Place, metadata: KeyMetadata) -> None:
        pairs = metadata.as_pairs()
        # In a merge patch null takes a pair away (RFC 7396): a former rotation's must not stay.
        custom = {place.prefix + name: _clipped(pairs.get(name)) for name in KeyMetadata.__slots__}
        try:
            self._session.ask(
                lambda adapter: _patched(adapter, place.metadata, {"custom_metadata": custom}),
                f"patch on {place.metadata}",
            )
        except (RotatorError, Refusal) as error:
            raise OutcomeUnknown(f"{place.name}: the value is written, its metadata is not ({error})") from error

    def _look(self, place: Place, version: int | None = None) -> _Secret:
        try:
            answer = self._session.ask(
                lambda adapter: KvV2(adapter).read_secret_version(
                    place.path, version=version, mount_point=place.mount, raise_on_deleted_version=True
                ),
                f"read on {place.data}",
            )
        except Refusal as refusal:
            answer = refusal.body
            if not isinstance(answer.get("data"), dict):
                if refusal.body.get("errors"):
                    raise WrongDestination(f"{place.name}: nothing is mounted at {place.mount}/") from None
                if version is None:
                    self._engines.confirm(place, KvVersion.TWO)
                return _Secret(None, 0, {})
        data = data_of(answer)
        state = data.get("metadata")
        if not isinstance(state, dict) or not isinstance(state.get("version"), int):
            raise WrongDestination(f"{place.name}: {place.mount}/ is no KV version 2 engine")
        fields = data.get("data")
        return _Secret(fields if isinstance(fields, dict) else None, state["version"], state)

    def _note(self, place: Place, secret: _Secret, value: SecretValue | None) -> _Glance:
        glance = _Glance(
            secret.version,
            secret.condition,
            frozenset(secret.custom),
            value.fingerprint() if value else None,
            place.layout,
        )
        self._glances.note(place, glance)
        return glance


def _patched(adapter: JSONAdapter, path: str, body: Mapping[str, Any]) -> object:
    # A new dictionary each time: hvac puts the token and the namespace of its session into it.
    return adapter.request("patch", f"/v1/{quote(path)}", json=body, headers=dict(_MERGE))


def _require_short(place: Place) -> None:
    if len(place.prefix.encode()) + max(map(len, KeyMetadata.__slots__)) > KEY_BYTES:
        raise WrongDestination(f"{place.name}: the field's name is too long for its metadata")


def _changed_at(secret: _Secret) -> datetime | None:
    """When the version was written; where it was deleted since, when that was."""
    # A living version can have a deletion time as well: one to come (delete_version_after).
    deleted = secret.state.get("deletion_time") if secret.fields is None else None
    text = deleted or secret.state.get("created_time")
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _changed_by(secret: _Secret) -> str:
    """Vault Enterprise tells it (``created_by``: actor, client_id, operation); Vault and OpenBao do not."""
    by = secret.state.get("deleted_by" if secret.fields is None else "created_by")
    if not isinstance(by, dict):
        return ""
    told = [str(by[name]) for name in ("actor", "client_id") if by.get(name)]
    return "".join(character for character in " ".join(told) if character.isprintable())[:_VALUE_BYTES]


def _clipped(text: str | None) -> str | None:
    return None if text is None else text.encode()[:_VALUE_BYTES].decode(errors="ignore")
