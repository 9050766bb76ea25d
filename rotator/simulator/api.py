"""The endpoints that clients see: Together's public ones, and the key-management contract.

Shapes: the official SDK 3.1.1 (``types/whoami_*.py``, ``types/project.py``, ``types/chat/*.py``,
``types/organization/*.py``), the platform's API reference for ``GET /v1/whoami`` and ``GET /v1/models``, and
for the key-management contract this project's own page: no such endpoint of Together's is published.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

from rotator.simulator.fields import BadField
from rotator.simulator.model import Platform
from rotator.simulator.records import Key, KeyKind, Project
from rotator.simulator.wire import INFERENCE, Answer, Call, Failed, Handler, error

_T = TypeVar("_T")

_LONGEST_NAME = 256
_LARGEST_PAGE = 1000
_CHAT_MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def routes(platform: Platform) -> dict[str, dict[str, Handler]]:
    """Path template to method to handler."""
    public, keys = _Public(platform), _Keys(platform)
    return {
        "/v1/whoami": {"GET": public.whoami_flat},
        "/v3/whoami": {"GET": public.whoami},
        "/v1/projects": {"GET": public.projects},
        "/v1/models": {"GET": public.models},
        "/v2/projects/{project_id}/models": {"GET": public.project_models},
        INFERENCE: {"POST": public.chat},
        "/v1/billing/usage": {"GET": public.usage},
        "/v1/projects/{project_id}/api-keys": {"GET": keys.list, "POST": keys.create},
        "/v1/projects/{project_id}/api-keys/{key_id}": {"PATCH": keys.update, "DELETE": keys.revoke},
    }


def rfc3339(moment: datetime | None) -> str | None:
    """A time as the contract writes it: RFC 3339 in UTC."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def key_object(key: Key) -> dict[str, object]:
    """One key of a project's list."""
    return {
        "id": key.id,
        "name": key.name,
        "project_id": key.project,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "last_used_at": rfc3339(key.last_used_at),
        "created_by": key.created_by,
    }


def _authenticated(platform: Platform, call: Call) -> Key:
    scheme, _, secret = call.authorization.partition(" ")
    key = platform.authenticate(secret) if scheme.lower() == "bearer" else None
    if key is None:
        raise Failed(error(401, "invalid_api_key", "Invalid API key provided"))
    return key


class _Public:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def _client(self, call: Call, *, sessions: bool = False) -> Key:
        key = _authenticated(self._platform, call)
        if key.kind is KeyKind.MANAGEMENT:
            raise Failed(error(403, "permission_denied", "a management credential works for key management only"))
        if key.kind is KeyKind.USER and not sessions:
            raise Failed(error(401, "invalid_api_key", "an API key is wanted here"))
        self._platform.note_use(key)
        return key

    def whoami(self, call: Call) -> Answer:
        key = self._client(call, sessions=True)
        if key.kind is KeyKind.USER:
            return Answer(200, {"type": key.kind, "user": {"id": key.created_by}})
        organization = self._platform.organization(key.organization)
        shape: dict[str, object] = {
            "type": key.kind,
            "api_key": {"id": key.id},
            "organization": {"id": organization.id, "name": organization.name},
        }
        if key.project is not None:
            project = self._platform.project(key.project)
            shape["project"] = {"id": project.id, "name": project.name, "slug": project.slug}
        return Answer(200, shape)

    def whoami_flat(self, call: Call) -> Answer:
        key = self._client(call)
        organization = self._platform.organization(key.organization)
        project = self._platform.project(key.project) if key.project is not None else None
        shape = {
            "api_key_id": key.id,
            "project_id": project.id if project else None,
            "project_name": project.name if project else None,
            "project_slug": project.slug if project else None,
            "organization_id": organization.id,
            "organization_name": organization.name,
        }
        return Answer(200, shape)

    def projects(self, call: Call) -> Answer:
        key = self._client(call, sessions=True)
        visible = [
            project
            for project in self._platform.projects.values()
            if project.organization == key.organization and key.project in (None, project.id)
        ]
        name = self._platform.organization(key.organization).name
        return _page(call, visible, lambda project: _project_object(project, name))

    def models(self, call: Call) -> Answer:
        self._client(call)
        model = {
            "id": _CHAT_MODEL,
            "object": "model",
            "created": 1733466629,
            "type": "chat",
            "display_name": "Llama 3.3 70B Instruct Turbo",
            "organization": "Meta",
            "context_length": 131072,
        }
        return Answer(200, [model])

    def project_models(self, call: Call) -> Answer:
        key = self._client(call)
        project = self._platform.project(call.path["project_id"], key.organization)
        if key.project not in (None, project.id):
            raise Failed(error(403, "permission_denied", "the key belongs to another project"))
        return Answer(200, {"data": [], "next_cursor": None})

    def chat(self, call: Call) -> Answer:
        key = self._client(call)
        wish = call.fields()
        model = wish.text("model")
        messages = wish.objects("messages")
        slugs = {project.slug: project.id for project in self._platform.projects.values()}
        owner = slugs.get(model.partition("/")[0])
        if owner is not None and key.project not in (None, owner):
            raise Failed(error(404, "model_not_available", "there is no such model in the key's project", "model"))
        tokens = (sum(len(message.text("content", "").split()) for message in messages), 2)
        self._platform.ledger.note_inference(key.organization, key.id, model, tokens, self._platform.now())
        return Answer(200, self._completion(key, model, tokens))

    def _completion(self, key: Key, model: str, tokens: tuple[int, int]) -> dict[str, object]:
        return {
            "id": f"sim-{key.uses:08d}-{key.id}",
            "object": "chat.completion",
            "created": int(self._platform.now().timestamp()),
            "model": model,
            "prompt": [],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "logprobs": None,
                    "message": {"role": "assistant", "content": "All well.", "tool_calls": []},
                }
            ],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
        }

    def usage(self, call: Call) -> Answer:
        key = self._client(call)
        organization = self._platform.organization(key.organization)
        if not organization.billing_usage:
            raise Failed(error(404, "not_found", "not found"))
        if call.query.get("organization_id", organization.id) != organization.id:
            raise Failed(error(403, "permission_denied", "the key belongs to another organization"))
        now = self._platform.now()
        month, granularity = call.query.get("month", now.strftime("%Y-%m")), call.query.get("granularity", "day")
        if not _MONTH.fullmatch(month) or granularity not in ("hour", "day"):
            raise BadField("month, granularity", "YYYY-MM, and hour or day are wanted")
        windows = self._platform.ledger.windows(organization.id, month, granularity, now)
        report = {
            "organization_id": organization.id,
            "billing_period": month,
            "currency": "USD",
            "earliest_window_start": windows[0]["start_time"] if windows else None,
            "latest_window_end": windows[-1]["end_time"] if windows else None,
        }
        return _page(call, windows, lambda window: window, **report)


