"""Answers that are well-formed and wrong, by name. A lie is told only where the true answer was a success.

Each is what a gateway with a defect, a stale cache or a replica behind its leader might say. Nothing that a lie
says is drawn: the same platform and the same request make the same lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rotator.simulator.exchange import KEY, KEYS, WHOAMI, WHOAMI_FLAT, Call
from rotator.simulator.faults import Effect, Fault
from rotator.simulator.keys import key_page, rfc3339
from rotator.simulator.model import Platform
from rotator.simulator.records import Key, Project

NOBODY = "of_nobody"
"""How an id ends that belongs to nothing."""

_LIST, _CREATE, _UPDATE = ("GET", KEYS), ("POST", KEYS), ("PATCH", KEY)
_WHOAMI, _WHOAMI_FLAT = ("GET", WHOAMI), ("GET", WHOAMI_FLAT)
_EXPIRED_BY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What there is to be wrong about: the request, and the body of its true answer."""

    platform: Platform
    call: Call
    answer: dict[str, Any]
    fault: Fault


@dataclass(frozen=True, slots=True)
class Lie:
    """A lie and the endpoints, as method and path template, of which it can be told."""

    told: Callable[[Truth], dict[str, Any]]
    of: frozenset[tuple[str, str]]


def _wrong_project(truth: Truth) -> dict[str, Any]:
    answer = truth.answer
    if "data" in answer:
        other = _other_project(truth, truth.call.path["project_id"])[0]
        return answer | {"data": [row | {"project_id": other} for row in answer["data"]]}
    nested = answer.get("project")
    own = nested["id"] if nested else answer.get("project_id")
    if own is None:  # the legacy key's answer names none
        return answer
    id_, name, slug = _other_project(truth, own)
    if nested:
        return answer | {"project": {"id": id_, "name": name, "slug": slug}}
    wrong = {"project_id": id_, "project_name": name, "project_slug": slug}
    return answer | {field: value for field, value in wrong.items() if field in answer}


def _other_project(truth: Truth, own: str) -> tuple[str, str, str]:
    mine = truth.platform.project(own)
    for project in truth.platform.projects.values():
        if project.id != own and project.organization == mine.organization:
            return project.id, project.name, project.slug
    return f"proj_{NOBODY}", "Nobody", "nobody"


def _other_key_id(truth: Truth) -> dict[str, Any]:
    answer = truth.answer
    if "api_key" in answer:
        return answer | {"api_key": {"id": _other_key(truth, answer["api_key"]["id"])}}
    field = "api_key_id" if "api_key_id" in answer else "id"
    return answer | {field: _other_key(truth, answer[field])} if field in answer else answer


def _other_key(truth: Truth, own: str) -> str:
    project = truth.platform.key(own).project
    others = truth.platform.live_keys(truth.platform.project(project)) if project is not None else iter(())
    return next((key.id for key in others if key.id != own), f"key_{NOBODY}")


def _other_name(truth: Truth) -> dict[str, Any]:
    return truth.answer | {"name": truth.fault.name or "somebody else's"}


def _born_expired(truth: Truth) -> dict[str, Any]:
    key: Key = truth.platform.key(truth.answer["id"])
    key.expires_at = truth.platform.now() - _EXPIRED_BY
    return truth.answer | {"expires_at": rfc3339(key.expires_at)}


def _empty_list(truth: Truth) -> dict[str, Any]:
    return truth.answer | {"data": [], "next_cursor": None}


def _partial_list(truth: Truth) -> dict[str, Any]:
    newest_first = truth.answer["data"][::-1]
    return truth.answer | {"data": newest_first[1::2][::-1]}


def _stale_list(truth: Truth) -> dict[str, Any]:
    project: Project = truth.platform.project(truth.call.path["project_id"])
    moment = truth.platform.now() - timedelta(seconds=truth.fault.age)
    return key_page(truth.call, truth.platform.keys_listed_at(project, moment))


def _phantom_row(truth: Truth) -> dict[str, Any]:
    rows = truth.answer["data"]
    model = rows[-1] if rows else _nothing(truth)
    phantom = model | {"id": f"key_{NOBODY}", "name": truth.fault.name or model["name"]}
    return truth.answer | {"data": [*rows, phantom]}


def _nothing(truth: Truth) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("expires_at", "last_used_at", "created_by"))
    created = rfc3339(truth.platform.now() - _EXPIRED_BY)
    return row | {"name": "nobody's", "project_id": truth.call.path["project_id"], "created_at": created}


LIES: Mapping[Effect, Lie] = {
    Effect.WRONG_PROJECT: Lie(_wrong_project, frozenset({_LIST, _CREATE, _UPDATE, _WHOAMI, _WHOAMI_FLAT})),
    Effect.OTHER_KEY_ID: Lie(_other_key_id, frozenset({_CREATE, _UPDATE, _WHOAMI, _WHOAMI_FLAT})),
    Effect.OTHER_NAME: Lie(_other_name, frozenset({_CREATE})),
    Effect.BORN_EXPIRED: Lie(_born_expired, frozenset({_CREATE})),
    Effect.EMPTY_LIST: Lie(_empty_list, frozenset({_LIST})),
    Effect.PARTIAL_LIST: Lie(_partial_list, frozenset({_LIST})),
    Effect.STALE_LIST: Lie(_stale_list, frozenset({_LIST})),
    Effect.PHANTOM_ROW: Lie(_phantom_row, frozenset({_LIST})),
}
