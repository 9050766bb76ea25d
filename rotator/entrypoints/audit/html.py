"""One self-contained file: no request to anywhere, readable without scripts, on paper and on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jinja2 import Environment, PackageLoader, StrictUndefined

from rotator import __version__
from rotator.domain.audit.finding import Severity
from rotator.domain.audit.report import Report
from rotator.domain.audit.timeline import KeyLife
from rotator.domain.text import text

_PAST, _FUTURE = timedelta(days=400), timedelta(days=400)
_LEAST = timedelta(days=2)
_TICKS = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """One key on the scale; all in percent of its width.

    :param endless: it never ends, or beyond the scale.
    :param grace: begin and length of its grace.
    """

    life: KeyLife
    begins: float
    length: float
    endless: bool
    grace: tuple[float, float] | None
    due: float | None
    revoked: float | None
    used: float | None


@dataclass(frozen=True, slots=True)
class Scale:
    """From the first beginning to the last end, around now."""

    start: datetime
    end: datetime

    def at(self, moment: datetime) -> float:
        """0 to 100, clipped."""
        share = (moment - self.start) / (self.end - self.start)
        return round(100 * min(1.0, max(0.0, share)), 3)

    def maybe(self, moment: datetime | None) -> float | None:
        """The same, or nothing."""
        return None if moment is None else self.at(moment)

    def ticks(self) -> list[tuple[float, str]]:
        """Where, and which day; by the hour where the whole is a few days."""
        span = self.end - self.start
        form = "%Y-%m-%d" if span > timedelta(days=6) else "%m-%d %H:%M"
        moments = [self.start + span * number / _TICKS for number in range(_TICKS)]
        return [(self.at(moment), moment.strftime(form)) for moment in moments]


def as_html(report: Report) -> str:
    """The whole page."""
    environment = Environment(
        loader=PackageLoader("rotator.entrypoints.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["time"] = lambda moment: text(moment) if moment else "–"  # noqa: RUF001 - a dash is meant
    scale = scale_of(report.keys, report.at)
    return environment.get_template("report.html").render(
        report=report,
        version=__version__,
        severities=list(reversed(list(Severity))),
        bars=[bar_of(life, scale) for life in report.keys],
        ticks=scale.ticks(),
        now=scale.at(report.at),
        policies=sorted({one.policy for one in report.findings if one.policy}),
    )


def scale_of(keys: Sequence[KeyLife], now: datetime) -> Scale:
    """All that is known of the keys, to a year before and after now."""
    moments = [
        moment
        for key in keys
        for moment in (key.began, key.ends, key.grace_until, key.next_due, key.revoked)
        if moment is not None
    ]
    first = max(min([*moments, now - _LEAST]), now - _PAST)
    last = min(max([*moments, now + _LEAST]), now + _FUTURE)
    margin = (last - first) / 50
    return Scale(first - margin, last + margin)


def bar_of(life: KeyLife, scale: Scale) -> Bar:
    """Where it lies on the scale."""
    begins = scale.at(life.began or scale.start)
    last = life.revoked or life.ends
    ends = scale.at(last) if last else 100.0
    grace = None
    if life.replaced and life.grace_until:
        grace = (scale.at(life.replaced), round(scale.at(life.grace_until) - scale.at(life.replaced), 3))
    return Bar(
        life=life,
        begins=begins,
        length=round(max(ends - begins, 0.3), 3),
        endless=last is None or last > scale.end,
        grace=grace,
        due=scale.maybe(life.next_due),
        revoked=scale.maybe(life.revoked),
        used=scale.maybe(life.last_used),
    )
