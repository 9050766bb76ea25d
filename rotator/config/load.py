"""From a file to ``Settings``: everything is checked, every fault is reported, nothing is half accepted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from rotator.config import sections
from rotator.config.check import Faults, shown
from rotator.config.policies import PolicyReader
from rotator.config.secrets import holds_secret, looks_like_secret
from rotator.config.settings import Settings
from rotator.config.shapes import Document, IncludedDocument
from rotator.config.source import FieldPath, parse, read
from rotator.errors import ConfigError, Problem


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read and check a configuration and what it includes.

    Secrets that it refers to must be there; they are not kept.

    :raises ConfigError: with every problem that was found.
    """
    main = _File(path)
    document = main.faults.check(Document, main.data, ())
    if document is None:
        main.fail()
    reader = sections.SectionReader(main.faults, environ, path.parent)
    state_url = reader.state_url(document.state)
    backends = reader.backends(document.backends)
    providers = reader.providers(document.providers, backends)
    policies = PolicyReader(document, path.parent, providers, backends)
    files = [main, *_included(main, document.include)]
    for file in files:
        given = file.data.get("policies") if isinstance(file.data, Mapping) else None
        policies.read(given if given is not None else [], file.faults)
    problems = [problem for file in files for problem in file.problems()]
    if problems:
        raise ConfigError(problems)
    return Settings(
        source=path,
        instance=document.instance,
        state_url=state_url,
        providers=providers,
        backends=backends,
        policies=tuple(policies.made),
        service=sections.service(document.service),
        log=sections.log(document.log),
    )


class _File:
    """One file: its data, and what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults = Faults()
        self._text = read(path)
        self.data: Any = parse(path, self._text)
        if not isinstance(self.data, Mapping):
            self.faults.add((), shown(self.data), "allowed: a mapping with version, instance, policies, ...")
            self.fail()
        if holds_secret(self._text):
            self._name_secrets(self.data, ())

    def fail(self) -> NoReturn:
        raise ConfigError(self.problems())

    def problems(self) -> list[Problem]:
        """With lines, which take a second reading."""
        if not self.faults.found:
            return []
        lines: dict[FieldPath, int] = {}
        parse(self.path, self._text, lines)
        return [
            Problem(str(self.path), _line(lines, where), _as_written(where), found, allowed)
            for where, found, allowed in sorted(self.faults.found, key=lambda fault: _line(lines, fault[0]))
        ]

    def _name_secrets(self, value: object, where: FieldPath) -> None:
        if isinstance(value, str) and holds_secret(value):
            allowed = "allowed: a reference, such as {env: NAME} or {file: PATH}; never a secret itself"
            self.faults.add(where, "a secret, written into the configuration", allowed)
        elif isinstance(value, Mapping):
            for name, item in value.items():
                if holds_secret(name):
                    self.faults.add(where, "a field name that looks like a secret", "allowed: no secret")
                else:
                    self._name_secrets(item, (*where, name))
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self._name_secrets(item, (*where, number))


def _included(main: _File, patterns: list[str]) -> list[_File]:
    files: list[_File] = []
    seen = {main.path.resolve()}
    for number, pattern in enumerate(patterns):
        is_glob = any(character in pattern for character in "*?[")
        base = Path(pattern).anchor or main.path.parent
        relative = pattern.removeprefix(Path(pattern).anchor)
        found = sorted(Path(base).glob(relative)) if is_glob else [main.path.parent / pattern]
        for path in found:
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            if not is_glob and not path.exists():
                main.faults.add(("include", number), shown(pattern), "allowed: a file that exists, or a glob")
                continue
            file = _File(path)
            file.faults.check(IncludedDocument, file.data, ())
            files.append(file)
    return files


def _line(lines: Mapping[FieldPath, int], where: FieldPath) -> int:
    while where and where not in lines:
        where = where[:-1]
    return lines.get(where, 0) if where else 0


def _as_written(where: FieldPath) -> str:
    text = ""
    for step in where:
        name = "..." if isinstance(step, str) and looks_like_secret(step) else step
        text += f"[{name}]" if isinstance(step, int) else f".{name}" if text else f"{name}"
    return text
