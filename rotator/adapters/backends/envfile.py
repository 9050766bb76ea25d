r"""The text of a .env file: find one variable, replace its value, keep every other byte. No I/O.

There is no standard. The grammar is that of python-dotenv (``dotenv/parser.py``, 1.x): ``NAME=value`` with an
optional ``export``, values bare, in single or in double quotes (these may span lines), ``#`` comments; the last of
several assignments wins. What is written is only what python-dotenv, docker compose (compose-go ``dotenv``),
systemd (``EnvironmentFile=`` in systemd.exec(5)) and a POSIX shell read alike:

====================  =============================  ========================================================
form                  for values                     reason
====================  =============================  ========================================================
``NAME=value``        of harmless characters         no reader gives them a meaning
``NAME='value'``      without ``'``, ``\``, ``${``    nothing is special, but python-dotenv unescapes ``\``
``NAME="value"``      without ``$`` and backquote    ``\\`` and ``\"`` are unescaped by all of them
====================  =============================  ========================================================

Any other value (line breaks, ``${``, ``'`` beside ``$`` or a backquote) is refused: some reader would see
something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

_STATEMENT = re.compile(
    r"""(?P<prefix>[ \t]*(?:export[ \t]+)?(?P<key>[^=\#\s'"]+)[ \t]*=[ \t]*)
        (?:'(?P<single>(?:\\.|[^'\\])*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<bare>(?!['"])(?:(?<![ \t])|(?!\#))[^\r\n]*?))
        (?P<tail>(?:[ \t]*|[ \t]+\#[^\r\n]*|(?<=['"])\#[^\r\n]*)(?:\r\n|\n|\r|\Z))""",
    re.VERBOSE | re.DOTALL,
)
_NEWLINE = re.compile(r"\r\n|\n|\r")
_STARTS_OURS = r"[ \t]*(?:export[ \t]+)?{}[ \t]*="
_HARMLESS = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOUBLE_ESCAPES = re.compile(r"\\[\\'\"abfnrtv]")
_UNESCAPED = dict(zip("\\'\"abfnrtv", "\\'\"\a\b\f\n\r\t\v", strict=True))
_HINT = "# rotator: "
_BOM = "\ufeff"


class EnvFileError(Exception):
    """The text can't be understood or written so that all readers agree. The message quotes none of it."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One statement or one other line, as it stands: ``text[start:end]``."""

    start: int
    end: int
    number: int
    match: re.Match[str] | None


class EnvFile:
    """One parsed .env file.

    :raises EnvFileError: the variable's own line can't be understood, or refers to another variable.
    """

    def __init__(self, text: str, variable: str) -> None:
        if not _NAME.fullmatch(variable):
            raise EnvFileError("the field is no variable name (letters, digits, underscores)")
        self._text = text
        self._variable = variable
        self._lines = list(self._parse())
        self._ours = [line for line in self._lines if line.match and line.match["key"] == variable]

    @property
    def value(self) -> str | None:
        """What readers see, or ``None`` where the variable is missing or empty."""
        return (_value_of(self._ours[-1]) or None) if self._ours else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The pairs in the comment above the variable; empty where there are none or they can't be read."""
        if not self._ours:
            return {}
        above = self._above(self._ours[-1])
        if above is None:
            return {}
        try:
            pairs = json.loads(self._slice(above).strip().removeprefix(_HINT.rstrip()))
        except ValueError:
            return {}  # a hint only, and a person may have edited it
        return {str(name): str(text) for name, text in pairs.items()} if isinstance(pairs, dict) else {}

    def with_value(self, value: str, metadata: Mapping[str, str], beside: Mapping[str, str] | None = None) -> str:
        """The whole text with the new value, and the hint in one comment line above it.

        Every assignment of the variable gets the value: a reader that takes the first one must not keep the old key.

        :param beside: further variables, by name; they get no hint.
        """
        text = self._with(value, _HINT + json.dumps(dict(metadata)) + self._newline())
        for name, other in (beside or {}).items():
            text = EnvFile(text, name)._with(other, "")  # noqa: SLF001 -- of the same class
        return text

    def _with(self, value: str, hint: str) -> str:
        newline = self._newline()
        if not self._ours:
            gap = "" if not self._text or self._text.endswith(("\n", "\r")) else newline
            return f"{self._text}{gap}{hint}{self._variable}={quoted(value)}{newline}"
        above = [self._above(line) for line in self._ours] if hint else []
        dropped = {line.start for line in above if line is not None}
        parts = [self._text[: self._lines[0].start]]
        for line in self._lines:
            if line.start in dropped:
                continue
            if line not in self._ours or line.match is None:
                parts.append(self._slice(line))
                continue
            if line is self._ours[-1]:
                parts.append(hint)
            old_quote = "'" if line.match["single"] is not None else '"' if line.match["double"] is not None else ""
            parts.append(f"{line.match['prefix']}{quoted(value, old_quote)}{line.match['tail']}")
        return "".join(parts)

    def _parse(self) -> Iterator[_Line]:
        at, number = len(_BOM) if self._text.startswith(_BOM) else 0, 1
        ours = re.compile(_STARTS_OURS.format(re.escape(self._variable)))
        while at < len(self._text):
            match = _STATEMENT.match(self._text, at)
            if match is None and ours.match(self._text, at):
                raise EnvFileError(f"line {number}: its quotes can't be understood")
            end = match.end() if match else self._end_of_line(at)
            yield _Line(at, end, number, match)
            number += len(_NEWLINE.findall(self._text, at, end))
            at = end

    def _end_of_line(self, at: int) -> int:
        newline = _NEWLINE.search(self._text, at)
        return newline.end() if newline else len(self._text)

    def _slice(self, line: _Line) -> str:
        return self._text[line.start : line.end]

    def _above(self, line: _Line) -> _Line | None:
        index = self._lines.index(line)
        above = self._lines[index - 1] if index else None
        return above if above and self._slice(above).startswith(_HINT.rstrip()) else None

    def _newline(self) -> str:
        first = _NEWLINE.search(self._text)
        return first.group() if first else "\n"


def variables(text: str) -> dict[str, str]:
    """Every variable with what readers see; without empty ones, and those that refer to others.

    Lines that can't be understood are passed over: nothing is written by what is found here.
    """
    found: dict[str, str] = {}
    for line in EnvFile(text, "_")._lines:  # noqa: SLF001 - the names are not known yet
        name = line.match["key"] if line.match else ""
        if _NAME.fullmatch(name):
            with suppress(EnvFileError):
                found[name] = _value_of(line)
    return {name: value for name, value in found.items() if value}


def quoted(value: str, preferred: str = "") -> str:
    """The value in a form that all readers read alike; in the ``preferred`` quotes where that makes no difference."""
    if any(character in value for character in "\n\r\0"):
        raise EnvFileError("the value has a line break or a NUL, which no form carries to all readers")
    if _HARMLESS.fullmatch(value):
        return f"{preferred}{value}{preferred}"
    if not ("'" in value or "\\" in value or "${" in value):
        return f"'{value}'"
    if not ("$" in value or "`" in value):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    raise EnvFileError(
        "the value mixes '$' or '`' with quotes, backslashes or braces, which readers understand differently"
    )


def _value_of(line: _Line) -> str:
    match = line.match
    if match is None:
        return ""
    if match["single"] is not None:
        value = re.sub(r"\\([\\'])", r"\1", match["single"])
    elif match["double"] is not None:
        value = _DOUBLE_ESCAPES.sub(lambda escape: _UNESCAPED[escape.group()[1]], match["double"])
    else:
        value = match["bare"].strip()
    if "${" in value:
        raise EnvFileError(f"line {line.number}: the value refers to another variable; name that one in the policy")
    return value
