"""Which capabilities a place takes, and whether the credential has them (``sys/capabilities-self``).

What is needed is written down here once: the check before a rotation and ``rotator policy vault`` both take it from
here. Sources: Vault documentation, "Policies", "Capabilities"; KV v2 API; tried on OpenBao 2.7: a POST to a secret of
KV v2 that never existed takes ``create``, any other ``update``, also where the latest version is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hvac.api import SystemBackend

from rotator.adapters.backends.vault_place import KvVersion, Place, data_of
from rotator.adapters.backends.vault_session import VaultSession
from rotator.errors import BackendDenied

ASKING = "sys/capabilities-self"
_QUESTION = f"update on {ASKING}"


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


def to_take(place: Place, version: KvVersion) -> list[Need]:
    """What an inbox takes: a person's key is read there, and destroyed for ever."""
    if version is KvVersion.ONE:
        read = Need(path=place.plain, capability="read", why="looks whether a person has put a key there")
        return [read, Need(path=place.plain, capability="delete", why="destroys what was taken")]
    read = Need(path=place.data, capability="read", why="looks whether a person has put a key there")
    return [read, Need(path=place.destroy, capability="update", why="destroys what was taken, every version")]


@dataclass(frozen=True, slots=True)
class Granted:
    """What the server says that the credential may do, by path."""

    by_path: Mapping[str, frozenset[str]]

    def has(self, need: Need) -> bool:
        """Whether this is granted, or what does as well."""
        return bool(self.by_path[need.path] & {"root", need.capability, need.instead})

    def require(self, place: Place, needs: Iterable[Need]) -> None:
        """Raise ``BackendDenied`` that names everything that is missing, with its path."""
        missing: dict[str, list[str]] = {}
        for need in needs:
            if not self.has(need):
                missing.setdefault(need.path, []).append(str(need))
        if missing:
            told = "; ".join(f"{', '.join(lacking)} on {path}" for path, lacking in missing.items())
            raise BackendDenied(f"{place.name}: the credential lacks {told}")


class Rights:
    """Asks, and remembers what a write must know."""

    def __init__(self, session: VaultSession) -> None:
        self._session = session
        self._patch: dict[str, bool] = {}

    def ask(self, place: Place, needs: Iterable[Need]) -> Granted:
        """What is granted on the paths of these needs. One request."""
        try:
            return self._granted(sorted({need.path for need in needs}))
        except BackendDenied as error:
            if not str(error).startswith(_QUESTION):
                raise  # the login
            raise BackendDenied(
                f"{place.name}: the credential may not ask for its own rights: grant {_QUESTION}, as the 'default' "
                "policy does"
            ) from None

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

    def _granted(self, paths: list[str]) -> Granted:
        answer = self._session.ask(lambda adapter: SystemBackend(adapter).get_capabilities(paths), _QUESTION)
        data = data_of(answer)
        granted = Granted({path: frozenset(data.get(path) or ()) for path in paths})
        self._patch.update({path: bool(have & {"patch", "root"}) for path, have in granted.by_path.items()})
        return granted
