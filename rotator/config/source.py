"""YAML as plain data, strictly: no duplicate keys, no tags, no alias bombs; and where each value stands.

Built from the C parser's events, because a graph of nodes with positions would cost ten times the memory.
Positions are only collected in a second reading, when there is an error to report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from rotator.errors import ConfigError, Problem

FieldPath = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NUMERIC = frozenset("+-.0123456789")  # how what the two patterns match can begin
_WORDS: dict[str, bool | None] = {"": None, "~": None}
for _name, _meaning in {"null": None, "true": True, "false": False}.items():
    _WORDS |= dict.fromkeys((_name, _name.capitalize(), _name.upper()), _meaning)
_MOST_VALUES = 3_000_000
_DEEPEST = 40


class _Fault(Exception):
    def __init__(self, event: Event, found: str, allowed: str) -> None:
        super().__init__(found)
        self.line, self.found, self.allowed = _at(event), found, allowed


def read(path: Path) -> str:
    """The file's text. Raises ``ConfigError``."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            [Problem(str(path), 0, "", f"a file that can't be read ({error.strerror})", _READABLE)]
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(str(path), line, "", "a file that is not UTF-8", _READABLE)]) from None


_READABLE = "allowed: a readable YAML file"


def parse(path: Path, text: str, lines: dict[FieldPath, int] | None = None) -> Any:  # noqa: ANN401 - any YAML value
    """Plain dictionaries, lists, texts, numbers, truths and ``None``, by the rules of YAML 1.2's core schema.

    :param lines: filled with the line of every field, counted from 1.
    :raises ConfigError: with the one fault that ended the reading; it quotes no text of the file.
    """
    try:
        return _Builder(iter(_LOADER(text).get_event, None), lines).document()
    except _Fault as fault:
        problem = Problem(str(path), fault.line, "", fault.found, fault.allowed)
    except yaml.MarkedYAMLError as error:
        problem = _syntax_error(path, text, error)
    except yaml.reader.ReaderError as error:
        # The C parser counts bytes where it was given text.
        line = text.encode("utf-8", "surrogatepass").count(b"\n", 0, error.position) + 1
        problem = Problem(str(path), line, "", "no valid YAML (a control character)", _READABLE)
    raise ConfigError([problem])


def _syntax_error(path: Path, text: str, error: yaml.MarkedYAMLError) -> Problem:
    """Where it is and what the parser calls it, without the parser's quotations: they may be of a secret."""
    mark = error.problem_mark
    if mark is None:
        return Problem(str(path), 0, "", "no valid YAML", _READABLE)
    what = re.sub(r"'[^']*'|\"[^\"]*\"", "...", error.problem or "something")
    if text[mark.index : mark.index + 1] == "\t":
        what = "a tab, where only spaces indent"
    return Problem(str(path), mark.line + 1, "", f"no valid YAML at column {mark.column + 1} ({what})", _READABLE)


class _Builder:
    def __init__(self, events: Iterator[Event], lines: dict[FieldPath, int] | None) -> None:
        self._events = events
        self._lines = lines
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0

    def document(self) -> Any:  # noqa: ANN401 - any YAML value
        value: Any = None
        seen = False
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if seen:
                    raise _Fault(event, "a second document", "allowed: one document a file")
                seen = True
                value = self._value(next(self._events), (), 0)
            elif isinstance(event, StreamStartEvent | StreamEndEvent):
                continue
        return value

    def _value(self, event: Event, path: FieldPath, depth: int) -> Any:  # noqa: ANN401 - any YAML value
        if self._lines is not None:
            self._lines.setdefault(path, _at(event))
        if depth > _DEEPEST:
            raise _Fault(event, f"more than {_DEEPEST} levels", "allowed: a configuration as in the documentation")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        before = self._values
        self._count(1, event)
        tag = getattr(event, "tag", None)
        if tag not in {None, "!", "tag:yaml.org,2002:str"}:
            raise _Fault(event, "a YAML tag", "allowed: plain values without tags")
        value: Any
        if isinstance(event, ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, SequenceStartEvent):
            value = []
            for item in self._events:
                if isinstance(item, SequenceEndEvent):
                    break
                value.append(self._value(item, (*path, len(value)), depth + 1))
        else:
            assert isinstance(event, MappingStartEvent)
            value = self._mapping(path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._values - before)
        return value

    def _mapping(self, path: FieldPath, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent):
                raise _Fault(event, "a field name that is no text", "allowed: texts as field names")
            if event.value == "<<" and event.implicit[0]:
                if merged:
                    raise _Fault(event, "the same field twice in one mapping", "allowed: each field once")
                merged = self._merged(path, depth, event)
                continue
            if event.value in value:
                raise _Fault(event, "the same field twice in one mapping", "allowed: each field once")
            if self._lines is not None:
                self._lines[*path, event.value] = _at(event)
            value[event.value] = self._value(next(self._events), (*path, event.value), depth + 1)
        for one in merged:
            value = {**one, **value}
        return value

    def _merged(self, path: FieldPath, depth: int, event: Event) -> list[dict[str, Any]]:
        """What ``<<`` brings in; the first has precedence. Source: yaml.org/type/merge.html."""
        given = self._value(next(self._events), path, depth + 1)
        sources = given if isinstance(given, list) else [given]
        if not sources or not all(isinstance(one, dict) for one in sources):
            raise _Fault(event, "a merge of something that is no mapping", "allowed: <<: *anchor, or a list of those")
        return sources

    def _alias(self, event: AliasEvent) -> Any:  # noqa: ANN401 - any YAML value
        if event.anchor not in self._anchors:
            raise _Fault(event, "an alias of nothing that came before", "allowed: aliases of earlier anchors")
        value, size = self._anchors[event.anchor]
        self._count(size, event)
        return value

    def _count(self, more: int, event: Event) -> None:
        self._values += more
        if self._values > _MOST_VALUES:
            raise _Fault(event, f"more than {_MOST_VALUES} values", "allowed: a configuration that fits into memory")


def _at(event: Event) -> int:
    """The event's line, counted from 1."""
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 0


def _scalar(event: ScalarEvent) -> str | int | float | bool | None:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    if _INTEGER.fullmatch(text) and len(text) < 20:  # noqa: PLR2004 - longer ones are no counts but ids
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
