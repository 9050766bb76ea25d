"""The page at ``/``: every policy for people, problems first. One file, and no request to anywhere but here."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING

from rotator import __version__
from rotator.domain.record import PolicyRecord
from rotator.domain.renewal import renewal_at
from rotator.entrypoints.http.asked import Asked
from rotator.entrypoints.http.drawing import environment
from rotator.entrypoints.http.timeline import timeline
from rotator.entrypoints.served import Served
from rotator.entrypoints.standing import Standing, State, standings
from rotator.entrypoints.status import rows_of
from rotator.errors import JournalError

if TYPE_CHECKING:
    from jinja2 import Template

MOST = 50
"""Policies on one page."""

EVERY = timedelta(seconds=5)
"""How often a script draws it anew; without scripts the browser does, more seldom, because that moves the reader."""

_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Drawn anew each time.

    :param alive: why the service is not alive; empty where it is.
    :param every: see ``EVERY``.
    """

    application: Callable[[], Served]
    alive: Callable[[], str]
    every: timedelta = EVERY

    def draw(self, asked: Asked) -> tuple[HTTPStatus, str, dict[str, str]]:
        """The status, the page, and the headers that protect it."""
        application, status = self.application(), HTTPStatus.OK
        now = application.clock.now()
        troubles = [f"{endpoint}: {why}" for endpoint, why in application.troubles().items()]
        found: list[Standing] = []
        try:
            found = standings(rows_of(application, None), now)
        except JournalError as error:
            troubles.insert(0, f"The journal can't be read: {error}")
            status = HTTPStatus.SERVICE_UNAVAILABLE
        if trouble := self.alive():
            troubles.insert(0, f"The service does not get on: {trouble}")
        if application.clock.stopping:
            troubles.insert(0, "The service is stopping.")
        matching = [one for one in found if _has(one, asked.q.casefold())]
        chosen = [one for one in matching if asked.state in {"", one.state}]
        pages = max(1, -(-len(chosen) // MOST))
        page = min(asked.page, pages)
        shown = chosen[MOST * (page - 1) : MOST * page]
        nonce = secrets.token_urlsafe(18)
        text = _template().render(
            asked=asked,
            counts=Counter(one.state for one in matching),
            every=self.every.total_seconds(),
            groups=[(state, list(group)) for state, group in groupby(shown, key=lambda one: one.state)],
            instance=application.settings.instance,
            matching=len(matching),
            nonce=nonce,
            now=now,
            page=page,
            pages=pages,
            shown=shown,
            title=_title(application.settings.instance, found, troubles),
            first=MOST * (page - 1) + 1,
            chosen=len(chosen),
            total=len(found),
            troubles=troubles,
        )
        headers = {"Content-Security-Policy": _POLICY.format(nonce), "Referrer-Policy": "no-referrer"}
        return status, text, headers


def _title(instance: str, found: Sequence[Standing], troubles: Sequence[str]) -> str:
    """For a row of tabs: how much is wrong comes first."""
    wrong = len(troubles) + sum(one.state is State.PROBLEM for one in found)
    return f"({wrong}) rotator {instance}" if wrong else f"rotator {instance}"


def _has(one: Standing, part: str) -> bool:
    policy, record = one.case.policy, one.case.record
    places = (destination.name for destination in policy.destinations)
    words = (policy.name, policy.project, policy.provider, policy.group, *places, *(key.key_id for key in record.keys))
    return not part or any(part in word.casefold() for word in words)


def moment(at: datetime | None) -> str:
    """To the minute, in UTC: ``2026-11-23 12:00``."""
    return at.strftime("%Y-%m-%d %H:%M") if at else "not known"


def distance(at: datetime, now: datetime) -> str:
    """From now, in its two largest units: ``in 3 d 4 h``, ``12 min ago``."""
    seconds = abs(int((at - now).total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    parts: Sequence[tuple[int, str]] = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")]
    first = next((place for place, (number, _) in enumerate(parts) if number), 3)
    most = 1 if first >= 2 else 2  # noqa: PLR2004 - minutes need no seconds beside them
    said = " ".join(f"{number} {unit}" for number, unit in parts[first : first + most] if number)
    if not said:
        return "now"
    return f"in {said}" if at > now else f"{said} ago"


def last_reason(record: PolicyRecord) -> str:
    """Why the newest rotation was begun; empty where none is remembered."""
    return record.rotations[-1].reason if record.rotations else ""


@cache
def _template() -> Template:
    drawing = environment()
    facts = {
        "State": State, "distance": distance, "last_reason": last_reason, "renewal_at": renewal_at,
        "timeline": timeline, "version": __version__,
    }  # fmt: skip
    drawing.filters.update(moment=moment)
    return drawing.get_template("overview.html", globals=facts)
