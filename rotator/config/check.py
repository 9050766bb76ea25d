"""Checking one value against its shape, and saying what is wrong with it in a person's words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rotator.config.secrets import looks_like_secret
from rotator.config.shapes import NAME, NAME_RULE, Shape
from rotator.config.source import FieldPath

_ShapeT = TypeVar("_ShapeT", bound=Shape)
_Entry = TypeVar("_Entry")
_LONGEST = 60


class Faults:
    """Collects what is wrong: place, what was found, what is allowed."""

    def __init__(self) -> None:
        self.found: list[tuple[FieldPath, str, str]] = []

    def add(self, path: FieldPath, found: str, allowed: str) -> None:
        """One fault."""
        self.found.append((path, found, allowed))

    def check(self, shape: type[_ShapeT], value: object, path: FieldPath) -> _ShapeT | None:
        """The value in its shape; otherwise every fault of it is added, and ``None`` is returned."""
        if not isinstance(value, Mapping):
            self.add(path, shown(value), f"allowed: a mapping with {', '.join(shape.model_fields)}")
            return None
        try:
            return shape.model_validate(value)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self.add((*path, *detail["loc"]), *_in_words(detail, shape))
            return None

    def one_of(self, table: Mapping[str, _Entry], key: object, path: FieldPath, what: str) -> _Entry | None:
        """The entry that a text names; otherwise a fault that lists the known ones."""
        if isinstance(key, str) and key in table:
            return table[key]
        found = "nothing" if key is None else shown(key)
        self.add(path, found, f"allowed: {what}: {', '.join(table) or 'none is configured'}{_meant(key, table)}")
        return None


def shown(value: object) -> str:
    """A found value, fit for an error: short, and never a secret."""
    if isinstance(value, str):
        if looks_like_secret(value):
            return "a value that looks like a secret"
        return repr(value if len(value) <= _LONGEST else value[:_LONGEST] + "...")
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    return str(value).lower()  # numbers, and true and false as YAML writes them


def _in_words(detail: ErrorDetails, shape: type[Shape]) -> tuple[str, str]:
    kind, found = detail["type"], shown(detail["input"])
    match kind:
        case "extra_forbidden":
            name = str(detail["loc"][-1])
            known = _fields_at(shape, detail["loc"][:-1])
            what = "an unknown field whose name looks like a secret" if looks_like_secret(name) else "an unknown field"
            return what, f"allowed: {', '.join(known)}{_meant(name, known)}"
        case "missing":
            return "nothing", "allowed: this field must be there"
        case "value_error":
            return found, str(detail["ctx"]["error"])
        case "string_pattern_mismatch" if detail["ctx"]["pattern"] == NAME:
            return found, f"allowed: {NAME_RULE}"
        case "string_pattern_mismatch":
            return found, f"allowed: a text that matches {detail['ctx']['pattern']}"
        case _:
            # pydantic's messages name the type and the limits; for these kinds they repeat no input.
            return found, "allowed: " + detail["msg"].removeprefix("Input should be ")


def _fields_at(shape: type[Shape], loc: tuple[int | str, ...]) -> list[str]:
    for step in loc:
        field = shape.model_fields.get(str(step))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, Shape):
            shape = inner
    return list(shape.model_fields)


def _meant(name: object, known: Mapping[str, object] | list[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
