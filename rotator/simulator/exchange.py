"""A request and its answer as values, the endpoints' paths, and the platform's error envelope."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rotator.simulator.fields import BadField, Fields

INFERENCE = "/v1/chat/completions"
WHOAMI = "/v3/whoami"
WHOAMI_FLAT = "/v1/whoami"
KEYS = "/v1/projects/{project_id}/api-keys"
KEY = "/v1/projects/{project_id}/api-keys/{key_id}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status, a JSON value (``None`` for an empty body) and headers besides the usual ones."""

    status: int
    payload: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """A request, as a handler sees it."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    authorization: str = field(repr=False)
    body: bytes = field(repr=False)

    def bearer(self) -> str:
        """The secret that came as a bearer token, or nothing."""
        scheme, _, secret = self.authorization.partition(" ")
        return secret if scheme.lower() == "bearer" else ""

    def json(self) -> Any:  # noqa: ANN401 - whatever the client sent
        """The body as JSON; ``BadField`` where it is none."""
        try:
            return json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            raise BadField("", "JSON is wanted") from None

    def fields(self) -> Fields:
        """The body as a JSON object."""
        return Fields(self.json())


Handler = Callable[[Call], Answer]


class Failed(Exception):
    """A handler's way to answer with an error envelope."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def error(status: int, code: str, message: str, param: str | None = None) -> Answer:
    """The platform's error envelope. The message never repeats what the client sent."""
    kind = "server_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004 - HTTP's own classes
    return Answer(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def refusal() -> Answer:
    """What the platform says to a key that it does not let in."""
    return error(401, "invalid_api_key", "Invalid API key provided")
