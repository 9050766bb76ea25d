"""Where a key lies in a KV engine, and how it lies there. Pure: no request is made here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

from rotator.domain.layout import Layout
from rotator.domain.model import Destination, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import BackendUnavailable, WrongDestination


class KvVersion(IntEnum):
    """Of an engine."""

    ONE = 1
    TWO = 2


KEY_BYTES = 128
"""How long the name of a pair of custom metadata can be (KV v2 API, "Create/update metadata")."""

_FRESH = 30.0  # seconds
_VERSIONS = {"1": KvVersion.ONE, "2": KvVersion.TWO}
_Seen = TypeVar("_Seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One field of one secret.

    :param mount: of the engine, without slashes around it.
    :param path: of the secret, without ``data/``.
    :param kv_version: as configured; ``None`` where it is to be found out.
    """

    name: str
    mount: str
    path: str
    field: str
    kv_version: KvVersion | None
    layout: Layout

    @property
    def data(self) -> str:
        """KV version 2: the path of the secret's versions."""
        return f"{self.mount}/data/{self.path}"

    @property
    def destroy(self) -> str:
        """KV version 2: the path by which versions are destroyed."""
        return f"{self.mount}/destroy/{self.path}"

    @property
    def metadata(self) -> str:
        """KV version 2: the path of what is known of the secret."""
        return f"{self.mount}/metadata/{self.path}"

    @property
    def plain(self) -> str:
        """KV version 1: the path of the secret."""
        return f"{self.mount}/{self.path}"

    @property
    def prefix(self) -> str:
        """What the names of its custom metadata begin with."""
        return f"rotator/{self.field}/"

    def value_in(self, fields: Mapping[str, Any]) -> SecretValue | None:
        """The key among a secret's fields; ``None`` where it is missing or empty.

        ``WrongDestination`` where the field holds no text, or not what the template says. The content is never told.
        """
        value = fields.get(self.field)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise WrongDestination(f"{self.name}: the field holds no text")
        try:
            return self.layout.decode(SecretValue(value))
        except WrongDestination as error:
            raise WrongDestination(f"{self.name}: {error}") from None

    def fields_for(self, value: SecretValue, metadata: KeyMetadata) -> dict[str, str]:
        """What a write sets: the field of the key, and those beside it."""
        facts = metadata.as_pairs()
        return {self.field: self.layout.encode(value, facts).reveal(), **self.layout.fields(facts)}


def place_of(destination: Destination) -> Place:
    """Read the options; ``WrongDestination`` where they name no secret."""
    options = [destination.option(name) or "" for name in ("mount", "path", "field")]
    mount, path, name = options[0].strip("/"), options[1].strip("/"), options[2]
    version = destination.option("kv_version")
    if not (mount and path and name):
        raise WrongDestination(f"{destination}: a Vault destination needs mount, path and field")
    if any(part in {"", ".", ".."} for part in f"{mount}/{path}".split("/")):
        raise WrongDestination(f"{destination}: mount and path can't have empty parts, '.' or '..'")
    if version and version not in _VERSIONS:
        raise WrongDestination(f"{destination}: a kv_version is 1 or 2")
    return Place(
        name=destination.name,
        mount=mount,
        path=path,
        field=name,
        kv_version=_VERSIONS[version] if version else None,
        layout=destination.layout,
    )


def data_of(answer: object) -> dict[str, Any]:
    """The ``data`` of an answer; ``BackendUnavailable`` where it is none of Vault's."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise BackendUnavailable("the answer is not what Vault sends")
    return data


class Glances(Generic[_Seen]):
    """What was seen last at each place, without any content: it spares requests, and decides nothing by itself."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[_Seen, float]] = {}
        self._fresh: set[str] = set()

    def note(self, place: Place, seen: _Seen) -> None:
        """A read is over."""
        self._seen[place.name] = (seen, time.monotonic())
        self._fresh.add(place.name)

    def last(self, place: Place) -> _Seen | None:
        """However long ago."""
        found = self._seen.get(place.name)
        return found[0] if found else None

    def just_now(self, place: Place) -> _Seen | None:
        """Of the read that this look began with; told once."""
        found = self._seen.get(place.name)
        if found is None or place.name not in self._fresh:
            return None
        self._fresh.discard(place.name)
        return found[0] if time.monotonic() - found[1] < _FRESH else None
