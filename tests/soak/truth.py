"""What was really so, from the journal's events, the platform's own records and OpenBao's history of every secret.

Each check returns sentences, one for each violation; none is the promise kept.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from rotator.domain.secret import SecretValue
from tests.soak.stage import FIELD, GRACE, Stage


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event of the journal."""

    at: datetime
    policy: str
    token: int
    kind: str
    body: Mapping[str, Any]


@dataclass(kw_only=True)
class Rotation:
    """One attempt, from its intent to its end, as the journal tells it."""

    policy: str
    rotation_id: str
    key_name: str
    expected: dict[str, set[str]]
    intended_at: datetime
    tokens: set[int] = field(default_factory=set)
    key_id: str = ""
    fingerprint: str = ""
    verified_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str = "in flight"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a secret in OpenBao, and until when it was the latest."""

    policy: str
    place: str
    number: int
    fingerprint: str
    since: datetime
    until: datetime | None


def entries(state: Path) -> list[Entry]:
    """The journal's events, in order."""
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=60)) as journal:
        rows = journal.execute("SELECT at, policy, token, kind, body FROM event ORDER BY seq").fetchall()
    return [
        Entry(at=datetime.fromisoformat(at), policy=policy, token=token, kind=kind, body=json.loads(body))
        for at, policy, token, kind, body in rows
    ]


def count(state: Path, kind: str) -> int:
    """How many events of a kind there are by now; 0 where there is no journal yet."""
    if not state.exists():
        return 0
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=60)) as journal:
        if not journal.execute("SELECT 1 FROM sqlite_master WHERE name = 'event'").fetchone():
            return 0
        return int(journal.execute("SELECT count(*) FROM event WHERE kind = ?", (kind,)).fetchone()[0])


def rotations(happened: Iterable[Entry]) -> dict[str, Rotation]:
    """By id."""
    made: dict[str, Rotation] = {}
    for entry in happened:
        body = entry.body
        if entry.kind in {"RotationIntended", "RotationRebuilt"}:
            told = body["rotation"]
            made[told["rotation_id"]] = Rotation(
                policy=entry.policy,
                rotation_id=told["rotation_id"],
                key_name=told["key_name"],
                expected={place: {version} for place, version in told["expected"].items()},
                intended_at=entry.at,
                key_id=told.get("key_id", ""),
                fingerprint=told.get("fingerprint") or "",
                verified_at=entry.at if entry.kind == "RotationRebuilt" else None,
            )
        rotation = made.get(body.get("rotation_id") or body.get("rotation", {}).get("rotation_id", ""))
        if rotation is None:
            continue
        rotation.tokens.add(entry.token)
        match entry.kind:
            case "KeyIssued":
                rotation.key_id, rotation.fingerprint = body["key"]["key_id"], body["key"]["fingerprint"]
            case "KeyVerified":
                rotation.verified_at = entry.at
            case "DestinationRebased":
                rotation.expected[body["destination"]].add(body["version"])
            case "GraceStarted" | "RotationAbandoned":
                rotation.ended_at, rotation.outcome = entry.at, entry.kind
    return made


def history(stage: Stage) -> list[Version]:
    """Every version of every OpenBao place."""
    made = []
    kv = stage.openbao.root.secrets.kv.v2
    for place in stage.places:
        if place.kind != "openbao":
            continue
        versions = kv.read_secret_metadata(place.where, mount_point=stage.mount)["data"]["versions"]
        times = {int(number): datetime.fromisoformat(told["created_time"]) for number, told in versions.items()}
        for number, since in times.items():
            read = kv.read_secret_version(
                place.where, version=number, mount_point=stage.mount, raise_on_deleted_version=True
            )
            made.append(
                Version(
                    policy=place.policy,
                    place=place.name,
                    number=number,
                    fingerprint=SecretValue(read["data"]["data"][FIELD]).fingerprint(),
                    since=since,
                    until=times.get(number + 1),
                )
            )
    return made


def fencing(happened: Iterable[Entry]) -> list[str]:
    """Once a lease was taken over, its former holder writes nothing into the journal any more."""
    newest: dict[str, int] = defaultdict(int)
    found = []
    for entry in happened:
        if 0 < entry.token < newest[entry.policy]:
            found.append(f"{entry.policy}: {entry.kind} by token {entry.token} after {newest[entry.policy]}")
        newest[entry.policy] = max(newest[entry.policy], entry.token)
    return found


