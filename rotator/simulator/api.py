"""The platform's public endpoints.

Shapes: the official SDK 3.1.1 (``types/whoami_*.py``, ``types/project.py``, ``types/chat/*.py``,
``types/organization/*.py``), and the platform's API reference for ``GET /v1/whoami`` and ``GET /v1/models``.
"""

from __future__ import annotations

import re

from rotator.simulator.exchange import INFERENCE, WHOAMI, WHOAMI_FLAT, Answer, Call, Failed, Handler, error
from rotator.simulator.fields import BadField
from rotator.simulator.keys import authenticated
from rotator.simulator.model import Platform
from rotator.simulator.paging import page
from rotator.simulator.records import Key, KeyKind, Project

_CHAT_MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def routes(platform: Platform) -> dict[str, dict[str, Handler]]:
    """Path template to method to handler."""
    public = _Public(platform)
    return {
        WHOAMI_FLAT: {"GET": public.whoami_flat},
        WHOAMI: {"GET": public.whoami},
        "/v1/projects": {"GET": public.projects},
        "/v1/models": {"GET": public.models},
        "/v2/projects/{project_id}/models": {"GET": public.project_models},
        INFERENCE: {"POST": public.chat},
        "/v1/billing/usage": {"GET": public.usage},
    }


class _Public:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def _client(self, call: Call, *, sessions: bool = False) -> Key:
        key = authenticated(self._platform, call)
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
        return page(call, visible, lambda project: _project_object(project, name))

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
        return page(call, windows, lambda window: window, **report)


def _project_object(project: Project, organization_name: str) -> dict[str, object]:
    return {
        "id": project.id,
        "name": project.name,
        "slug": project.slug,
        "organization_id": project.organization,
        "organization_name": organization_name,
    }
