"""Events of the journal for people and for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from rotator.domain.chain import Entry
from rotator.entrypoints.render import print_table
from rotator.telemetry import redact_text

_OUTCOMES = {
    "RotationAbandoned": "failed",
    "RollbackDropped": "failed",
    "TroubleBegan": "failed",
    "ExpiryUncertain": "not known",
}
_BEGINNINGS = ("Intended", "Requested", "Begun")


def print_events(entries: Sequence[Entry]) -> None:
    """A table on standard output, the newest last."""
    from rich.table import Table  # noqa: PLC0415 - slow to import, and only needed here
    from rich.text import Text  # noqa: PLC0415

    table = Table("time (UTC)", "who", "policy", "what", "key", "why, evidence")
    for entry in entries:
        one = as_dict(entry)
        why = "; ".join(filter(None, (one["why"], one["evidence"], one["place"])))
        cells = (one["at"][:19], one["who"] or "not recorded", one["policy"], one["what"], one["key_id"], why)
        table.add_row(*(Text(redact_text(cell)) for cell in cells))
    print_table(table)


def as_json(entries: Sequence[Entry]) -> str:
    """``{"version": 1, "events": [...]}``; what an event does not have is an empty text."""
    document = {"version": 1, "events": [as_dict(entry) for entry in entries]}
    return redact_text(json.dumps(document, indent=2)) + "\n"


def as_dict(entry: Entry) -> dict[str, Any]:
    """Time, who, policy, rotation, key id, what, why, outcome, evidence; and the event as it is stored.

    Of one that somebody has spoilt: what can be read of it. ``--verify`` tells that it is no evidence.
    """
    try:
        entry.check()
        return _told(entry, entry.fields())
    except (AttributeError, TypeError, ValueError):
        spoilt: dict[str, Any] = {one.name: getattr(entry, one.name) for one in fields(entry)}
        return _told(replace(entry, **{name: _as_text(value) for name, value in spoilt.items()}), {})


def _as_text(value: object) -> Any:  # noqa: ANN401 - what is a text or a number already stays as it is
    return value if type(value) is int or isinstance(value, str) else ascii(value)


def _told(entry: Entry, body: Mapping[str, Any]) -> dict[str, Any]:
    rotation, key = body.get("rotation") or {}, body.get("key") or {}
    ids = [body.get("key_id") or key.get("key_id") or "", *body.get("key_ids", ())]
    return {
        "at": entry.at,
        "who": entry.who,
        "policy": entry.policy,
        "number": entry.number,
        "what": "released" if entry.kind == "Held" and not body.get("reason") else _named(entry.kind),
        "rotation_id": _first(body, "rotation_id", "rollback_id") or rotation.get("rotation_id", ""),
        "key_id": ", ".join(filter(None, ids)),
        "place": _first(body, "destination", "hook"),
        "why": ("compromised: " if body.get("compromised") else "")
        + (_first(body, "why", "reason", "by") or rotation.get("reason", "")),
        "outcome": _outcome(entry.kind),
        "evidence": _first(body, "evidence"),
        "hash": entry.hash,
        "previous": entry.previous,
        "body": body,
    }


def _named(kind: str) -> str:
    return ".".join(re.findall("[A-Z][a-z]+", kind)).lower()


def _outcome(kind: str) -> str:
    return _OUTCOMES.get(kind) or ("begun" if kind.endswith(_BEGINNINGS) else "done")


def _first(body: Mapping[str, Any], *names: str) -> str:
    return next((str(body[name]) for name in names if body.get(name)), "")
