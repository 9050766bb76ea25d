"""Checking one value against its shape, and saying what is wrong with it in a person's words."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rotator.config.secrets import holds_secret, looks_like_secret
from rotator.config.shapes.fields import LABEL, RULES
from rotator.config.source import FieldPath
from rotator.domain.secret import SecretValue
from rotator.domain.text import duration

_ShapeT = TypeVar("_ShapeT", bound=BaseModel)
_Entry = TypeVar("_Entry")
_LONGEST = 60
_KINDS: tuple[tuple[Any, str], ...] = (
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
    (type(None), "nothing"),
    (SecretValue, "a reference to a secret"),
)
_HIDDEN = "a value that is not shown, for it may be a secret"


class Faults:
    """Collects what is wrong: place, what was found, what is allowed."""

    def __init__(self) -> None:
        self.found: list[tuple[FieldPath, str, str]] = []

    def add(self, path: FieldPath, found: str, allowed: str) -> None:
        """One fault."""
        self.found.append((path, found, allowed))

    def check(
        self,
        shape: type[_ShapeT],
        value: object,
        path: FieldPath,
        *,
        hide: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> _ShapeT | None:
        """The value in its shape; otherwise every fault of it is added, and ``None`` is returned.

        :param hide: show no found value at all: where a person may have put a secret.
        :param context: for validators that need to know more than the value.
        """
        if not isinstance(value, Mapping):
            self.add(path, shown(value), f"allowed: a mapping with {', '.join(shape.model_fields)}")
            return None
        try:
            return shape.model_validate(value, context=context)
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

    def chosen(
        self, given: Sequence[str], table: Mapping[str, object], written: object, path: FieldPath, what: str
    ) -> tuple[str, ...]:
        """Names out of a section, each once.

        :param table: the entries of the section that could be made.
        :param written: the section as written: the faults of an entry that can't be made are reported where it stands.
        :param what: one entry, in a word.
        """
        for number, name in enumerate(given):
            if name in given[:number]:
                self.add((*path, number), shown(name), f"allowed: each {what} once")
            elif not (name in written if isinstance(written, Mapping) else written):
                self.one_of(table, name, (*path, number), f"a configured {what}")
        return tuple(given)

    def typed(
        self, given: object, section: str, shapes: Mapping[str, type[_ShapeT]], what: str
    ) -> Iterator[tuple[str, _ShapeT, FieldPath]]:
        """The entries of a section of named things, each checked against the shape of its type."""
        for name, value, path in self.named(given, section):
            shape = self.one_of(shapes, value.get("type"), (*path, "type"), what)
            checked = self.check(shape, value, path) if shape else None
            if checked:
                yield name, checked, path

    def bound(self, length: timedelta, longest: timedelta, path: FieldPath) -> None:
        """A duration that may be no longer."""
        if length > longest:
            self.add(path, duration(length), f"allowed: at most {duration(longest)}")


def shown(value: object) -> str:
    """A found value, fit for an error: short, and never a secret."""
    if isinstance(value, str):
        if looks_like_secret(value):
            return "a value that looks like a secret"
        return quoted(value if len(value) <= _LONGEST else value[:_LONGEST] + "...")
    for kinds, words in _KINDS:
        if isinstance(value, kinds):
            return words
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


def _in_words(detail: ErrorDetails, shape: type[BaseModel], *, hide: bool) -> tuple[str, str]:
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
        case "string_pattern_mismatch":
            pattern = detail["ctx"]["pattern"]
            allowed = RULES.get(pattern, f"a text that matches {pattern}")
        case "is_instance_of" if detail["ctx"]["class"] == SecretValue.__name__:
            # Whatever is written there in full is meant as the secret.
            found = "nothing" if detail["input"] is None else "a value written into the configuration"
            allowed = "a reference to a secret, such as {env: NAME} or {file: PATH}; never the secret itself"
        case "model_type":
            allowed = f"a mapping with {', '.join(_fields_at(shape, detail['loc']))}"
        case "value_error":
            allowed = str(detail["ctx"]["error"])
        case _:
            # pydantic's messages name the type and the limits; for the kinds in our shapes they repeat no input.
            allowed = detail["msg"].removeprefix("Input should be ")
    return found, _allowed(allowed)


def _allowed(text: str) -> str:
    """The words for what is allowed. Those of a plug-in's validator may be anything."""
    if looks_like_secret(text) or not text.isprintable():
        text = "what its documentation says"
    return text if text.startswith("allowed: ") else f"allowed: {text}"


def _fields_at(shape: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    for step in loc:
        field = shape.model_fields.get(str(step))
        annotation = field.annotation if field else None
        for inner in (annotation, *get_args(annotation)):  # a section that may be missing is a union with None
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                shape = inner
    return list(shape.model_fields)


def _meant(name: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""
