"""Assisted issuance of one policy: what its provider says, and what it says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rotator.config.check import Faults, one_line, shown
from rotator.config.places import Placed, place
from rotator.config.settings import BackendSettings, DotenvSettings, ProviderSettings, TogetherSettings
from rotator.config.shapes.assisted import CONSOLE, DEFAULTS, AssistedShape
from rotator.config.shapes.document import PolicyShape
from rotator.config.source import FieldPath
from rotator.domain.model import Assistance
from rotator.domain.text import duration

_DAYS_OF_USE = timedelta(days=2)
_KEY_ALONE = frozenset({"template", "beside", "create"})


class Desks:
    """Reads how people make the keys of each policy, and keeps inboxes apart from everything else."""

    def __init__(
        self,
        providers: Mapping[str, ProviderSettings],
        backends: Mapping[str, BackendSettings],
        folder: Path,
        *,
        is_reported: Callable[[object], bool],
    ) -> None:
        """No desk yet.

        :param is_reported: whether a backend of this name is configured and can't be made, which is a fault of its own.
        """
        self._providers = providers
        self._backends = backends
        self._folder = folder
        self._is_reported = is_reported
        self._inboxes: dict[tuple[str, ...], str] = {}  # secret to the policy whose inbox it is
        self._used: dict[tuple[str, ...], str] = {}  # secret to what lies there

    def uses(self, placed: Placed) -> str:
        """Note where a policy writes; returns whose inbox that is, empty where it is nobody's."""
        self._used[placed.identity[:-1]] = placed.destination.name
        return self._inboxes.get(placed.identity[:-1], "")

    def assistance(
        self, shape: PolicyShape, times: Mapping[str, timedelta], path: FieldPath, faults: Faults
    ) -> Assistance | None:
        """How people make the policy's keys; ``None`` where its provider makes them by itself."""
        provider = self._providers.get(shape.provider)
        general = provider.assisted if isinstance(provider, TogetherSettings) else None
        where = (*path, "assisted")
        if general is None:
            if shape.assisted is not None and provider is not None:
                faults.add(where, "people", "allowed: with a provider that has 'issuance: assisted'")
            return None
        if times["lifetime"] < times["renew_before"] + _DAYS_OF_USE:
            found = f"a lifetime of {duration(times['lifetime'])}, of which {duration(times['renew_before'])} renew"
            faults.add(path, found, "allowed: two days more than renew_before: the console gives a date, no time")
        own = shape.assisted or AssistedShape()
        said = {**_said(general), **_said(own)}
        inbox = said.pop("inbox", None)
        console: str = said.pop("console_url", CONSOLE)
        owners = tuple(said.pop("owners", ()))
        return Assistance(
            console_url=console.replace("{project}", shape.project),
            inbox=None if inbox is None else self._inbox(inbox, shape, (*where, "inbox"), faults),
            owners=owners,
            **{**DEFAULTS, **said},
        )

    def _inbox(self, given: object, shape: PolicyShape, path: FieldPath, faults: Faults) -> Any:  # noqa: ANN401
        """The place, or ``None`` after its faults were added."""
        filled = _filled(given, {"{policy}": shape.name, "{project}": shape.project})
        named = filled.get("backend") if isinstance(filled, Mapping) else None
        if isinstance(named, str) and isinstance(self._backends.get(named), DotenvSettings):
            allowed = "allowed: a backend that can destroy what was taken: vault, aws-secrets-manager"
            faults.add(path, "an inbox that is a file, where the key would lie about", allowed)
            return None
        if self._is_reported(named):
            return None
        placed = place(filled, path, self._backends, self._folder, faults)
        if placed is None:
            return None
        more = _KEY_ALONE & set(filled if isinstance(filled, Mapping) else ())
        secret = placed.identity[:-1]
        other = self._inboxes.get(secret) or self._used.get(secret)
        if more:
            faults.add((*path, min(more)), "a form", "allowed: the key alone, as a person puts it there")
        elif other:
            found = f"{one_line(placed.destination.name)}, beside {one_line(other)}"
            faults.add(path, found, "allowed: a secret of its own ({policy} in its path): it is destroyed as a whole")
        self._inboxes[secret] = f"the inbox of '{shape.name}'"
        return placed.destination


def checked_console(url: str | None, path: FieldPath, faults: Faults) -> None:
    """A link that a person can follow."""
    if url is None:
        return
    rest = url.replace("{project}", "")
    if not url.startswith("https://") or set(rest) & set("{}") or not rest.isprintable() or " " in rest:
        faults.add(path, shown(url), "allowed: an https URL, with {project} where the project's id belongs")


def _said(shape: AssistedShape) -> dict[str, Any]:
    return {name: value for name in shape.model_fields_set if (value := getattr(shape, name)) is not None}


def _filled(given: object, facts: Mapping[str, str]) -> object:
    if not isinstance(given, Mapping):
        return given
    made: dict[str, object] = {}
    for name, value in given.items():
        text = value
        for fact, meant in facts.items():
            text = text.replace(fact, meant) if isinstance(text, str) else text
        made[name] = text
    return made
