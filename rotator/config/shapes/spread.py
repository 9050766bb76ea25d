"""When a policy's rotations may begin, and beside which others."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from rotator.config.shapes.fields import Duration, Label, Shape, Text

_CRON = "allowed: a cron expression of five fields, such as '0 2 * * tue-thu'"
_NEVER = "allowed: one that comes at all: its months have no such day"
_ZONE = "allowed: a time zone's name, such as Europe/Berlin"
_DAY = "allowed: a day such as 2026-12-24"


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != 5:  # noqa: PLR2004 - cronsim would take a sixth, for seconds
        raise ValueError(_CRON)
    if not _is_cron(text):
        in_any_month = " ".join([*fields[:3], "*", fields[4]])
        on_any_day = " ".join([*fields[:2], "*", *fields[3:]])
        raise ValueError(_NEVER if _is_cron(in_any_month) and _is_cron(on_any_day) else _CRON)
    return text


def _is_cron(text: str) -> bool:
    try:
        CronSim(text, datetime(2027, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError):
        return False
    return True


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(_ZONE) from None
    return text


def _day(value: object) -> date:
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(_DAY) from None


class WindowShape(Shape):
    """When rotations may begin that can wait."""

    cron: Annotated[Text, AfterValidator(_cron)] = Field(description="When it opens: five fields.")
    duration: Duration = Field(description="How long it stays open.")
    timezone: Annotated[Text, AfterValidator(_zone)] = Field("UTC", description="In which the expression is read.")
    closed: list[Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]] = Field(
        default_factory=list, alias="except", description="Days in that zone on which it stays closed."
    )


class GroupShape(Shape):
    """Policies that do not rotate at the same time."""

    name: Label
    distance: Duration = Field(description="The least time between the beginnings of two rotations.")
