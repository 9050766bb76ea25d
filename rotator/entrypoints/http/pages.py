"""What is answered at which path. Nothing here asks a provider or backend."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Any

import structlog

from rotator.domain.secret import SecretValue
from rotator.entrypoints.http.ready import Readiness
from rotator.errors import MissingSecret
from rotator.telemetry import redact_text

_BEARER = "bearer "

_AT_A_TIME = 4
"""Answers that read the journal: where that hangs, threads are left for /healthz, and nobody ends a healthy service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. ``kind``: its content type."""

    status: HTTPStatus
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, status: HTTPStatus, sentence: str, **headers: str) -> Answer:
        """One line."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status=status, body=f"{redact_text(sentence)}\n".encode(), headers=named)

    @classmethod
    def json(cls, status: HTTPStatus, content: Mapping[str, Any]) -> Answer:
        """One object."""
        body = redact_text(json.dumps(content, indent=2)) + "\n"
        return cls(status=status, body=body.encode(), kind="application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """All of them; see ``__call__``.

    :param alive: why the service is not alive; empty where it is.
    :param token: asked for at each request, so that it can be replaced; ``None``: nobody needs one.
    :param metrics: the text of a scrape and its content type.
    """

    alive: Callable[[], str]
    ready: Readiness
    token: Callable[[], SecretValue] | None
    metrics: Callable[[], tuple[bytes, str]]
    _reading: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(_AT_A_TIME), repr=False)

    def __call__(self, path: str, authorization: str | None) -> Answer:
        """The answer for a path. Without the token, where one is asked for: two words of health, and no detail."""
        knows = self._may(authorization)
        if path == "/healthz":
            trouble = self.alive()
            status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
            return Answer.text(status, (trouble if knows else "stuck") if trouble else "ok")
        if not self._reading.acquire(blocking=False):
            return Answer.text(HTTPStatus.SERVICE_UNAVAILABLE, "too many ask at a time", Retry_After="1")
        try:
            return self._read(path, knows=knows)
        finally:
            self._reading.release()

    def _read(self, path: str, *, knows: bool) -> Answer:
        if path == "/readyz":
            problems = self.ready.problems(detailed=knows)
            status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
            warnings = {"warnings": found} if knows and (found := self.ready.warnings()) else {}
            return Answer.json(status, {"ready": not problems, "problems": problems, **warnings})
        if not knows:
            return Answer.text(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong", WWW_Authenticate="Bearer")
        if path == "/metrics":
            text, kind = self.metrics()
            return Answer(status=HTTPStatus.OK, body=redact_text(text.decode()).encode(), kind=kind)
        if path.startswith("/readyz/"):
            return self._policy(path.removeprefix("/readyz/"))
        return Answer.text(HTTPStatus.NOT_FOUND, "there are /healthz, /readyz, /readyz/POLICY and /metrics")

    def _policy(self, name: str) -> Answer:
        told = self.ready.policy(name)
        if told is None:
            return Answer.text(HTTPStatus.NOT_FOUND, "no such policy")
        return Answer.json(HTTPStatus.OK if told["ready"] else HTTPStatus.SERVICE_UNAVAILABLE, told)

    def _may(self, authorization: str | None) -> bool:
        if self.token is None:
            return True
        given = authorization or ""
        if not given.lower().startswith(_BEARER):
            return False
        try:
            return self.token().same_as(SecretValue(given[len(_BEARER) :].strip()))
        except MissingSecret as error:
            structlog.get_logger().warning("http.token_missing", reason=str(error))
            return False
