"""Checking one value against its shape, and saying what is wrong with it in a person's words."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rotator.config.secrets import holds_secret, looks_like_secret
from rotator.config.shapes.fields import LABEL, RULES, Shape
from rotator.config.source import FieldPath

_ShapeT = TypeVar("_ShapeT", bound=Shape)
_Entry = TypeVar("_Entry")
_LONGEST = 60
_HIDDEN = "a value that is not shown, for it may be a secret"


class Faults:
    """Collects what is wrong: place, what was found, what is allowed."""

    def __init__(self) -> None:
        self.found: list[tuple[FieldPath, str, str]] = []

    def add(self, path: FieldPath, found: str, allowed: str) -> None:
        """One fault."""
        self.found.append((path, found, allowed))

    def check(self, shape: type[_ShapeT], value: object, path: FieldPath, *, hide: bool = False) -> _ShapeT | None:
        """The value in its shape; otherwise every fault of it is added, and ``None`` is returned.

        :param hide: show no found value at all: where a person may have put a secret.
        """
        if not isinstance(value, Mapping):
            self.add(path, shown(value), f"allowed: a mapping with {', '.join(shape.model_fields)}")
            return None
        try:
            return shape.model_validate(value)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self.add((*path, *detail["loc"]), *_in_words(detail, shape, hide=hide))
            return None

    def file(self, name: str | None, folder: Path, path: FieldPath) -> str | None:
        """The path of a file that must exist, relative to the configuration's folder."""
        if name is None or holds_secret(name):  # that is reported already, with all others in the file
            return None
        file = str(folder / name)
        if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file() raises where a folder is closed to us
            self.add(path, shown(name), "allowed: a file that exists")
        return file

    def named(self, given: object, section: str) -> list[tuple[str, Mapping[str, object], FieldPath]]:
        """The entries of a section that maps names to mappings."""
        if not isinstance(given, Mapping):
            self.add((section,), shown(given), "allowed: a mapping of names")
            return []
        entries: list[tuple[str, Mapping[str, object], FieldPath]] = []
        for name, value in given.items():
            if not re.fullmatch(LABEL.rstrip("$"), name):
                self.add((section, name), f"the name {shown(name)}", f"allowed: {RULES[LABEL]}")
            elif isinstance(value, Mapping):
                entries.append((name, value, (section, name)))
            else:
                self.add((section, name), shown(value), "allowed: a mapping that begins with 'type'")
        return entries

    def one_of(self, table: Mapping[str, _Entry], key: object, path: FieldPath, what: str) -> _Entry | None:
        """The entry that a text names; otherwise a fault that lists the known ones."""
        if isinstance(key, str) and key in table:
            return table[key]
        known = [name for name in table if not looks_like_secret(name)]
        self.add(path, shown(key), f"allowed: {what}: {', '.join(known) or 'none is configured'}{_meant(key, known)}")
        return None


def shown(value: object) -> str:
    """A found value, fit for an error: short, and never a secret."""
    if isinstance(value, str):
        if looks_like_secret(value):
            return "a value that looks like a secret"
        return quoted(value if len(value) <= _LONGEST else value[:_LONGEST] + "...")
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    return str(value).lower()  # numbers, and true and false as YAML writes them


def as_written(where: FieldPath) -> str:
    """A place as a person writes it: ``policies[3].destinations[0].path``."""
    text = ""
    for step in where:
        name = step if isinstance(step, int) else one_line(step)
        text += f"[{name}]" if isinstance(step, int) else f".{name}" if text else f"{name}"
    return text


def quoted(text: str) -> str:
    """A text in quotes, on one line, without what a terminal would obey."""
    return repr(text)


def one_line(text: str) -> str:
    """A text without quotes, fit for one line of an error: masked if it looks like a secret."""
    if looks_like_secret(text):
        return "..."
    return text if text.isprintable() else quoted(text)


def _in_words(detail: ErrorDetails, shape: type[Shape], *, hide: bool) -> tuple[str, str]:
    kind = detail["type"]
    found = _HIDDEN if hide and detail["input"] is not None else shown(detail["input"])
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
        case "string_pattern_mismatch":
            return found, f"allowed: {RULES[detail['ctx']['pattern']]}"
        case "model_type":
            return found, f"allowed: a mapping with {', '.join(_fields_at(shape, detail['loc']))}"
        case _:
            # pydantic's messages name the type and the limits; for these kinds they repeat no input.
            return found, "allowed: " + detail["msg"].removeprefix("Input should be ")


def _fields_at(shape: type[Shape], loc: tuple[int | str, ...]) -> list[str]:
    for step in loc:
        field = shape.model_fields.get(str(step))
        annotation = field.annotation if field else None
        for inner in (annotation, *get_args(annotation)):  # a section that may be missing is a union with None
            if isinstance(inner, type) and issubclass(inner, Shape):
                shape = inner
    return list(shape.model_fields)


def _meant(name: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""
