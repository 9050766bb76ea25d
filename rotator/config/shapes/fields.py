"""The kinds of fields that shapes are made of: durations, names, texts; and what each allows, in words."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from rotator.domain.text import duration

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"^0*[1-9][0-9]*[smhd]$"
_LONGEST = timedelta(days=36_500)  # beyond lies the end of what a date can say
NAME = r"^[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}$"
_PLAIN = r"[^{}?#\s]*"
UNIT = r"^[a-zA-Z0-9:_.\\][a-zA-Z0-9:_.\\@-]{0,243}\.[a-z]{3,9}$"
LABEL = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$"
RULES = {
    NAME: "letters, digits, '.' and '-', at most 63, beginning with a letter or digit (no '_': it joins key names)",
    LABEL: "letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit",
    UNIT: "the whole name of a unit, such as chat.service",
    (_TEXT := r"^[^\x00-\x1f\x7f]+$"): "a text of one line, not empty",
    (CREDENTIAL := r"^[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$"): "the name of a credential, without '/'",
    (VARIABLE := r"^[A-Za-z_][A-Za-z0-9_]*$"): "a variable's name: letters, digits and '_', not beginning with a digit",
    (VAULT_PATH := r"^/*[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"): "a path of one line, not empty",
    (ENDPOINT := rf"^/{_PLAIN}$"): "a path that begins with '/', without placeholders",
    (KEYS := rf"^/{_PLAIN}\{{project_id\}}{_PLAIN}$"): "a path that begins with '/' and has {project_id}",
    (KEY := rf"^/{_PLAIN}\{{project_id\}}{_PLAIN}\{{key_id\}}{_PLAIN}$"): (
        "a path that begins with '/' and has {project_id} and {key_id}"
    ),
}
"""What each pattern asks for, in words."""


@lru_cache(maxsize=4096)
def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if not found or int(found[1]) == 0:
        raise ValueError("allowed: a duration such as 90s, 15m, 24h, 30d")
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"allowed: a duration of at most {duration(_LONGEST)}")
    return timedelta(seconds=seconds)


def _parse_duration(value: object) -> timedelta:
    if not isinstance(value, str):
        raise ValueError("allowed: a duration such as 90s, 15m, 24h, 30d")  # noqa: TRY004 - pydantic's own convention
    return _duration(value)


def exactly_one(value: object) -> object:
    """For a version number."""
    if type(value) is not int:  # true and 1.0 equal 1
        raise ValueError("allowed: 1")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["90s", "15m", "24h", "30d"]}),
]
Text = Annotated[str, StringConstraints(pattern=_TEXT)]
Name = Annotated[str, StringConstraints(pattern=NAME)]
Label = Annotated[str, StringConstraints(pattern=LABEL)]
Variable = Annotated[str, StringConstraints(pattern=VARIABLE)]
VaultPath = Annotated[str, StringConstraints(pattern=VAULT_PATH)]
Endpoint = Annotated[str, StringConstraints(pattern=ENDPOINT)]


class Shape(BaseModel):
    """Unknown fields are errors; values are never converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LimitsShape(Shape):
    """What it is asked at most; a call that waits longer than half a minute for its turn is put off."""

    rate: float | None = Field(
        None, ge=0.1, le=1000, allow_inf_nan=False, description="Calls begun in a second. Default: no limit."
    )
    concurrency: int | None = Field(None, ge=1, le=64, description="Calls at a time. Default: service.workers.")
