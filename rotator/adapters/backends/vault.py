"""Secrets in a KV version 2 engine of Vault or OpenBao.

Options of a destination: ``mount``, ``path`` and ``field``.

- **Version**: the KV version of the whole secret, ``0`` where it never existed. A write reads, keeps the other
  fields, and sends check-and-set; a change of another field is a conflict as well, after which the caller looks
  again. A deleted or destroyed latest version is an empty destination with its number.
- **Hints**: custom metadata ``rotator/<field>/<name>``, merged by PATCH, so that other pairs, and other policies in
  the same secret, keep theirs. Limits (KV v2 API, "Create/update metadata"): 64 pairs, keys of 128 and values of 512
  bytes; that is seven managed fields in one secret.
- The value is written first. When the hints then fail, ``OutcomeUnknown`` says that the value is there: the caller
  looks, finds it, and goes on. A missing right is found before, by ``check_writable``.
- **Least policy** for ``secret/data/app``::

    path "secret/data/app"     { capabilities = ["create", "read", "update"] }
    path "secret/metadata/app" { capabilities = ["patch"] }

  and the ``default`` policy for ``sys/capabilities-self``, ``sys/internal/ui/mounts`` and ``revoke-self``.
  Reading alone (a dry run) needs ``read`` on ``secret/data/app``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hvac.api import SystemBackend
from hvac.api.secrets_engines import KvV2

from rotator.adapters.backends.vault_session import (
    AppRoleAuth,
    Auth,
    Now,
    Refusal,
    TokenAuth,
    Transport,
    VaultSession,
    utc_now,
)
from rotator.domain.model import Destination, Held, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    OutcomeUnknown,
    RotatorError,
    VersionConflict,
    WrongDestination,
)

__all__ = ["AppRoleAuth", "TokenAuth", "VaultBackend"]

_PAIRS, _KEY_BYTES, _VALUE_BYTES = 64, 128, 512
_VERSIONS_KEPT = 10  # KV v2's default max_versions: how far back a previous value is looked for


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    mount: str
    path: str
    field: str

    @property
    def data(self) -> str:
        return f"{self.mount}/data/{self.path}"

    @property
    def metadata(self) -> str:
        return f"{self.mount}/metadata/{self.path}"

    @property
    def prefix(self) -> str:
        return f"rotator/{self.field}/"


@dataclass(frozen=True, slots=True)
class _Secret:
    """One version as it was read; its fields are in no repr."""

    fields: Mapping[str, Any]
    version: int
    custom: Mapping[str, str]

    __repr__ = object.__repr__


class VaultBackend:
    """A ``rotator.ports.SecretBackend`` over KV v2.

    :param namespace: sent with every request (``X-Vault-Namespace``).
    :param ca_file: certificates to trust instead of the system's.
    :param timeout: seconds to connect, and again between two bytes of an answer.
    :param pool_size: connections that are kept; as many as threads use it at a time.
    :param transport: proxy, client certificate, server name, nodes.
    """

    def __init__(
        self,
        *,
        url: str,
        auth: Auth,
        namespace: str | None = None,
        ca_file: str | None = None,
        timeout: float = 10.0,
        pool_size: int = 10,
        transport: Transport = Transport(),  # noqa: B008 -- frozen
        now: Now = utc_now,
    ) -> None:
        self._session = VaultSession(
            url=url,
            auth=auth,
            namespace=namespace,
            ca_file=ca_file,
            timeout=timeout,
            pool_size=pool_size,
            transport=transport,
            now=now,
        )

    def read(self, destination: Destination) -> Held:
        """See the port. One request."""
        place = _place(destination)
        secret = self._look(place)
        hints = {
            name.removeprefix(place.prefix): text
            for name, text in secret.custom.items()
            if name.startswith(place.prefix)
        }
        return Held(value=_value(place, secret), version=str(secret.version), metadata=hints)

    def read_previous(self, destination: Destination) -> SecretValue | None:
        """The last other value of the field, among the versions that the engine keeps by default."""
        place = _place(destination)
        latest = self._look(place)
        current = _value(place, latest)
        for version in range(latest.version - 1, max(0, latest.version - _VERSIONS_KEPT), -1):
            value = _value(place, self._look(place, version))
            if value is not None and (current is None or not value.same_as(current)):
                return value
        return None

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:  # noqa: ARG002 -- the port's signature
        """See the port: ``namespace``, ``token_namespace``, ``cluster_name`` and ``cluster_id``. Two requests."""
        return self._session.facts()

    def check_writable(self, destination: Destination) -> None:
        """See the port. Asks for the capabilities on both paths in one request, and for the secret."""
        place = _place(destination)
        answer = self._session.ask(
            lambda adapter: SystemBackend(adapter).get_capabilities([place.data, place.metadata]),
            "update on sys/capabilities-self",
        )
        granted = _data(answer)
        for path, needed in ((place.data, ("read", "create", "update")), (place.metadata, ("patch",))):
            have = granted.get(path) or []
            if "root" not in have and (missing := [capability for capability in needed if capability not in have]):
                raise BackendDenied(f"{place.name}: the credential lacks {', '.join(missing)} on {path}")
        names = {place.prefix + name for name in KeyMetadata.__slots__}
        if len(names | set(self._look(place).custom)) > _PAIRS:
            raise WrongDestination(f"{place.name}: its custom metadata has no room left ({_PAIRS} pairs)")

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """See the port. Three requests: read, check-and-set, hints."""
        place = _place(destination)
        secret = self._look(place)
        held = _value(place, secret)
        if held is None or not held.same_as(value):
            if str(secret.version) != expected:
                raise VersionConflict(f"{place.name}: the secret is at version {secret.version}, not {expected}")
            fields = {**secret.fields, place.field: value.reveal()}
            answer = self._session.change(
                lambda adapter: KvV2(adapter).create_or_update_secret(
                    place.path, fields, cas=secret.version, mount_point=place.mount
                ),
                f"update on {place.data}",
            )
            if not isinstance(answer, dict):
                raise OutcomeUnknown(f"update on {place.data}: the answer is not what Vault sends")
        self._hint(place, metadata)

    def close(self) -> None:
        """Give back connections and the token of our own login."""
        self._session.close()

    def _look(self, place: _Place, version: int | None = None) -> _Secret:
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
                self._require_kv2(place)
                return _Secret({}, 0, {})
        data = _data(answer)
        state = data.get("metadata")
        if not isinstance(state, dict) or not isinstance(state.get("version"), int):
            raise WrongDestination(f"{place.name}: {place.mount}/ is no KV version 2 engine")
        fields = data.get("data")
        return _Secret(fields if isinstance(fields, dict) else {}, state["version"], state.get("custom_metadata") or {})

    def _require_kv2(self, place: _Place) -> None:
        """KV version 1 answers like an empty version 2, and would take our write as a secret named ``data/...``."""
        path = f"sys/internal/ui/mounts/{place.mount}"
        answer = self._session.ask(lambda adapter: adapter.get(f"/v1/{path}"), f"read on {path}")
        mount = _data(answer)
        if mount.get("type") != "kv" or (mount.get("options") or {}).get("version") != "2":
            raise WrongDestination(f"{place.name}: {place.mount}/ is no KV version 2 engine")

    def _hint(self, place: _Place, metadata: KeyMetadata) -> None:
        pairs = metadata.as_pairs()
        # In a merge patch null takes a pair away (RFC 7396): a former rotation's must not stay.
        custom = {place.prefix + name: _clipped(pairs.get(name)) for name in KeyMetadata.__slots__}
        try:
            self._session.ask(
                lambda adapter: adapter.request(
                    "patch",
                    f"/v1/{place.metadata}",
                    json={"custom_metadata": custom},
                    headers={"Content-Type": "application/merge-patch+json"},
                ),
                f"patch on {place.metadata}",
            )
        except (RotatorError, Refusal) as error:
            raise OutcomeUnknown(f"{place.name}: the value is written, its metadata is not ({error})") from error


def _place(destination: Destination) -> _Place:
    options = [destination.option(name) or "" for name in ("mount", "path", "field")]
    mount, path, field = options[0].strip("/"), options[1].strip("/"), options[2]
    if not (mount and path and field):
        raise WrongDestination(f"{destination}: a Vault destination needs mount, path and field")
    if any(part in {"", ".", ".."} for part in f"{mount}/{path}".split("/")):
        raise WrongDestination(f"{destination}: mount and path can't have empty parts, '.' or '..'")
    place = _Place(destination.name, mount, path, field)
    if len(place.prefix.encode()) + max(map(len, KeyMetadata.__slots__)) > _KEY_BYTES:
        raise WrongDestination(f"{destination}: the field's name is too long for its metadata")
    return place


def _value(place: _Place, secret: _Secret) -> SecretValue | None:
    value = secret.fields.get(place.field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise WrongDestination(f"{place.name}: the field holds no text")
    return SecretValue(value)


def _data(answer: object) -> dict[str, Any]:
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise BackendUnavailable("the answer is not what Vault sends")
    return data


def _clipped(text: str | None) -> str | None:
    return None if text is None else text.encode()[:_VALUE_BYTES].decode(errors="ignore")
