"""Which capabilities a place takes, and whether the credential has them (``sys/capabilities-self``).

What is needed is written down here once: the check before a rotation and ``rotator policy vault`` both take it from
here. Sources: Vault documentation, "Policies", "Capabilities"; KV v2 API; tried on OpenBao 2.7: a POST to a secret of
KV v2 that never existed takes ``create``, any other ``update``, also where the latest version is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

from hvac.api import SystemBackend

from rotator.adapters.backends.vault_place import KvVersion, Place, data_of
from rotator.adapters.backends.vault_session import VaultSession
from rotator.errors import BackendDenied

ASKING = "sys/capabilities-self"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One capability on one path.

    :param why: what it is used for, for people.
    :param instead: another capability that does as well.
    """

    path: str
    capability: str
    why: str
    instead: str = ""

    def __str__(self) -> str:
        return f"{self.capability} (or {self.instead})" if self.instead else self.capability


def to_read(place: Place, version: KvVersion) -> Need:
    """What a look takes, and also the previous value."""
    path = place.data if version is KvVersion.TWO else place.plain
    return Need(path=path, capability="read", why="every look, and the value before the current one")


def to_write(place: Place, version: KvVersion) -> dict[str, Need]:
    """What a write takes, by the state that it finds: never written, living, gone; and always."""
    if version is KvVersion.ONE:
        first = Need(path=place.plain, capability="create", why="the first key, where there is no secret yet")
        later = Need(path=place.plain, capability="update", why="every other key")
        return {"never": first, "living": later}
    return {
        "never": Need(path=place.data, capability="create", why="the first key, where there is no secret yet"),
        "living": Need(path=place.data, capability="patch", why="every other key", instead="update"),
        "gone": Need(path=place.data, capability="update", why="a key after the latest version was deleted"),
        "always": Need(path=place.metadata, capability="patch", why="the hints: custom metadata"),
    }


class Rights:
    """What the credential may do."""

    def __init__(self, session: VaultSession) -> None:
        self._session = session
        self._patch: dict[str, bool] = {}

    def require(self, place: Place, needs: list[Need]) -> None:
        """Raise ``BackendDenied`` that names everything that is missing. One request."""
        paths = sorted({need.path for need in needs})
        try:
            granted = self._granted(paths)
        except BackendDenied:
            raise BackendDenied(
                f"{place.name}: the credential may not ask for its own rights: grant update on {ASKING}, as the "
                "'default' policy does"
            ) from None
        missing = {
            path: [str(need) for need in needs if need.path == path and not _has(granted[path], need)] for path in paths
        }
        if any(missing.values()):
            told = "; ".join(f"{', '.join(lacking)} on {path}" for path, lacking in missing.items() if lacking)
            raise BackendDenied(f"{place.name}: the credential lacks {told}")

    def may_patch(self, path: str) -> bool:
        """Whether one field can be changed without sending the others; remembered until ``forget``."""
        if path not in self._patch:
            try:
                self._granted([path])
            except BackendDenied:
                return False
        return self._patch[path]

    def forget(self, path: str) -> None:
        """A request was denied although it should not have been: the policy was changed."""
        self._patch.pop(path, None)

    def _granted(self, paths: list[str]) -> dict[str, set[str]]:
        answer = self._session.ask(
            lambda adapter: SystemBackend(adapter).get_capabilities(paths), f"update on {ASKING}"
        )
        data = data_of(answer)
        granted = {path: set(data.get(path) or ()) for path in paths}
        self._patch.update({path: bool(have & {"patch", "root"}) for path, have in granted.items()})
        return granted


def _has(granted: set[str], need: Need) -> bool:
    return bool(granted & {"root", need.capability, need.instead})
