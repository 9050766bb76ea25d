"""Policies: each checked on its own and against all others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from rotator.config.check import Faults, shown
from rotator.config.places import place
from rotator.config.settings import BackendSettings, TogetherSettings
from rotator.config.shapes import Document, PolicyShape, Times
from rotator.config.source import FieldPath
from rotator.domain.model import Destination, Policy
from rotator.domain.text import duration

_DEFAULTS = {
    "lifetime": timedelta(days=30),
    "renew_before": timedelta(days=7),
    "grace": timedelta(hours=24),
    "check_every": timedelta(hours=6),
    "settle": timedelta(minutes=10),
}


class PolicyReader:
    """Reads the policies of one file after the other; ``made`` is all of them."""

    def __init__(
        self,
        document: Document,
        folder: Path,
        providers: Mapping[str, TogetherSettings],
        backends: Mapping[str, BackendSettings],
    ) -> None:
        self._document = document
        self._folder = folder
        self._providers = providers
        self._backends = backends
        self._names: set[str] = set()
        self._places: dict[tuple[str, ...], str] = {}  # identity to where it was written first
        self.made: list[Policy] = []

    def read(self, given: object, faults: Faults) -> None:
        """The ``policies`` of one file."""
        if not isinstance(given, list):
            faults.add(("policies",), shown(given), "allowed: a list of policies")
            return
        for number, value in enumerate(given):
            self._policy(value, ("policies", number), faults)

    def _policy(self, value: object, path: FieldPath, faults: Faults) -> None:
        shape = faults.check(PolicyShape, value, path)
        if shape is None:
            return
        before = len(faults.found)
        if shape.name in self._names:
            faults.add((*path, "name"), shown(shape.name), "allowed: each policy name once")
        self._names.add(shape.name)
        if shape.provider not in self._document.providers:
            faults.one_of(self._providers, shape.provider, (*path, "provider"), "a configured provider")
        times = self._times(shape, path, faults)
        destinations = self._destinations(shape, path, faults)
        if len(faults.found) > before:
            return
        digest = hashlib.sha256(repr((shape.provider, shape.project, sorted(times.items()), destinations)).encode())
        self.made.append(
            Policy(
                name=shape.name,
                instance=self._document.instance,
                provider=shape.provider,
                project=shape.project,
                destinations=destinations,
                digest=digest.hexdigest()[:16],
                **times,
            )
        )

    def _times(self, shape: PolicyShape, path: FieldPath, faults: Faults) -> dict[str, timedelta]:
        times = {name: self._time(shape, name) or default for name, default in _DEFAULTS.items()}
        times["grace_limit"] = self._time(shape, "grace_limit") or 4 * times["grace"]
        at = self._where(shape, path)
        if times["renew_before"] >= times["lifetime"]:
            found = f"renew_before {duration(times['renew_before'])}, with a lifetime of {duration(times['lifetime'])}"
            faults.add(at("renew_before"), found, "allowed: less than the lifetime")
        if times["grace"] > times["renew_before"]:
            found = f"grace {duration(times['grace'])}, longer than what is left of the old key"
            faults.add(at("grace"), found, f"allowed: at most renew_before, {duration(times['renew_before'])}")
        if times["grace_limit"] < times["grace"]:
            found = f"grace_limit {duration(times['grace_limit'])}, with a grace of {duration(times['grace'])}"
            faults.add(at("grace_limit"), found, "allowed: at least the grace")
        return times

    def _time(self, shape: Times, name: str) -> timedelta | None:
        own: timedelta | None = getattr(shape, name)
        default: timedelta | None = getattr(self._document.defaults, name)
        return own or default

    @staticmethod
    def _where(shape: PolicyShape, path: FieldPath) -> Callable[[str], FieldPath]:
        """A time that only the defaults set is still reported at the policy that it does not fit."""
        return lambda name: (*path, name) if getattr(shape, name) else path

    def _destinations(self, shape: PolicyShape, path: FieldPath, faults: Faults) -> tuple[Destination, ...]:
        given: object = shape.destinations
        if not isinstance(given, list) or not given:
            faults.add((*path, "destinations"), shown(given) if given else "none", "allowed: at least one destination")
            return ()
        made = []
        for number, value in enumerate(given):
            where = (*path, "destinations", number)
            named = value.get("backend") if isinstance(value, Mapping) else None
            if named in self._document.backends and named not in self._backends:
                continue  # the backend's own faults are reported where it is configured
            placed = place(value, where, self._backends, self._folder, faults)
            if placed is None:
                continue
            if placed.identity in self._places:
                found = f"{placed.destination}, the same place as a destination of {self._places[placed.identity]!r}"
                faults.add(where, found, "allowed: each place once")
            self._places[placed.identity] = shape.name
            made.append(placed.destination)
        return tuple(made)
