"""Backends and providers of types that installed packages bring, with errors like those of the built-in ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rotator import plugins
from rotator.config.check import Faults
from rotator.config.secrets import SecretRef
from rotator.config.settings import LimitsSettings, PluggedBackendSettings, PluggedProviderSettings, with_secrets
from rotator.config.shapes.fields import LimitsShape
from rotator.config.shapes.secrets import REFERENCES
from rotator.config.source import FieldPath
from rotator.domain.secret import SecretValue
from rotator.plugins import BackendPlugin, Group, Options, ProviderPlugin, Unusable

STAND_IN = SecretValue("stands in for a secret while the configuration is checked")

_Options = TypeVar("_Options", bound=Options)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluggedReader:
    """Reads entries whose type is not built in.

    :param reference: makes a reference, or adds the fault of one that leads nowhere.
    :param backends: by name, where a reference may lead besides.
    """

    faults: Faults
    folder: Path
    reference: Callable[[object, FieldPath], SecretRef | None]
    backends: Mapping[str, object]

    def backend(
        self, value: Mapping[str, object], path: FieldPath, built_in: Mapping[str, object]
    ) -> PluggedBackendSettings | None:
        """One backend as written; ``None`` after its faults were added."""
        plugin = self._find("rotator.backends", value["type"], path, built_in, "a type of backend")
        if not isinstance(plugin, BackendPlugin):
            return None
        read = self._read(plugin.settings, value, path)
        return None if read is None else PluggedBackendSettings(plugin=plugin, **read)

    def provider(
        self, value: Mapping[str, object], path: FieldPath, built_in: Mapping[str, object]
    ) -> PluggedProviderSettings | None:
        """One provider as written; ``None`` after its faults were added."""
        plugin = self._find("rotator.providers", value["type"], path, built_in, "a type of provider")
        if not isinstance(plugin, ProviderPlugin):
            return None
        read = self._read(plugin.settings, value, path)
        return None if read is None else PluggedProviderSettings(plugin=plugin, **read)

    def _find(
        self, group: Group, kind: object, path: FieldPath, built_in: Mapping[str, object], what: str
    ) -> BackendPlugin[Any, Any] | ProviderPlugin[Any] | None:
        found = plugins.find(group, str(kind))
        if isinstance(found, Unusable):
            self.faults.add((*path, "type"), found.found, found.allowed)
            return None
        if found is None:
            known = dict.fromkeys([*built_in, *plugins.installed(group)])
            self.faults.one_of(known, kind, (*path, "type"), f"{what}, built in or of an installed plug-in")
        return found

    def _read(self, model: type[Options], value: Mapping[str, object], path: FieldPath) -> dict[str, Any] | None:
        before = len(self.faults.found)
        limits = self.faults.check(LimitsShape, value.get("limits", {}), (*path, "limits"))
        own = {name: one for name, one in value.items() if name not in {"type", "limits"}}
        given = {name: self._with_references(one, (*path, name)) for name, one in own.items()}
        stands_in = with_secrets(given, lambda _ref: STAND_IN)
        checked = check(self.faults, model, stands_in, path, self.folder)
        if limits is None or checked is None or len(self.faults.found) > before:
            return None
        return {
            "type": str(value["type"]),
            "given": given,
            "checked": checked,
            "folder": self.folder,
            "limits": LimitsSettings(rate=limits.rate, concurrency=limits.concurrency),
        }

    def _with_references(self, value: object, path: FieldPath) -> object:
        if isinstance(value, Mapping):
            if self._is_reference(value):
                # One that leads nowhere is reported already: what it stands in is not reported again.
                return self.reference(value, path) or STAND_IN
            return {name: self._with_references(one, (*path, name)) for name, one in value.items()}
        if isinstance(value, list):
            return [self._with_references(one, (*path, number)) for number, one in enumerate(value)]
        return value

    def _is_reference(self, value: Mapping[str, object]) -> bool:
        if len(value) == 1 and next(iter(value)) in REFERENCES:
            return True
        backend = value.get("backend")
        return isinstance(backend, str) and backend in self.backends


def check(
    faults: Faults, model: type[_Options], value: Mapping[str, object], path: FieldPath, folder: Path
) -> _Options | None:
    """A plug-in's own check; whatever it raises is a fault of the configuration."""
    try:
        return faults.check(model, value, path, context={"folder": folder})
    except Exception as error:  # noqa: BLE001 -- others' code: whatever it raises, the check of the rest goes on
        faults.add(path, f"what the plug-in's own check fails on ({type(error).__name__})", _DOCUMENTED)
        return None


_DOCUMENTED = "allowed: what its documentation says"


def described(
    faults: Faults, settings: PluggedBackendSettings, place: Options, path: FieldPath
) -> tuple[tuple[str, ...], dict[str, str]] | None:
    """What a plug-in says of where a place is, and the options of the place; ``None`` after a fault was added."""
    try:
        where = tuple(str(part) for part in settings.plugin.identity(settings.checked, place))
        options = place.model_dump(mode="json", exclude_none=True)
    except Exception as error:  # noqa: BLE001 -- see above
        faults.add(path, f"what the plug-in fails on ({type(error).__name__})", _DOCUMENTED)
        return None
    return where, {name: text if isinstance(text, str) else json.dumps(text) for name, text in options.items()}
