"""How a file of this machine lies there: its mode, its owner, and what git would do with it. Reads only."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from rotator.domain.audit.surroundings import FileSeen, Git, Purpose

_GIT_SECONDS = 10


def file_seen(
    path: Path, purpose: Purpose, *, policy: str = "", users: frozenset[int] | None = None
) -> FileSeen | None:
    """``None`` where there is none, or it can't be looked at. A link is followed: what it leads to is read.

    :param users: to whom it may belong; ``None``: to anybody.
    """
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return FileSeen(
        path=str(path),
        purpose=purpose,
        mode=stat.S_IMODE(found.st_mode),
        owner=name_of(found.st_uid),
        foreign=users is not None and found.st_uid not in users,
        git=git_of(path) if purpose is Purpose.DESTINATION else Git.NONE,
        policy=policy,
    )


def git_of(path: Path) -> Git:
    """What the work tree around a file does with it, by git's own word."""
    real = Path(os.path.realpath(path))
    if not any((folder / ".git").exists() for folder in real.parents):
        return Git.NONE
    program = shutil.which("git")
    if program is None:
        return Git.UNKNOWN
    if _ask(program, real, "ls-files", "--error-unmatch") == 0:
        return Git.TRACKED
    return {0: Git.IGNORED, 1: Git.NOT_IGNORED}.get(_ask(program, real, "check-ignore", "--quiet"), Git.UNKNOWN)


def _ask(program: str, path: Path, *question: str) -> int:
    """The exit status. A repository may belong to anybody: nothing that its configuration names is started."""
    safe = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, and no shell
            [program, *safe, "-C", str(path.parent), *question, "--", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, "GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"},
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return -1
    return done.returncode


def folders_above(path: Path) -> frozenset[Path]:
    """Every directory in which somebody could exchange the file, or what leads to it."""
    return frozenset({*path.absolute().parents, *Path(os.path.realpath(path)).parents})


def service_user(journal: Path | None) -> int:
    """The rotator's user, by its number: who asks; or whom the journal belongs to, where who asks is evidently another.

    That is so where who asks may not write the journal, or is root, who may write everything.
    """
    asks = os.geteuid()
    try:
        owner = journal.stat().st_uid if journal else asks
        is_other = asks == 0 or not (journal and os.access(journal, os.W_OK))
    except OSError:
        return asks
    return owner if is_other else asks


def name_of(user: int) -> str:
    """The name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
