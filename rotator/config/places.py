"""Destinations: checked by the kind of their backend, and known by one canonical identity each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from rotator.config.check import Faults, shown
from rotator.config.plugged import check, described
from rotator.config.settings import (
    AwsSettings,
    BackendSettings,
    DotenvSettings,
    PluggedBackendSettings,
    VaultSettings,
)
from rotator.config.shapes.places import AwsPlace, DestinationShape, DotenvPlace, PluggedPlace, VaultPlace
from rotator.config.source import FieldPath
from rotator.domain.layout import Layout, problem_of
from rotator.domain.model import Destination

_CREATABLE = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")  # Secrets Manager API Reference, CreateSecret, Name
_NAMES = "allowed: for a secret's name of letters, digits and '/_+=.@-', not for an ARN"
_FORMED = frozenset({"template", "beside", "expect"})
_FORM = frozenset({"beside", "expect"})


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
            if file := faults.check(DotenvPlace, given, path):
                return _formed(_dotenv(file, folder), file, path, faults)
        case VaultSettings():
            field = faults.check(VaultPlace, given, path)
            if field and _is_as_sent(field, path, faults):
                return _formed(_vault(field, settings), field, path, faults)
        case AwsSettings():
            secret = faults.check(AwsPlace, given, path)
            if secret and secret.create is not None and not _CREATABLE.fullmatch(secret.secret_id):
                faults.add((*path, "create"), f"for {shown(secret.secret_id)}", _NAMES)
            elif secret:
                return _formed(_aws(secret, settings), secret, path, faults)
        case PluggedBackendSettings():
            return _plugged(given, path, settings, folder, faults)
    return None


def _formed(
    placed: Placed, shape: DotenvPlace | VaultPlace | AwsPlace | PluggedPlace, path: FieldPath, faults: Faults
) -> Placed | None:
    """The place with its layout, and with what is expected of it."""
    if not shape.model_fields_set & _FORMED:
        return placed  # as nearly every place of thousands is written
    before = len(faults.found)
    if shape.template is not None and (problem := problem_of(shape.template)):
        faults.add((*path, "template"), problem, "allowed: a mapping with '{key}' in exactly one of its texts")
    if shape.beside and not shape.field:
        faults.add((*path, "beside"), "fields beside a whole secret", "allowed: with a field (or use a template)")
    if shape.field in shape.beside:
        faults.add((*path, "beside", str(shape.field)), "the field of the key", "allowed: other fields")
    if len(faults.found) > before:
        return None
    template = json.dumps(shape.template, sort_keys=True) if shape.template else ""
    layout = Layout(template=template, beside=tuple(sorted(shape.beside.items())))
    expect = tuple(sorted(shape.expect.model_dump(exclude_none=True).items()))
    return replace(placed, destination=replace(placed.destination, layout=layout, expect=expect))


def _dotenv(shape: DotenvPlace, folder: Path) -> Placed:
    file = folder / shape.path
    options = (("field", shape.field), ("path", str(file)))
    name = f"{shape.backend}:{file}#{shape.field}"
    real = os.path.realpath(file)  # Path.resolve() raises on a loop of links
    return Placed(Destination(shape.backend, name, options), ("dotenv", real, shape.field))


def _is_as_sent(shape: VaultPlace, path: FieldPath, faults: Faults) -> bool:
    """Whether mount and path name the same place for everybody: such parts are taken away on the way, or not."""
    odd = [
        (name, text)
        for name, text in (("mount", shape.mount), ("path", shape.path))
        if {"", ".", ".."} & set(text.strip("/").split("/"))
    ]
    for name, text in odd:
        faults.add((*path, name), shown(text), "allowed: a path without empty parts, '.' and '..'")
    return not odd


def _vault(shape: VaultPlace, settings: VaultSettings) -> Placed:
    mount, path = shape.mount.strip("/"), shape.path.strip("/")
    version = () if shape.kv_version is None else (("kv_version", str(shape.kv_version)),)
    options = (("field", shape.field), *version, ("mount", mount), ("path", path))
    name = f"{shape.backend}:{mount}/{path}#{shape.field}"
    # A namespace and a mount stand side by side in the request's path, and can be written in either field.
    whole = "/".join(part for part in ((settings.namespace or "").strip("/"), mount, path) if part)
    return Placed(Destination(shape.backend, name, options), ("vault", _host(settings.url), whole, shape.field))


def _aws(shape: AwsPlace, settings: AwsSettings) -> Placed:
    options = {"secret_id": shape.secret_id}
    if shape.field:
        options["field"] = shape.field
    if shape.create is not None:
        options["create"] = json.dumps(shape.create.model_dump(exclude_none=True), sort_keys=True)
    if shape.managed_rotation == "allow":
        options["managed_rotation"] = "allow"
    name = f"{shape.backend}:{shape.secret_id}" + (f"#{shape.field}" if shape.field else "")
    endpoint = settings.endpoint_url or f"https://secretsmanager.{settings.region}.amazonaws.com"
    # A profile or a role can mean another account, where the same name is another secret.
    where = (settings.region, _host(endpoint), settings.account or settings.profile or "")
    destination = Destination(shape.backend, name, tuple(sorted(options.items())))
    return Placed(destination, ("aws", *where, shape.secret_id, shape.field or ""))


def _plugged(
    given: Mapping[str, object], path: FieldPath, settings: PluggedBackendSettings, folder: Path, faults: Faults
) -> Placed | None:
    own = {name: value for name, value in given.items() if name in DestinationShape.model_fields or name in _FORM}
    rest = {name: value for name, value in given.items() if name not in own}
    field = rest.get("field")
    shape = faults.check(PluggedPlace, {**own, **({"field": field} if isinstance(field, str) else {})}, path)
    place = check(faults, settings.plugin.place, rest, path, folder)
    tells = settings.plugin.tells
    for name in shape.expect.model_dump() if shape else ():
        if name not in tells:
            allowed = f"allowed: {', '.join(tells) or 'nothing: this type of backend does not tell where it is'}"
            faults.add((*path, "expect", name), "a name that this type of backend does not tell", allowed)
    told = None if place is None else described(faults, settings, place, path)
    if shape is None or told is None:
        return None
    where, texts = told
    field = texts.get("field", "")
    around = [text for name, text in texts.items() if name != "field"]
    name = f"{shape.backend}:{'/'.join(around)}" + (f"#{field}" if field else "")
    destination = Destination(shape.backend, name, tuple(sorted(texts.items())))
    known = ("plugin", settings.type, *(where or (shape.backend, *around)), field)
    return _formed(Placed(destination, known), shape, path, faults)


@lru_cache(maxsize=64)
def _host(url: str) -> str:
    """A URL in one spelling: small letters, with its port, without a last slash."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # reported where the URL is
        return url
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
