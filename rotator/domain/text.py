"""Times, durations and the words of others as every message writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def text(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second: ``2026-11-23T12:00:00Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(written: str | None) -> datetime | None:
    """What ``text`` has written; ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(written or "")
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def duration(length: timedelta) -> str:
    """As the configuration writes it: ``48h`` is ``2d``, ``90s`` stays."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def printable(words: str) -> str:
    """What others have named, without what a terminal would obey, and what no file can hold (half of a character).

    Line ends and other blanks become a space, all else that can't be printed a ``\N{REPLACEMENT CHARACTER}``.
    """
    if words.isprintable():
        return words
    return "".join(one if one.isprintable() else " " if one.isspace() else "\N{REPLACEMENT CHARACTER}" for one in words)


def printable_lines(words: str) -> str:
    """The same for a text of several lines, which stay apart."""
    return "\n".join(printable(line) for line in words.split("\n"))