def one_rotation_at_a_time(happened: Iterable[Entry]) -> list[str]:
    """No intent while another rotation of the policy is in flight."""
    in_flight: dict[str, str] = {}
    found = []
    for entry in happened:
        match entry.kind:
            case "RotationIntended" | "RotationRebuilt":
                rotation_id = entry.body["rotation"]["rotation_id"]
                if entry.policy in in_flight:
                    found.append(f"{entry.policy}: {rotation_id} was begun beside {in_flight[entry.policy]}")
                in_flight[entry.policy] = rotation_id
            case "GraceStarted" | "RotationAbandoned":
                in_flight.pop(entry.policy, None)
            case _:
                pass
    return found


def candidates(made: Mapping[str, Rotation], keys: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """Never two live candidates of a policy; and how many keys came to be after their rotation was given up.

    A candidate lives from the platform's own record of its creation until the journal decided on its rotation, or
    until it was revoked. One that a former holder creates later than that is no candidate: nobody can publish it.
    """
    by_name: dict[str, list[Rotation]] = defaultdict(list)
    for rotation in made.values():
        by_name[rotation.key_name].append(rotation)
    lives: dict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
    late = 0
    found = []
    for key in keys:
        known = by_name.get(key["name"], [])
        if not known and key["name"].startswith("rotator_"):
            found.append(f"{key['id']} ({key['name']}) was created without an intent")
        created = datetime.fromisoformat(key["created_at"])
        for rotation in known:
            ends = [at for at in (rotation.ended_at, _moment(key["revoked_at"])) if at]
            end = min(ends) if ends else datetime.max.replace(tzinfo=created.tzinfo)
            begin = max(created, rotation.intended_at)
            if begin <= end:
                lives[rotation.policy].append((begin, end, key["id"]))
        late += all(rotation.ended_at and rotation.ended_at < created for rotation in known) and bool(known)
    for policy, spans in lives.items():
        spans.sort()
        for (_, end, one), (begin, _, other) in pairwise(spans):
            if begin < end:
                found.append(f"{policy}: {one} and {other} were live candidates at the same time")
    return found, late


def writes(versions: Iterable[Version], made: Mapping[str, Rotation]) -> tuple[list[str], int]:
    """Every write is of a verified key of a rotation that the journal knows, over what that rotation had seen.

    A write that was under way when its holder lost the lease can't be called back, so a rotation may land after it was
    given up: at one place at most, for after each write the journal is asked. The second result counts these.
    """
    late: dict[str, list[str]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    found = []
    for version in versions:
        if version.number == 1:
            continue  # by hand
        where = f"{version.place}, version {version.number}"
        known = [one for one in made.values() if one.fingerprint == version.fingerprint]
        if not known or any(one.policy != version.policy for one in known):
            found.append(f"{where}: holds a key of no rotation of {version.policy}")
            continue
        if (version.place, version.fingerprint) in seen:
            found.append(f"{where}: the key of {known[0].rotation_id} was written a second time")
        seen.add((version.place, version.fingerprint))
        # A rotation that landed late can have been taken up again by another one, with the same key.
        before = [one for one in known if one.verified_at and one.verified_at <= version.since]
        may = [one for one in before if str(version.number - 1) in one.expected[version.place]]
        if not before:
            found.append(f"{where}: the key of {known[0].rotation_id} was not verified yet")
        elif not may:
            expected = sorted(set().union(*(one.expected[version.place] for one in before)))
            found.append(f"{where}: {before[-1].rotation_id} expected {', '.join(expected)} there")
        elif all(one.outcome == "RotationAbandoned" and (one.ended_at or version.since) < version.since for one in may):
            late[may[-1].rotation_id].append(where)
    found += [f"{one} was given up, then written to {', '.join(at)}" for one, at in late.items() if len(at) > 1]
    return found, len(late)


def graces(versions: Iterable[Version], keys: Iterable[Mapping[str, Any]], key_ids: Mapping[str, str]) -> list[str]:
    """No key ends while a place holds it, nor before the grace of its last consumers is over."""
    ended = {key["id"]: _moment(key["revoked_at"]) or _past(key) for key in keys}
    found = []
    for version in versions:
        key_id = key_ids.get(version.fingerprint, "")
        end = ended.get(key_id)
        if end is None:
            continue
        where = f"{version.place}, version {version.number}: {key_id}"
        if version.until is None:
            found.append(f"{where} has ended, and is still there")
        elif end < version.until:
            found.append(f"{where} ended {version.until - end} before it was replaced")
        elif end < version.until + timedelta(seconds=GRACE):
            found.append(f"{where} ended only {end - version.until} after it was replaced")
    return found


def _past(key: Mapping[str, Any]) -> datetime | None:
    return _moment(key["expires_at"]) if key["state"] == "expired" else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
