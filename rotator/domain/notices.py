"""What is told of what: from an entry of the journal to a notice for people. Read ``TABLE`` first. Pure.

An event whose name is not in the table is no news: most are steps, and an operator's orders are known to who gave them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rotator.domain.model import Policy
from rotator.domain.record import PolicyRecord
from rotator.domain.text import text


class Level(StrEnum):
    """How much it matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"  # escalated: somebody should get up

    def reaches(self, least: Level) -> bool:
        """Whether it matters at least so much."""
        order = list(Level)
        return order.index(self) >= order.index(least)


class Kind(StrEnum):
    """What a notice is about: the names by which a channel chooses (``events``)."""

    ROTATED = "rotated"
    REVOKED = "revoked"
    ADOPTED = "adopted"
    ROLLED_BACK = "rolled-back"
    ABOUT_TO_REVOKE = "about-to-revoke"
    STILL_IN_USE = "still-in-use"
    CHANGED_BY_OTHERS = "changed-by-others"
    ABANDONED = "abandoned"
    COMPROMISED = "compromised"
    FAILED = "failed"
    OVERDUE = "overdue"
    NEEDS_PERSON = "needs-person"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that people are told. No secret, and nothing that is not for every reader of the channel.

    :param ident: the same for every repeat of the same notice, so that a receiver can know it again.
    :param kind: a ``Kind``, or ``digest`` or ``test``.
    :param policy: empty where it is about several.
    :param at: when it happened, or was seen.
    :param what: what happened, a sentence.
    :param advice: what to do, a sentence.
    """

    ident: str
    kind: str
    level: Level
    at: datetime
    what: str
    advice: str
    policy: str = ""
    project: str = ""
    key_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event as the journal has it, whichever version wrote it.

    :param kind: the name of its class.
    :param body: its fields, as JSON has them.
    """

    seq: int
    at: datetime
    policy: str
    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tell:
    """How an event is told. ``{name}`` stands for a field of it; see ``_facts`` for more names.

    :param only: a field that must be true; empty: told always.
    """

    kind: Kind
    level: Level
    what: str
    advice: str
    only: str = ""


_NOTHING = "Nothing is to be done."

TABLE: Mapping[str, Tell] = {
    "GraceStarted": Tell(
        Kind.ROTATED,
        Level.INFO,
        "Every destination holds the new key {new_key}. The replaced one stays valid until {grace_until}: {old_keys}.",
        "Consumers that read their key at their start alone must be restarted before.",
    ),
    "RotationAbandoned": Tell(
        Kind.ABANDONED,
        Level.WARNING,
        "A rotation was given up ({why}); its key is not left behind.",
        "The next look tries again; if it goes on, mend what the reason names.",
    ),
    "RolledBack": Tell(
        Kind.ROLLED_BACK,
        Level.WARNING,
        "Every destination holds the former key {key_id} again; the newer one stays valid until {grace_until}.",
        "Find out what was wrong with the newer one: {key_id} is replaced again after {rest_until}.",
    ),
    "RollbackDropped": Tell(
        Kind.ROLLED_BACK,
        Level.WARNING,
        "The rollback that was asked for is not carried out: {why}.",
        "See 'rotator status'; ask again if it is still wanted.",
    ),
    "GraceExtended": Tell(
        Kind.STILL_IN_USE,
        Level.WARNING,
        "The replaced key {key_id} is still in use, and lives until {grace_until} now ({why}).",
        "A consumer did not take the new key: find and restart it before the policy's grace_limit.",
    ),
    "KeyRevoked": Tell(Kind.REVOKED, Level.INFO, "The replaced key {key_id} was revoked.", _NOTHING),
    "KeyAdopted": Tell(
        Kind.ADOPTED,
        Level.INFO,
        "The key {key_id}, which others had put there, is rotated from now on.",
        "Nothing is to be done, if you know who put it there.",
    ),
    "DestinationRestored": Tell(
        Kind.CHANGED_BY_OTHERS,
        Level.WARNING,
        "Somebody had changed {destination}; it holds {key_id} again.",
        "Find out who writes there besides rotator.",
    ),
    "StrayFound": Tell(
        Kind.CHANGED_BY_OTHERS,
        Level.WARNING,
        "The provider lists {key_id} ({key_name}), which has a name of ours and is not in the journal.",
        "Was the journal restored from an older copy, or does another installation have the same instance name?",
    ),
    "RotationRequested": Tell(
        Kind.COMPROMISED,
        Level.CRITICAL,
        "The key was said to have leaked ({reason}): it is replaced at once, and revoked without a grace.",
        "Restart consumers that do not read their key again by themselves; see 'rotator status'.",
        only="compromised",
    ),
    "KeyRequested": Tell(
        Kind.NEEDS_PERSON,
        Level.WARNING,
        "A key named {key_name} that expires {expires_at} is asked for in project {project}, by {deadline}.",
        "Make it in the console, and hand it over: {hand_over}. 'rotator requests' has the link.",
        only="hand_over",
    ),
    "KeyRequestChanged": Tell(
        Kind.NEEDS_PERSON,
        Level.WARNING,
        "The key {key_name} that is asked for in project {project} is needed by {deadline} now, with the expiration "
        "{expires_at} ({reason}).",
        "Make it in the console, and hand it over: {hand_over}. 'rotator requests' has the link.",
    ),
    "KeyRequestWithdrawn": Tell(
        Kind.NEEDS_PERSON,
        Level.INFO,
        "The key {key_name} is not asked for any more: {why}.",
        "If you have made it already, revoke it in the console.",
    ),
    "PersonReminded": Tell(
        Kind.NEEDS_PERSON,
        Level.WARNING,
        "Still asked of a person in project {project}, by {deadline} ({level}): {what}.",
        "See 'rotator requests' for what to do exactly.",
    ),
    "HandoverRefused": Tell(
        Kind.NEEDS_PERSON,
        Level.WARNING,
        "What {by} handed over was refused: {why}.",
        "See 'rotator requests' for what is asked for.",
    ),
    "HandoverInterrupted": Tell(
        Kind.NEEDS_PERSON,
        Level.WARNING,
        "A key that was handed over was published nowhere, and rotator does not have it any more: {why}.",
        "Hand the same key over again; without it, make another one, and revoke this one.",
    ),
    "RevocationRequested": Tell(
        Kind.NEEDS_PERSON,
        Level.WARNING,
        "The replaced key {key_id} of project {project} is to be revoked by {deadline}.",
        "Revoke exactly that key in the console. 'rotator requests' has the link.",
    ),
    "RevocationWithdrawn": Tell(
        Kind.NEEDS_PERSON,
        Level.WARNING,
        "The key {key_id} is not to be revoked now: {why}.",
        "Leave it alone, until it is asked for again.",
    ),
}
"""By the name of the event's class. An event with a ``level`` of its own (info, warning, critical) is told at that."""


