"""One file of the configuration: its data, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rotator.config.check import Faults, as_written, shown
from rotator.config.secrets import comments_with_secrets, holds_secret
from rotator.config.shapes.fields import NAME
from rotator.config.source import FieldPath, parse, read
from rotator.errors import ConfigError, Problem

_ONLY_REFERENCES = "allowed: a reference, such as {env: NAME} or {file: PATH}; never a secret itself"


class ConfigFile:
    """A file that is a mapping. Raises ``ConfigError`` where it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults = Faults()
        self._text = read(path)
        self._walked: set[int] = set()
        data = parse(path, self._text)
        if not isinstance(data, Mapping):
            allowed = "allowed: a mapping with version, instance, policies, ..."
            raise ConfigError([Problem(str(path), 0, "", shown(data), allowed)])
        self.data: Mapping[str, Any] = data
        # A backslash can hide the shape of a secret from a look at the text: JSON writes "https:\\/\\/".
        self._holds_secret = holds_secret(self._text)
        if self._holds_secret or "\\" in self._text:
            self._name_secrets(data, ())

    def problems(self) -> list[Problem]:
        """All of them in the order of the file, with lines, which take a second reading."""
        problems = [
            Problem(str(self.path), line, "", "a secret, in a comment", "allowed: no secret; if it is real, revoke it")
            for line in (comments_with_secrets(self._text) if self._holds_secret else ())
        ]
        if self.faults.found:
            lines: dict[FieldPath, int] = {}
            parse(self.path, self._text, lines)
            problems += [
                Problem(str(self.path), _line(lines, where), self._as_written(where), found, allowed)
                for where, found, allowed in self.faults.found
            ]
        return sorted(problems, key=lambda problem: problem.line)

    def _as_written(self, where: FieldPath) -> str:
        """With the policy's name: a number alone says little among thousands."""
        written = as_written(where)
        match where:
            case ("policies", int(number), *_):
                policy = self.data["policies"][number]
                name = policy.get("name") if isinstance(policy, Mapping) else None
                if isinstance(name, str) and re.fullmatch(NAME, name) and as_written((name,)) == name:
                    return f"{written} ({name})"
        return written

    def _name_secrets(self, value: object, where: FieldPath) -> None:
        if isinstance(value, str) and holds_secret(value):
            self.faults.add(where, "a secret, written into the configuration", _ONLY_REFERENCES)
        if not isinstance(value, Mapping | list) or id(value) in self._walked:
            return  # what an alias repeats is reported once
        self._walked.add(id(value))
        for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(name, str) and holds_secret(name):
                self.faults.add(where, "a field name that looks like a secret", "allowed: no secret")
            else:
                self._name_secrets(item, (*where, name))


def _line(lines: Mapping[FieldPath, int], where: FieldPath) -> int:
    while where and where not in lines:
        where = where[:-1]
    return lines.get(where, 0) if where else 0
