"""Windows, jitter, groups and dependencies of policies: whether they can work at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from rotator.config.check import Faults, shown
from rotator.config.shapes.document import PolicyShape, Times
from rotator.config.source import FieldPath
from rotator.config.windows import CronWindow, CronWindows
from rotator.domain.text import duration
from rotator.domain.windows import margin


def spread(
    shape: PolicyShape, defaults: Times, times: Mapping[str, timedelta], path: FieldPath, faults: Faults
) -> dict[str, Any]:
    """Those fields of a ``Policy`` that say when it may rotate; only the ones that are set."""
    made: dict[str, Any] = {}
    jitter = shape.jitter or defaults.jitter
    if jitter:
        made["jitter"] = jitter
        if jitter >= times["lifetime"] - times["renew_before"]:
            allowed = "allowed: less than lifetime minus renew_before"
            faults.add((*path, "jitter") if shape.jitter else path, f"jitter {duration(jitter)}", allowed)
    given = defaults.windows if shape.windows is None else shape.windows
    if given:
        lines = tuple(
            CronWindow(cron=one.cron, duration=one.duration, timezone=one.timezone, closed=frozenset(one.closed))
            for one in given
        )
        made["windows"] = CronWindows(lines)
        _can_contain(made["windows"], times, (*path, "windows") if shape.windows else path, faults)
    if group := shape.group or defaults.group:
        made |= {"group": group.name, "distance": group.distance}
    if shape.depends_on:
        made["depends_on"] = tuple(shape.depends_on)
    return made


def _can_contain(windows: CronWindows, times: Mapping[str, timedelta], path: FieldPath, faults: Faults) -> None:
    """A key that becomes due must meet a window while it can still wait for one."""
    if times["renew_before"] >= times["lifetime"] or times["grace"] > times["renew_before"]:
        return  # reported already
    longest = _longest_wait(windows)
    if longest is None:
        faults.add(path, "windows that never open", "allowed: windows that open at some time")
        return
    can_wait = times["renew_before"] - margin(times["renew_before"], times["grace"])
    if longest > can_wait:
        hours = timedelta(hours=-(-longest // timedelta(hours=1)))
        found = f"windows that are up to {duration(hours)} apart, while a key that is due can wait {duration(can_wait)}"
        faults.add(path, found, "allowed: windows that are closer, or a longer renew_before (less its grace)")


@lru_cache(maxsize=256)
def _longest_wait(windows: CronWindows) -> timedelta | None:
    return windows.longest_wait()


class Dependencies:
    """What every policy of all files depends on."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[tuple[str, ...], FieldPath, Faults]] = {}

    def add(self, shape: PolicyShape, path: FieldPath, faults: Faults) -> None:
        """One policy, whether or not the rest of it is right."""
        self._of[shape.name] = (tuple(shape.depends_on), path, faults)

    def check(self) -> None:
        """Unknown names and circles are faults. After the last file."""
        for name, (needed, path, faults) in self._of.items():
            for number, other in enumerate(needed):
                where = (*path, "depends_on", number)
                if other not in self._of:
                    faults.add(where, shown(other), "allowed: the name of another policy")
                elif name in self._all_behind(other):
                    faults.add(where, f"{shown(other)}, which waits for this policy itself", "allowed: no circle")

    def _all_behind(self, name: str) -> set[str]:
        seen: set[str] = set()
        left = [name]
        while left:
            one = left.pop()
            if one not in seen and one in self._of:
                seen.add(one)
                left += self._of[one][0]
        return seen
