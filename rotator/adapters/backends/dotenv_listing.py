"""Which .env files there are: ``ports.Listing``.

Links to folders are followed where a part of the pattern names them (a release that is linked as ``current``), but not
by ``**``, which could go round in circles. A file that is reached in two ways is one place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from rotator.adapters.backends.patterns import Pattern, walk
from rotator.errors import BackendDenied, BackendUnavailable, WrongDestination
from rotator.ports import Listed, Spot


def files(text: str) -> Listed:
    """The files whose absolute path matches."""
    if not text.startswith("/"):
        raise WrongDestination(f"{text}: a pattern of files is an absolute path: /srv/*/.env")
    pattern = Pattern(os.path.normpath(text))
    if pattern.is_literal:
        return Listed((_spot(pattern.text),))
    walked = walk(pattern, partial(_children, pattern))
    found: dict[str, str] = {}
    for path in walked.found:
        found.setdefault(os.path.realpath(path), path)
    return Listed(tuple(_spot(path) for path in found.values()), tuple(walked.problems))


def _children(pattern: Pattern, folder: str) -> Iterator[tuple[str, bool]]:
    try:
        with os.scandir(folder or "/") as entries:
            for entry in entries:
                if entry.is_file():
                    yield entry.name, False
                elif entry.is_dir(follow_symlinks=not pattern.is_deep(f"{folder}/{entry.name}")):
                    yield entry.name, True
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise BackendDenied(f"{folder or '/'}: {error.strerror}") from error
    except OSError as error:
        raise BackendUnavailable(f"{folder or '/'}: {error.strerror}") from error


def _spot(path: str) -> Spot:
    return Spot(options=(("path", path),), name=path)
