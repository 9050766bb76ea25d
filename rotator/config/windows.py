"""Maintenance windows from cron expressions: when they open, across changes of the clocks.

The expressions are cronsim's, which does with a missing or doubled hour what Debian's cron does: a moment that is
missing becomes the first one after the gap, a doubled one counts once. A window's length is real time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

_FOLD = timedelta(hours=2)
"""More than a change of the clocks; cronsim reads a moment of the doubled hour as its first."""

_LOOKED_AT_FROM = datetime(2027, 1, 1, tzinfo=UTC)
_LOOKED_AT_FOR = timedelta(days=800)
_STEP = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronWindow:
    """One line of windows.

    :param closed: days in the zone on which it is not open, not even for the rest of a night.
    """

    cron: str
    duration: timedelta
    timezone: str
    closed: frozenset[date] = frozenset()

    def opens(self, now: datetime) -> datetime | None:
        """As the protocol ``Windows`` says."""
        zone, at = ZoneInfo(self.timezone), now.astimezone(UTC)
        while (start := self._start(at, zone)) is not None:
            opens = max(start, at)
            day = opens.astimezone(zone).date()
            if day not in self.closed:
                return opens
            midnight = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)
            at = midnight.astimezone(UTC)  # each turn passes one closed day
        return None

    def _start(self, at: datetime, zone: ZoneInfo) -> datetime | None:
        """Of the first window that ends after ``at``."""
        before = at - self.duration
        earlier, here = (before - _FOLD).astimezone(zone), before.astimezone(zone)
        for moment in CronSim(self.cron, here if here.utcoffset() == earlier.utcoffset() else earlier):
            start = moment.astimezone(UTC)
            if start > before:
                return start
        return None


@dataclass(frozen=True, slots=True)
class CronWindows:
    """Several lines: open while one of them is."""

    lines: tuple[CronWindow, ...]

    def opens(self, now: datetime) -> datetime | None:
        """As the protocol ``Windows`` says."""
        return min((opens for line in self.lines if (opens := line.opens(now))), default=None)

    def longest_wait(self) -> timedelta | None:
        """How long it may take until one opens, closed days left out, to six hours; ``None`` where none ever does."""
        always = CronWindows(
            tuple(CronWindow(cron=one.cron, duration=one.duration, timezone=one.timezone) for one in self.lines)
        )
        at, longest = _LOOKED_AT_FROM, timedelta(0)
        step = max(_STEP, min(one.duration for one in self.lines))
        while at < _LOOKED_AT_FROM + _LOOKED_AT_FOR:
            opens = always.opens(at)
            if opens is None:
                return None
            longest = max(longest, opens - at)
            at = opens + step
        return longest