def notice_of(entry: Entry, policy: Policy | None, record: PolicyRecord) -> Notice | None:
    """What is told of an entry; ``None`` where it is no news.

    :param policy: as it is configured now; ``None`` where it is not any more.
    :param record: what is remembered of it now.
    """
    tell = TABLE.get(entry.kind)
    if tell is None or (tell.only and not entry.body.get(tell.only)):
        return None
    facts = _facts(entry, record)
    own = _PRESSING.get(facts.get("level", ""), facts.get("level", ""))
    return Notice(
        ident=f"event {entry.seq} {entry.at.isoformat()}",
        kind=tell.kind,
        level=Level(own) if own in set(Level) else tell.level,
        at=entry.at,
        what=tell.what.format_map(facts),
        advice=tell.advice.format_map(facts),
        policy=entry.policy,
        project=policy.project if policy else "",
        key_ids=tuple(dict.fromkeys(facts[name] for name in ("new_key", "key_id") if facts[name] not in _UNKNOWN)),
    )


_PRESSING = {"escalated": Level.CRITICAL, "overdue": Level.CRITICAL}
"""How much a reminder of a person matters, by its own level (``domain.record``)."""

_NOT_KNOWN = "(not known any more)"
_UNKNOWN = {"", _NOT_KNOWN}


class _Facts(dict[str, str]):
    """A field that an older version did not write is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def _facts(entry: Entry, record: PolicyRecord) -> _Facts:
    """The event's fields, flat; of its ``key`` the id and name; ``new_key`` and ``old_keys`` of its rotation."""
    facts = _Facts()
    for name, value in entry.body.items():
        if isinstance(value, Mapping):
            facts |= {inner: str(value[inner]) for inner in ("key_id", "rotation_id") if value.get(inner)}
            facts |= {"key_name": str(value["name"])} if name == "key" and value.get("name") else {}
        elif isinstance(value, list):
            facts[name] = ", ".join(map(str, value))
        elif value is not None:
            facts[name] = _moment(value) if isinstance(value, str) else str(value)
    if entry.kind == "PersonReminded":
        facts["what"] = f"revoke the key {facts['key_id']}" if facts["key_id"] else f"make the key {facts['key_name']}"
    rotation = facts["rotation_id"]
    if entry.kind == "GraceStarted":
        new = next((key.key_id for key in record.keys if key.rotation_id == rotation), _NOT_KNOWN)
        old = [key.key_id for key in record.keys if key.replaced_by == rotation and key.key_id != new]
        facts |= {"new_key": new, "old_keys": ", ".join(old) or "none is left"}
    return facts


def _moment(value: str) -> str:
    """A time as every message writes it; any other text as it is."""
    try:
        return text(datetime.fromisoformat(value)) if value[4:5] == "-" and value[10:11] == "T" else value
    except ValueError:
        return value


_LONGEST = 1500
"""Characters of what happened: beyond 2,000 in all there are chats that refuse a message, or cut off what to do."""


def title(notice: Notice, instance: str) -> str:
    """One line: ``rotator prod: chat: failed``; critical ones begin with it."""
    parts = ["rotator " + instance, notice.policy, notice.kind.replace("-", " ")]
    alarm = "CRITICAL " if notice.level is Level.CRITICAL else ""
    return alarm + ": ".join(part for part in parts if part)


def body(notice: Notice) -> str:
    """The lines below the title."""
    keys = f"keys: {', '.join(notice.key_ids)}" if notice.key_ids else ""
    where = f"policy {notice.policy}" + (f", project {notice.project}" if notice.project else "")
    about = [part for part in (where if notice.policy else "", keys, text(notice.at)) if part]
    what = notice.what if len(notice.what) <= _LONGEST else notice.what[: _LONGEST - 1] + "…"
    return "\n".join([what, f"What to do: {notice.advice}", "", "; ".join(about)])
