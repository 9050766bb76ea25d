"""Which version of KV is mounted where: as configured, or as ``sys/internal/ui/mounts`` tells.

That endpoint answers every token that has any right below the mount, and needs no line in a policy (Vault and
OpenBao, ``vault/logical_system.go``: it checks the token's rights by itself). What it told is remembered.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from rotator.adapters.backends.vault_place import KvVersion, Place, data_of
from rotator.adapters.backends.vault_session import Refusal, VaultSession
from rotator.errors import BackendDenied, BackendUnavailable, WrongDestination

_KINDS = ("kv", "generic")  # "generic" is what KV version 1 was called before Vault 0.10
_SURE_FOR = 60.0  # seconds


class Engines:
    """The KV version of every mount that was asked about."""

    def __init__(self, session: VaultSession) -> None:
        self._session = session
        self._known: dict[str, tuple[KvVersion, float]] = {}

    def version(self, place: Place) -> KvVersion:
        """1 or 2. Raises ``WrongDestination`` where nothing of that kind is mounted."""
        if place.kv_version is not None:
            return place.kv_version
        known = self._known.get(place.mount)
        if known is not None:
            return known[0]
        version = self._told(place)
        if version is None:
            version = self._tried(place)
        self._known[place.mount] = (version, time.monotonic())
        return version

    def confirm(self, place: Place, version: KvVersion) -> None:
        """An empty answer is believed only of an engine of that version.

        Each version answers like an empty one when it is asked in the other's way, and KV version 1 would take a
        write meant for version 2 as a secret named ``data/...``. An engine can be upgraded while we run.
        """
        _, asked = self._known.get(place.mount, (version, float("-inf")))
        if time.monotonic() - asked < _SURE_FOR:
            return
        told = self._told(place)
        if told is None:
            return  # nobody says otherwise
        self._known[place.mount] = (told, time.monotonic())
        if told == version:
            return
        if place.kv_version is not None:
            raise WrongDestination(
                f"{place.name}: {place.mount}/ is no KV version {version:d} engine, but version {told:d}"
            )
        raise BackendUnavailable(f"{place.name}: {place.mount}/ became a KV version {told:d} engine; it is read anew")

    def _told(self, place: Place) -> KvVersion | None:
        """What the server says; ``None`` where it does not answer this credential."""
        path = f"sys/internal/ui/mounts/{place.mount}"
        try:
            answer = self._session.ask(lambda adapter: adapter.get(f"/v1/{quote(path)}"), f"read on {path}")
        except Refusal:
            return None
        except BackendDenied as error:
            if not _is_about(path, error):
                raise
            return None
        mount = data_of(answer)
        where = str(mount.get("path") or "").strip("/")
        if where != place.mount:
            raise WrongDestination(f"{place.name}: the engine is mounted at {where}/, not at {place.mount}/")
        return _kv_version(place, mount)

    def _tried(self, place: Place) -> KvVersion:
        """By reading the secret as version 2 has it: that tells it from version 1 where there is one."""
        try:
            body = self._session.ask(lambda adapter: adapter.get(f"/v1/{quote(place.data)}"), f"read on {place.data}")
        except Refusal as refusal:
            if refusal.body.get("errors"):
                raise WrongDestination(f"{place.name}: nothing is mounted at {place.mount}/") from None
            body = refusal.body
        except BackendDenied as error:
            if not _is_about(place.data, error):
                raise
            body = None
        data = body.get("data") if isinstance(body, dict) else None
        if isinstance(data, dict) and isinstance(data.get("metadata"), dict) and "version" in data["metadata"]:
            return KvVersion.TWO
        raise BackendDenied(
            f"{place.name}: whether {place.mount}/ is KV version 1 or 2 can't be found out: the credential has no "
            f"right on the secret, or read on sys/internal/ui/mounts/{place.mount} is denied: grant one, or say "
            "kv_version: 1 or kv_version: 2 for this destination"
        )


def _is_about(path: str, denied: BackendDenied) -> bool:
    """Whether the request itself was denied, and not the login before it."""
    return str(denied).startswith(f"read on {path}:")


def _kv_version(place: Place, mount: dict[str, Any]) -> KvVersion:
    if mount.get("type") not in _KINDS:
        raise WrongDestination(f"{place.name}: {place.mount}/ is no KV engine")
    return KvVersion.TWO if (mount.get("options") or {}).get("version") == "2" else KvVersion.ONE