class _Keys:
    """The key-management contract; a management credential sees and changes the projects of its organisation."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def _project(self, call: Call, *, changes: bool) -> tuple[Project, Key]:
        key = _authenticated(self._platform, call)
        if key.kind is not KeyKind.MANAGEMENT or (changes and key.read_only):
            raise Failed(error(403, "permission_denied", "this credential may not do that"))
        return self._platform.project(call.path["project_id"], key.organization), key

    def list(self, call: Call) -> Answer:
        project, _ = self._project(call, changes=False)
        after = _cursor(call.query.get("after", ""))
        limit = _limit(call)
        rows = [*islice((k for k in self._platform.live_keys(project) if k.sequence > after), limit + 1)]
        cursor = _as_cursor(rows[limit - 1].sequence) if len(rows) > limit else None
        return Answer(200, {"object": "list", "data": [key_object(key) for key in rows[:limit]], "next_cursor": cursor})

    def create(self, call: Call) -> Answer:
        project, manager = self._project(call, changes=True)
        wish = call.fields()
        name = wish.text("name")
        if len(name) > _LONGEST_NAME:
            raise BadField("name", f"at most {_LONGEST_NAME} characters are allowed")
        expires_at = self._expiration(wish.moment("expires_at"))
        key, secret = self._platform.add_key(
            KeyKind.PROJECT,
            project.organization,
            name,
            project_id=project.id,
            expires_at=expires_at,
            created_by=manager.id,
        )
        return Answer(201, {**key_object(key), "key": secret})

    def update(self, call: Call) -> Answer:
        project, _ = self._project(call, changes=True)
        key = self._own(project, call.path["key_id"])
        wish = call.fields()
        if not wish.has("expires_at") and not wish.is_null("expires_at"):
            raise BadField("expires_at", "an RFC 3339 time or null is wanted")
        key.expires_at = self._expiration(wish.moment("expires_at"))
        return Answer(200, key_object(key))

    def revoke(self, call: Call) -> Answer:
        project, _ = self._project(call, changes=True)
        self._platform.revoke(self._own(project, call.path["key_id"]))
        return Answer(204)

    def _own(self, project: Project, key_id: str) -> Key:
        legacy = self._platform.organization(project.organization).legacy_key
        if legacy and key_id == legacy:
            return self._platform.key(key_id)
        return self._platform.live_key(project, key_id)

    def _expiration(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= self._platform.now():
            raise BadField("expires_at", "a time in the future is wanted")
        return moment


def _project_object(project: Project, organization_name: str) -> dict[str, object]:
    return {
        "id": project.id,
        "name": project.name,
        "slug": project.slug,
        "organization_id": project.organization,
        "organization_name": organization_name,
    }


def _page(call: Call, things: Sequence[_T], shape: Callable[[_T], object], **more: object) -> Answer:
    start, limit = _cursor(call.query.get("after", "")), _limit(call)
    end = start + limit
    cursor = _as_cursor(end) if end < len(things) else None
    data = [shape(thing) for thing in things[start:end]]
    return Answer(200, {"object": "list", "data": data, "next_cursor": cursor, **more})


def _limit(call: Call) -> int:
    text = call.query.get("limit", "100")
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= _LARGEST_PAGE:
        raise BadField("limit", f"1 to {_LARGEST_PAGE} is wanted")
    return int(text)


def _as_cursor(position: int) -> str:
    return base64.urlsafe_b64encode(f"after:{position}".encode()).decode()


def _cursor(text: str) -> int:
    if not text:
        return 0
    try:
        word, _, position = base64.urlsafe_b64decode(text).decode("ascii").partition(":")
        if word == "after":
            return int(position)
    except (binascii.Error, ValueError):
        pass
    raise BadField("after", "a cursor from next_cursor is wanted")
