"""Policies: each checked on its own and against all others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rotator.config.assisted import Desks, checked_console
from rotator.config.check import Faults, one_line, shown
from rotator.config.places import Placed, place
from rotator.config.settings import BackendSettings, ChannelSettings, HookSettings, ProviderSettings, patience
from rotator.config.shapes.document import Document, PolicyShape
from rotator.config.source import FieldPath
from rotator.config.spread import Dependencies, spread
from rotator.config.windows import CronWindows
from rotator.domain.layout import PLAIN
from rotator.domain.model import Drift, Policy
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
        providers: Mapping[str, ProviderSettings],
        backends: Mapping[str, BackendSettings],
        hooks: Mapping[str, HookSettings],
        *,
        channels: Mapping[str, ChannelSettings],
        reserved: Mapping[tuple[str, ...], str],
        broken: Collection[str],
    ) -> None:
        """Nothing read yet.

        :param reserved: places where no policy may write, and what needs each.
        :param broken: sections that can't be relied on; what follows from their faults is not reported again.
        """
        self._document = document
        self._broken = broken
        self._default_times = {name: getattr(document.defaults, name) or time for name, time in _DEFAULTS.items()}
        self._folder = folder
        self._providers = providers
        self._backends = backends
        self._hooks = hooks
        self._channels = channels
        self._names: set[str] = set()
        self._places = dict(reserved)  # identity to whose it is
        self._fields: dict[tuple[str, ...], str] = {}  # whole places with a field in use, to whose it is
        self._known: set[str] = set()
        self._dependencies = Dependencies()
        self._desks = Desks(providers, backends, folder, is_reported=self._is_backend_reported)
        self.made: list[Policy] = []

    def read(self, given: object, faults: Faults) -> None:
        """The ``policies`` of one file."""
        if not isinstance(given, list):
            faults.add(("policies",), shown(given), "allowed: a list of policies")
            return
        for number, value in enumerate(given):
            self._policy(value, ("policies", number), faults)

    def finish(self) -> None:
        """After the last file: what policies say of each other."""
        self._dependencies.check()

    def _policy(self, value: object, path: FieldPath, faults: Faults) -> None:
        shape = faults.check(PolicyShape, value, path)
        if shape is None:
            return
        before = len(faults.found)
        if shape.name in self._names:
            faults.add((*path, "name"), shown(shape.name), "allowed: each policy name once")
        self._names.add(shape.name)
        self._dependencies.add(shape, path, faults)
        if not self._is_reported("providers", self._document.providers, shape.provider):
            faults.one_of(self._providers, shape.provider, (*path, "provider"), "a configured provider")
        times = self._times(shape, path, faults)
        spreading = spread(shape, self._document.defaults, times, path, faults)
        placed = self._destinations(shape, path, faults)
        assistance = self._desks.assistance(shape, times, path, faults)
        console = shape.assisted.console_url if shape.assisted else None
        checked_console(console, (*path, "assisted", "console_url"), faults)
        hooks = faults.chosen(shape.hooks or (), self._hooks, self._document.hooks, (*path, "hooks"), "hook")
        hooks = tuple(self._document.defaults.hooks or ()) if shape.hooks is None else hooks
        self._check_hooks(hooks, (*path, "hooks") if shape.hooks else path, faults)
        notify, escalate = (self._channels_of(shape, field, path, faults) for field in ("notify", "escalate"))
        if len(faults.found) > before:
            return
        matters = (
            shape.provider,
            shape.project,
            sorted(times.items()),
            [_matters(one) for one in placed],
            *([shape.drift] if Drift(shape.drift) is not Drift.ADOPT else []),
            *((hook, self._hooks.get(hook)) for hook in hooks),
            *([_in_order(spreading)] if spreading else []),
            *([assistance] if assistance else []),
        )
        every: dict[str, Any] = {**times, **spreading}
        digest = hashlib.sha256(repr(matters).encode())
        self.made.append(
            Policy(
                name=shape.name,
                instance=self._document.instance,
                provider=shape.provider,
                project=shape.project,
                destinations=tuple(one.destination for one in placed),
                canary=shape.canary,
                drift=Drift(shape.drift),
                hooks=hooks,
                notify=notify,
                escalate=escalate or (),
                assistance=assistance,
                digest=digest.hexdigest()[:16],
                **every,
            )
        )

    def _channels_of(self, shape: PolicyShape, field: str, path: FieldPath, faults: Faults) -> tuple[str, ...] | None:
        """Which channels a policy names itself, or the defaults do; ``None`` where neither does."""
        given = getattr(shape, field)
        if given is None:
            default = getattr(self._document.defaults, field)
            return None if default is None else tuple(default)
        return faults.chosen(given, self._channels, self._document.notifications, (*path, field), "channel")

    def _times(self, shape: PolicyShape, path: FieldPath, faults: Faults) -> dict[str, timedelta]:
        times: dict[str, timedelta] = {name: getattr(shape, name) or time for name, time in self._default_times.items()}
        times["grace_limit"] = shape.grace_limit or self._document.defaults.grace_limit or 4 * times["grace"]
        if "defaults" in self._broken:
            return times
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

    def _check_hooks(self, hooks: tuple[str, ...], path: FieldPath, faults: Faults) -> None:
        """A look that runs them all must not look as if it hung."""
        longest = sum((self._hooks[name].timeout for name in hooks if name in self._hooks), timedelta(0))
        most = patience(self._document.service.lease) / 2
        if longest > most and "service" not in self._broken:
            found = f"hooks that may take {duration(longest)} together"
            faults.add(path, found, f"allowed: at most {duration(most)}, six times service.lease")

    @staticmethod
    def _where(shape: PolicyShape, path: FieldPath) -> Callable[[str], FieldPath]:
        """A time that only the defaults set is still reported at the policy that it does not fit."""
        return lambda name: (*path, name) if getattr(shape, name) else path

    def _is_reported(self, section: str, given: object, name: object) -> bool:
        """Whether an entry is configured, or can't be: its faults are reported where it stands."""
        return section in self._broken or (isinstance(given, Mapping) and isinstance(name, str) and name in given)

    def _is_backend_reported(self, name: object) -> bool:
        if name is None or (isinstance(name, str) and name in self._backends):
            return False
        return self._is_reported("backends", self._document.backends, name)

    def _destinations(self, shape: PolicyShape, path: FieldPath, faults: Faults) -> list[Placed]:
        given: object = shape.destinations
        if not isinstance(given, list) or not given:
            faults.add(
                (*path, "destinations"), "none" if given == [] else shown(given), "allowed: at least one destination"
            )
            return []
        made = []
        for number, value in enumerate(given):
            where = (*path, "destinations", number)
            named = value.get("backend") if isinstance(value, Mapping) else None
            if self._is_backend_reported(named):
                continue
            placed = place(value, where, self._backends, self._folder, faults)
            if placed is not None:
                self._claim(placed, shape.name, where, faults)
                made.append(placed)
        return made

    def _claim(self, placed: Placed, policy: str, where: FieldPath, faults: Faults) -> None:
        """Each place is written by one policy, and the name of a destination is enough to find it."""
        whole = (*placed.identity[:-1], "")
        name = placed.destination.name
        other = self._places.get(placed.identity) or self._places.get(whole)
        if other is None and placed.identity == whole:
            other = self._fields.get(whole)
        if other is not None:
            faults.add(where, f"{one_line(name)}, the same place as {other}", "allowed: each place once")
        elif name in self._known:
            faults.add(where, f"{one_line(name)}, a name that another destination has", "allowed: paths without '#'")
        elif inbox := self._desks.uses(placed):
            faults.add(where, f"{one_line(name)}, beside {inbox}", "allowed: another secret: an inbox is destroyed")
        for beside, _ in placed.destination.layout.beside:
            taken = (*placed.identity[:-1], beside)
            if taken in self._places:
                faults.add((*where, "beside", beside), "a field that is written already", "allowed: each field once")
            self._places[taken] = f"a field beside a key of '{policy}'"
        owner = f"a destination of '{policy}'"
        self._known.add(name)
        self._places[placed.identity] = owner
        if placed.identity[0] in {"aws", "plugin"} and placed.identity != whole:
            self._fields[whole] = owner


def _matters(placed: Placed) -> tuple[object, ...]:
    """What of a destination makes a policy due at once when it is changed."""
    destination = placed.destination
    more = (destination.layout, destination.expect)
    # Only where there are any: a new version of rotator must not find every policy changed.
    return (destination, placed.identity, *(more if destination.layout != PLAIN or destination.expect else ()))


def _in_order(spreading: Mapping[str, object]) -> list[tuple[str, str]]:
    """The same text in every process: the order of a set is not."""
    windows = spreading.get("windows")
    lines = windows.lines if isinstance(windows, CronWindows) else ()
    told = {
        **spreading,
        "windows": [(one.cron, one.duration, one.timezone, sorted(one.closed)) for one in lines],
    }
    return [(name, repr(value)) for name, value in sorted(told.items())]
