"""Destinations: checked by the kind of their backend, and known by one canonical identity each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from rotator.config.check import Faults, shown
from rotator.config.settings import AwsSettings, BackendSettings, DotenvSettings, VaultSettings
from rotator.config.shapes import AwsPlace, DotenvPlace, VaultPlace
from rotator.config.source import FieldPath
from rotator.domain.model import Destination


@dataclass(frozen=True, slots=True)
class Placed:
    """A destination, and the place that it really is, whatever the backend is called.

    :param identity: ends with the field; an empty one is the place as a whole.
    """

    destination: Destination
    identity: tuple[str, ...]


def place(
    given: object, path: FieldPath, backends: Mapping[str, BackendSettings], folder: Path, faults: Faults
) -> Placed | None:
    """One destination as written; ``None`` after its faults were added."""
    if not isinstance(given, Mapping):
        faults.add(path, shown(given), "allowed: a mapping that begins with 'backend'")
        return None
    settings = faults.one_of(backends, given.get("backend"), (*path, "backend"), "a configured backend")
    match settings:
        case DotenvSettings():
            return _dotenv(faults.check(DotenvPlace, given, path), folder)
        case VaultSettings():
            return _vault(faults.check(VaultPlace, given, path), settings)
        case AwsSettings():
            return _aws(faults.check(AwsPlace, given, path), settings)
        case _:
            return None


def _dotenv(shape: DotenvPlace | None, folder: Path) -> Placed | None:
    if shape is None:
        return None
    file = folder / shape.path
    options = (("field", shape.field), ("path", str(file)))
    name = f"{shape.backend}:{file}#{shape.field}"
    real = os.path.realpath(file)  # Path.resolve() raises on a loop of links
    return Placed(Destination(shape.backend, name, options), ("dotenv", real, shape.field))


def _vault(shape: VaultPlace | None, settings: VaultSettings) -> Placed | None:
    if shape is None:
        return None
    mount, path = shape.mount.strip("/"), shape.path.strip("/")
    options = (("field", shape.field), ("mount", mount), ("path", path))
    name = f"{shape.backend}:{mount}/{path}#{shape.field}"
    # A namespace and a mount stand side by side in the request's path, and can be written in either field.
    whole = "/".join(part for part in ((settings.namespace or "").strip("/"), mount, path) if part)
    return Placed(Destination(shape.backend, name, options), ("vault", _host(settings.url), whole, shape.field))


def _aws(shape: AwsPlace | None, settings: AwsSettings) -> Placed | None:
    if shape is None:
        return None
    options = (
        (("field", shape.field), ("secret_id", shape.secret_id)) if shape.field else (("secret_id", shape.secret_id),)
    )
    name = f"{shape.backend}:{shape.secret_id}" + (f"#{shape.field}" if shape.field else "")
    endpoint = settings.endpoint_url or f"https://secretsmanager.{settings.region}.amazonaws.com"
    # A profile can mean another account, where the same name is another secret.
    where = (settings.region, _host(endpoint), settings.profile or "")
    return Placed(Destination(shape.backend, name, options), ("aws", *where, shape.secret_id, shape.field or ""))


@lru_cache(maxsize=64)
def _host(url: str) -> str:
    """A URL in one spelling: small letters, with its port, without a last slash."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # reported where the URL is
        return url
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
