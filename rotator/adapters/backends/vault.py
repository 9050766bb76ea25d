"""Secrets in the KV engines of Vault or OpenBao, version 2 (``vault_kv2``) and version 1 (``vault_kv1``).

Options of a destination: ``mount``, ``path``, ``field`` and, where it is said, ``kv_version``. The engine's version is
found out otherwise (``vault_engine``). The rights that it takes are in ``vault_rights``, and ``rotator policy vault``
prints them as a policy (``vault_policy``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rotator.adapters.backends.vault_engine import Engines
from rotator.adapters.backends.vault_granted import rights_of
from rotator.adapters.backends.vault_kv1 import Kv1
from rotator.adapters.backends.vault_kv2 import Kv2
from rotator.adapters.backends.vault_listing import Lister, texts, whole
from rotator.adapters.backends.vault_place import KvVersion, Place, place_of
from rotator.adapters.backends.vault_rights import Rights
from rotator.adapters.backends.vault_session import AppRoleAuth, Auth, Now, TokenAuth, Transport, VaultSession, utc_now
from rotator.domain.audit.surroundings import Granted
from rotator.domain.model import Destination, Held, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.ports import Listed, Spot

__all__ = ["AppRoleAuth", "TokenAuth", "VaultBackend"]


class VaultBackend:
    """A ``rotator.ports.SecretBackend`` over KV engines.

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
        engines, rights = Engines(self._session), Rights(self._session)
        self._engines, self._lister = engines, Lister(self._session, engines)
        self._kv1, self._kv2 = Kv1(self._session, engines, rights), Kv2(self._session, engines, rights)

    def read(self, destination: Destination) -> Held:
        """See the port. One request; one more for the first of a mount."""
        place, kv = self._at(destination)
        return kv.read(place)

    def read_previous(self, destination: Destination) -> SecretValue | None:
        """See the port. ``None`` in KV version 1."""
        place, kv = self._at(destination)
        return kv.read_previous(place) if isinstance(kv, Kv2) else None

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:  # noqa: ARG002 -- the port's signature
        """See the port: ``namespace``, ``token_namespace``, ``cluster_name`` and ``cluster_id``. Two requests."""
        return self._session.facts()

    def check_writable(self, destination: Destination) -> None:
        """See the port. Asks for all capabilities in one request; what a look has just seen is not read again."""
        place, kv = self._at(destination)
        kv.check_writable(place)

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """See the port. In KV version 1 the comparison and the write are two requests."""
        place, kv = self._at(destination)
        kv.write(place, value, metadata, expected)

    def destroy(self, destination: Destination, expected: str) -> None:
        """See ``rotator.ports.Destroyer``: all versions up to that one; in KV version 1 the secret."""
        place, kv = self._at(destination)
        kv.destroy(place, expected)

    def rights(self, places: Sequence[tuple[Destination, bool]]) -> Granted:
        """See ``ports.TellsRights``. Two requests."""
        return rights_of(self._session, places)

    def places(self, pattern: str) -> Listed:
        """See ``ports.Listing``: ``MOUNT/PATH``. One request for each folder on the way."""
        return self._lister.places(pattern)

    def fields(self, spot: Spot) -> Mapping[str, SecretValue]:
        """See ``ports.Listing``. One request."""
        place = whole(spot)
        kv = self._kv2 if self._engines.version(place) is KvVersion.TWO else self._kv1
        return texts(kv.fields(place))

    def close(self) -> None:
        """Give back connections and the token of our own login."""
        self._session.close()

    def _at(self, destination: Destination) -> tuple[Place, Kv1 | Kv2]:
        place = place_of(destination)
        return place, self._kv2 if self._engines.version(place) is KvVersion.TWO else self._kv1
