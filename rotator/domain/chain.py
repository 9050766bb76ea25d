"""The chain of events: each carries the hash of the one before, so that whoever has the last hash can judge them all.

There is one chain for each policy, and one of the journal itself, whose name is empty. A policy's events are recorded
by one holder at a time anyway, so that its chain makes nobody wait. The journal's own chain holds the others together:
a seal names the head of every chain that grew, and the head of this one chain is what is anchored elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

FORMAT = 1
"""Of what is hashed. Another one is another number, and this one stays readable."""

OWN = ""
"""The name of the journal's own chain; no policy can have it."""


class Head(NamedTuple):
    """The end of a chain: how many events it has had, and the hash of the last one."""

    number: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event as it is stored.

    :param policy: whose chain it is in; ``OWN`` for the journal's.
    :param number: its place there, from 1.
    :param at: RFC 3339 in UTC.
    :param who: ``service@HOST``, ``once@HOST`` (cron), ``operator NAME@HOST``, ``migration``; empty: not known.
    :param token: of the lease by which it was recorded; 0 for what is recorded beside its holder.
    :param body: its fields, as JSON.
    :param previous: the hash of the event before; empty for the first one.
    :param hash: its own.
    """

    policy: str
    number: int
    at: str
    who: str
    token: int
    kind: str
    body: str
    previous: str
    hash: str = ""

    @property
    def head(self) -> Head:
        """The end of the chain, if it ends here."""
        return Head(self.number, self.hash)

    def fields(self) -> dict[str, Any]:
        """Of the body. Raises ``ValueError`` where it is no JSON object, or names a field twice."""
        return _object(self.body)

    def digest(self) -> str:
        """SHA-256 over everything but ``hash``, as canonical JSON; raises ``ValueError``."""
        return sha256(canonical(self._hashed()).encode()).hexdigest()

    def line(self) -> str:
        """One line of an export: what is hashed, and the hash."""
        return canonical({**self._hashed(), "hash": self.hash})

    def check(self) -> None:
        """Raises ``ValueError`` where a field is of another kind: whoever can write a table can write anything."""
        numbers = (self.number, self.token)
        texts = (self.policy, self.at, self.who, self.kind, self.body, self.previous, self.hash)
        if not all(type(one) is int for one in numbers) or not all(isinstance(one, str) for one in texts):
            raise ValueError("a field of another kind")

    def _hashed(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "policy": self.policy,
            "number": self.number,
            "at": self.at,
            "who": self.who,
            "token": self.token,
            "kind": self.kind,
            "body": self.fields(),
            "previous": self.previous,
        }


def entry_of(line: Mapping[str, Any]) -> Entry:
    """The entry that a line of an export has. Raises ``ValueError``, ``TypeError``."""
    given = dict(line)
    if given.pop("format", None) != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    entry = Entry(**{**given, "body": canonical(given.get("body"))})
    entry.check()
    return entry


def canonical(value: object) -> str:
    """JSON with sorted keys, no white space, nothing escaped that need not be: one text for one value.

    Raises ``ValueError`` where it is nested too deeply, or has a number that JSON does not know.
    """
    try:
        return _ENCODER.encode(value)
    except RecursionError:
        raise ValueError(_DEEP) from None


def read_object(text: str) -> dict[str, Any]:
    """A JSON object. Raises ``ValueError``, also where a field is named twice: readers would differ on its value."""
    return _object(text)


def _object(text: str) -> dict[str, Any]:
    try:
        found = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_DEEP) from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - to the caller, it is a text that can't be read
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is named twice")
    return found


_DEEP = "it is nested too deeply"

# Made once: making one takes longer than using it.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(object_pairs_hook=_once)


# --- what the journal itself records; no lifecycle knows of it ------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainBegun:
    """The events before were recorded by a version without a chain: what happened to them until now, nobody can tell.

    :param older: how many.
    """

    older: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """In the journal's own chain: the heads of those that grew since the seal before, as ``[number, hash]``."""

    heads: Mapping[str, tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Events were taken out, because they were older than they are kept; the chain goes on where they ended.

    :param first: the number of the first of them; with those pruned before, all from 1 are gone.
    :param last: the number of the last of them.
    :param hash: of the last of them: what the next one carries.
    :param since: when the first of them was recorded; RFC 3339.
    :param until: when the last of them was recorded.
    """

    first: int
    last: int
    hash: str
    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleBegan:
    """A look failed, and the one before had not."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleEnded:
    """A look was fine again."""

    failures: int
