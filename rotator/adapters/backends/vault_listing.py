"""What lies in the KV engines of Vault or OpenBao: ``ports.Listing``.

It takes ``list`` on ``MOUNT/metadata/FOLDER/`` (KV version 1: ``MOUNT/FOLDER/``) for each folder, and ``read`` on what
is found. The mount is found out by ``sys/internal/ui/mounts/PATH``, which needs no line in a policy; where that is not
answered, the pattern's first part is taken for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from rotator.adapters.backends.patterns import Pattern, walk
from rotator.adapters.backends.vault_engine import Engines
from rotator.adapters.backends.vault_place import KvVersion, Place, data_of
from rotator.adapters.backends.vault_session import Refusal, VaultSession
from rotator.domain.layout import PLAIN
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, WrongDestination
from rotator.ports import Listed, Spot


class Lister:
    """The part of ``VaultBackend`` that lists."""

    def __init__(self, session: VaultSession, engines: Engines) -> None:
        self._session = session
        self._engines = engines

    def places(self, text: str) -> Listed:
        """See ``ports.Listing``."""
        pattern = Pattern(text.strip("/"))
        if not pattern.folder or {"", ".", ".."} & set(pattern.text.split("/")):
            raise WrongDestination(f"{text}: a pattern is MOUNT/PATH, and the mount has no wildcard: secret/apps/**")
        mount = self._mount(pattern.folder)
        if not pattern.text.startswith(f"{mount}/"):
            raise WrongDestination(f"{text}: the mount is {mount}/, and the pattern has no path below it")
        if pattern.is_literal:
            return Listed((_spot(mount, pattern.text),))
        version = self._engines.version(_place(mount, f"{pattern.folder}/any".removeprefix(f"{mount}/")))
        walked = walk(pattern, partial(self._children, mount, version))
        return Listed(tuple(_spot(mount, path) for path in walked.found), tuple(walked.problems))

    def _mount(self, folder: str) -> str:
        path = f"sys/internal/ui/mounts/{folder}"
        try:
            answer = self._session.ask(lambda adapter: adapter.get(f"/v1/{quote(path)}"), f"read on {path}")
        except (Refusal, BackendDenied) as error:
            if isinstance(error, BackendDenied) and not str(error).startswith(f"read on {path}:"):
                raise  # the login
            return folder.partition("/")[0]
        return str(data_of(answer).get("path") or "").strip("/") or folder.partition("/")[0]

    def _children(self, mount: str, version: KvVersion, folder: str) -> list[tuple[str, bool]]:
        below = folder.removeprefix(mount).strip("/")
        path = "/".join(part for part in (mount, "metadata" if version is KvVersion.TWO else "", below) if part)
        try:
            answer = self._session.ask(lambda adapter: adapter.list(f"/v1/{quote(path)}/"), f"list on {path}/")
        except Refusal:
            return []  # there is no such folder
        names = data_of(answer).get("keys")
        texts = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        return [(name.rstrip("/"), name.endswith("/")) for name in texts]


def whole(spot: Spot) -> Place:
    """The place with all its fields."""
    options = dict(spot.options)
    return _place(options["mount"], options["path"])


def texts(fields: Mapping[str, Any]) -> dict[str, SecretValue]:
    """The fields that are texts, and not empty."""
    return {name: SecretValue(text) for name, text in fields.items() if isinstance(text, str) and text}


def _place(mount: str, path: str) -> Place:
    return Place(name=f"{mount}/{path}", mount=mount, path=path, field="", kv_version=None, layout=PLAIN)


def _spot(mount: str, whole_path: str) -> Spot:
    path = whole_path.removeprefix(f"{mount}/")
    return Spot(options=(("mount", mount), ("path", path)), name=whole_path)
