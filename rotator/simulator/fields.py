"""Reading a JSON object field by field: what is missing, of another type or unknown is named, never quoted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

_E = TypeVar("_E", bound=StrEnum)


class BadField(Exception):
    """One field of a request is not what it should be."""

    def __init__(self, name: str, wanted: str) -> None:
        super().__init__(f"{name or 'the top level'}: {wanted}")
        self.name = name


class Fields:
    """A JSON object that is read once; ``nothing_else`` complains about fields that nobody asked for."""

    def __init__(self, found: object, name: str = "") -> None:
        if not isinstance(found, Mapping):
            raise BadField(name, "a JSON object is wanted")
        self._found: Mapping[str, Any] = found
        self._asked: set[str] = set()
        self._prefix = f"{name}." if name else ""

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def bad(self, name: str, wanted: str) -> BadField:
        """The error for a field of this object, with the path to it: ``rules[0].match.method``."""
        return BadField(f"{self._prefix}{name}", wanted)

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
            raise self.bad(name, "a string is wanted, not empty")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean."""
        value = self._found[name] if self.has(name) else default
        if not isinstance(value, bool):
            raise self.bad(name, "true or false is wanted")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A number that is not negative."""
        value = self._found[name] if self.has(name) else default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise self.bad(name, "a number is wanted, 0 or more")
        return value

    def between(self, name: str, least: float, most: float, default: float | None = None) -> float:
        """A number from ``least`` to ``most``, both included."""
        value = self._found[name] if self.has(name) else default
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.bad(name, f"a number from {least:g} to {most:g} is wanted")
        return value

    def whole(self, name: str, most: int) -> int:
        """A whole number from 0 to ``most``."""
        value = self._found[name] if self.has(name) else None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self.bad(name, f"a whole number from 0 to {most} is wanted")
        return value

    def text_or_number(self, name: str) -> str:
        """A string, not empty, or a number as YAML lets people write it."""
        value = self._found[name] if self.has(name) else None
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else self.text(name)

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
        raise self.bad(name, "an RFC 3339 time with an offset is wanted")

    def choice(self, name: str, choices: type[_E], default: _E | None = None) -> _E:
        """One of an enumeration's values."""
        try:
            return choices(self.text(name, default))
        except ValueError:
            raise self.bad(name, "one of these is wanted: " + ", ".join(choices)) from None

    def pattern(self, name: str, default: str) -> re.Pattern[str]:
        """A regular expression."""
        try:
            return re.compile(self.text(name, default))
        except re.error:
            raise self.bad(name, "a regular expression is wanted") from None

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings; empty where there is none."""
        found = self.object(name)
        return {key: found.text(key) for key in found}

    def object(self, name: str) -> Fields:
        """An object; an empty one where there is none."""
        return Fields(self._found[name] if self.has(name) else {}, f"{self._prefix}{name}")

    def objects(self, name: str) -> list[Fields]:
        """A list of objects; an empty one where there is none."""
        return each_of(self._found[name] if self.has(name) else [], f"{self._prefix}{name}")

    def nothing_else(self) -> None:
        """Complain about the first field that was never asked for."""
        for name in self._found:
            if name not in self._asked:
                raise self.bad(name, "there is no such field")


def each_of(found: object, name: str = "") -> list[Fields]:
    """A JSON list of objects."""
    if not isinstance(found, list):
        raise BadField(name, "a list is wanted")
    return [Fields(item, f"{name}[{number}]") for number, item in enumerate(found)]
