"""Whether the files of a configuration have changed: by what they contain, not by when they were written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from rotator.config.source import parse
from rotator.errors import ConfigError

_GLOB = "*?["


class Watched:
    """A configuration and what it includes. Never raises: a file that can't be read is a content like any other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.parent.absolute()
        self._main = b""
        self._patterns: Sequence[str] = ()

    def digest(self) -> str:
        """Another text whenever a file has another content, appears or is gone."""
        main = _content(self._path)
        if main != self._main:
            self._main = main
            # A file that is half written names nothing: what it included before is watched on.
            self._patterns = self._included(main) or self._patterns
        found = hashlib.blake2b(hashlib.blake2b(main).digest())
        for pattern in self._patterns:
            for path in self._matches(pattern):
                found.update(hashlib.blake2b(str(path).encode(errors="surrogateescape")).digest())
                found.update(hashlib.blake2b(_content(path)).digest())
        return found.hexdigest()

    def files(self) -> list[Path]:
        """The configuration, and every file that it includes."""
        self.digest()
        return [self._path, *(path for pattern in self._patterns for path in self._matches(pattern))]

    def _included(self, main: bytes) -> Sequence[str]:
        try:
            data = parse(self._path, main.decode())
        except (ConfigError, UnicodeDecodeError):
            return ()
        given = data.get("include") if isinstance(data, Mapping) else None
        return [one for one in given if isinstance(one, str)] if isinstance(given, list) else ()

    def _matches(self, pattern: str) -> list[Path]:
        if not any(character in pattern for character in _GLOB):
            return [self._folder / pattern]
        anchor = Path(pattern).anchor
        try:
            return sorted(Path(anchor or self._folder).glob(pattern.removeprefix(anchor)))
        except (ValueError, OSError):
            return []  # a fault of the configuration: reading it says so


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        return f"unreadable: {type(error).__name__}".encode()
