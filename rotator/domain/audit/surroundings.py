"""What lies around the keys: our own files, connections, credentials and rights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from rotator.domain.model import KeyKind


class Purpose(StrEnum):
    """What a file is for."""

    CONFIGURATION = "configuration"
    STATE = "state"
    CREDENTIAL = "credential"
    DESTINATION = "destination"
    FOLDER = "directory above"
    ANCHORS = "anchors of the journal"


class Git(StrEnum):
    """What a git work tree would do with a file."""

    NONE = "in no work tree"
    IGNORED = "ignored"
    TRACKED = "tracked"
    NOT_IGNORED = "not ignored"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeen:
    """One file on this machine.

    :param mode: its permissions, such as ``0o644``; an access control list counts as its mask.
    :param foreign: it belongs neither to root nor to the rotator's user.
    :param policy: whose destination it is.
    """

    path: str
    purpose: Purpose
    mode: int
    owner: str = ""
    foreign: bool = False
    git: Git = Git.NONE
    policy: str = ""

    @property
    def permissions(self) -> str:
        """As ``chmod`` takes them."""
        return f"{self.mode:04o}"

    @property
    def readable(self) -> bool:
        """By everybody on the machine."""
        return bool(self.mode & 0o004)

    @property
    def readable_by_group(self) -> bool:
        """By a group."""
        return bool(self.mode & 0o040)

    @property
    def writable(self) -> bool:
        """By others than its owner. In a sticky directory they can put something beside, and take nothing away."""
        is_sticky = self.purpose is Purpose.FOLDER and self.mode & 0o1000
        return bool(self.mode & 0o022) and not is_sticky


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where something is sent to.

    :param name: ``provider together``, ``backend vault``.
    :param encrypted: by TLS.
    :param verified: the other side's certificate is checked.
    :param carries: ``keys``, or something that is worth less.
    """

    name: str
    address: str
    loopback: bool
    encrypted: bool
    verified: bool = True
    carries: str = "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A credential that the rotator itself uses.

    :param since: when it was written, as far as its place tells.
    :param kind: what the provider says that it is; ``None`` where it says nothing.
    :param projects: that the configuration has it manage.
    :param lies_in: names of destinations that hold the same value.
    """

    name: str
    since: datetime | None = None
    kind: KeyKind | None = None
    projects: int = 0
    lies_in: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A right. ``pattern``: a path or resource, ``*`` for any text; ``actions`` may have a ``*`` too."""

    pattern: str
    actions: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What the credential of a backend may do, and what the configuration needs.

    :param backend: ``backend vault``.
    :param kind: ``vault`` or ``iam``.
    :param everything: it may do all, as a root token.
    :param endless: it has no end.
    """

    backend: str
    kind: str
    granted: tuple[Grant, ...] = ()
    needed: tuple[Grant, ...] = ()
    everything: bool = False
    endless: bool = False

    def excess(self) -> list[Grant]:
        """What is granted and not needed, in the order of the patterns."""
        found = [
            Grant(pattern=grant.pattern, actions=more)
            for grant in self.granted
            if (more := frozenset(action for action in grant.actions if not _is_needed(self.needed, grant, action)))
        ]
        return sorted(found, key=lambda grant: grant.pattern)


def _is_needed(needed: Iterable[Grant], grant: Grant, action: str) -> bool:
    return any(
        fnmatchcase(grant.pattern, one.pattern) and any(fnmatchcase(action, pattern) for pattern in one.actions)
        for one in needed
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All of it."""

    files: tuple[FileSeen, ...] = ()
    connections: tuple[Connection, ...] = ()
    credentials: tuple[Credential, ...] = ()
    rights: tuple[Granted, ...] = ()
