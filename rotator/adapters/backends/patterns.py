"""Path patterns of ``ports.Listing``, and the walk through folders that finds what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from rotator.errors import BackendError

_MOST = 20_000
"""Places that one pattern may find, and folders that it may look into."""

_ANY = "**"
_WILD = frozenset("*?[")


class Pattern:
    """One pattern, in its parts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = tuple(text.split("/"))

    @property
    def is_literal(self) -> bool:
        """Whether it means one place only."""
        return not _WILD & set(self.text)

    @property
    def beginning(self) -> str:
        """The text before the first wildcard."""
        end = next((at for at, character in enumerate(self.text) if character in _WILD), len(self.text))
        return self.text[:end]

    @property
    def folder(self) -> str:
        """The parts before the first one with a wildcard, without a slash at the end."""
        return self.beginning.rpartition("/")[0]

    def matches(self, path: str) -> bool:
        """Whether the pattern means that path."""
        return _match(path.split("/"), self._parts)

    def may_be_below(self, folder: str) -> bool:
        """Whether something in that folder, however deep, can match."""
        return _match(folder.split("/"), self._parts, is_folder=True)

    def is_deep(self, folder: str) -> bool:
        """Whether the folder is there by grace of ``**`` alone, which does not follow links."""
        depth = len(folder.split("/"))
        return _ANY in self._parts[:depth]


@dataclass(slots=True)
class Walk:
    """What was found, and what could not be looked into."""

    found: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def walk(pattern: Pattern, children: Callable[[str], Iterable[tuple[str, bool]]]) -> Walk:
    """Every path that matches, sorted.

    :param children: of a folder: names, and whether each is a folder; a name can come as both. What it raises as
        ``BackendError`` is a problem of that folder alone, unless it is the first one.
    """
    result, waiting, looked_into = Walk(), [pattern.folder], 0
    while waiting:
        folder, looked_into = waiting.pop(), looked_into + 1
        if looked_into > _MOST or len(result.found) > _MOST:
            result.problems.append((pattern.text, f"more than {_MOST} places or folders: the rest was not looked at"))
            break
        try:
            names = list(children(folder))
        except BackendError as error:
            if looked_into == 1:
                raise
            result.problems.append((folder, str(error)))
            continue
        for name, is_folder in names:
            path = f"{folder}/{name}" if folder else name
            if is_folder and pattern.may_be_below(path):
                waiting.append(path)
            elif not is_folder and pattern.matches(path):
                result.found.append(path)
    result.found = sorted(set(result.found))
    return result


def _match(path: list[str], parts: tuple[str, ...], *, is_folder: bool = False) -> bool:
    if not path:
        return bool(parts) if is_folder else not any(part != _ANY for part in parts)
    if not parts:
        return False
    if parts[0] == _ANY:
        return _match(path, parts[1:], is_folder=is_folder) or _match(path[1:], parts, is_folder=is_folder)
    return fnmatchcase(path[0], parts[0]) and _match(path[1:], parts[1:], is_folder=is_folder)
