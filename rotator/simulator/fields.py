"""Reading a JSON object field by field: what is missing, of another type or unknown is named, never quoted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

_E = TypeVar("_E", bound=StrEnum)


class BadField(Exception):
    """One field of a request is not what it should be."""

    def __init__(self, name: str, wanted: str) -> None:
        super().__init__(f"{name or 'the body'}: {wanted}")
        self.name = name


class Fields:
    """A JSON object that is read once; ``nothing_else`` complains about fields that nobody asked for."""

    def __init__(self, found: object, name: str = "") -> None:
        if not isinstance(found, Mapping):
            raise BadField(name, "a JSON object is wanted")
        self._found: Mapping[str, Any] = found
        self._asked: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        self._asked.add(name)
        return self._found.get(name) is not None

    def is_null(self, name: str) -> bool:
        """Whether the field is there and null."""
        self._asked.add(name)
        return name in self._found and self._found[name] is None

    def text(self, name: str, default: str | None = None) -> str:
        """A string; without a default it must be there and not be empty."""
        value = self._found[name] if self.has(name) else default
        if not isinstance(value, str) or (default is None and not value):
            raise BadField(name, "a string is wanted, not empty")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean."""
        value = self._found[name] if self.has(name) else default
        if not isinstance(value, bool):
            raise BadField(name, "true or false is wanted")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A number that is not negative."""
        value = self._found[name] if self.has(name) else default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise BadField(name, "a number is wanted, 0 or more")
        return value

    def moment(self, name: str) -> datetime | None:
        """An RFC 3339 time with its offset, in UTC; ``None`` where there is none."""
        if not self.has(name):
            return None
        try:
            moment = datetime.fromisoformat(self.text(name))
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise BadField(name, "an RFC 3339 time with an offset is wanted")

    def choice(self, name: str, choices: type[_E], default: _E | None = None) -> _E:
        """One of an enumeration's values."""
        try:
            return choices(self.text(name, default))
        except ValueError:
            raise BadField(name, "one of these is wanted: " + ", ".join(choices)) from None

    def pattern(self, name: str, default: str) -> re.Pattern[str]:
        """A regular expression."""
        try:
            return re.compile(self.text(name, default))
        except re.error:
            raise BadField(name, "a regular expression is wanted") from None

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings; empty where there is none."""
        found = Fields(self._found[name] if self.has(name) else {}, name)
        return {key: found.text(key) for key in found._found}

    def object(self, name: str) -> Fields:
        """An object; an empty one where there is none."""
        return Fields(self._found[name] if self.has(name) else {}, name)

    def objects(self, name: str) -> list[Fields]:
        """A list of objects; an empty one where there is none."""
        return each_of(self._found[name] if self.has(name) else [], name)

    def nothing_else(self) -> None:
        """Complain about the first field that was never asked for."""
        for name in self._found:
            if name not in self._asked:
                raise BadField(name, "there is no such field")


def each_of(found: object, name: str = "") -> list[Fields]:
    """A JSON list of objects."""
    if not isinstance(found, list):
        raise BadField(name, "a list is wanted")
    return [Fields(item, name) for item in found]
