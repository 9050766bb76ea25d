"""What is answered at which path. Nothing here asks a provider or backend."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import BoundedSemaphore

import structlog

from rotator.domain.links import PREFIX
from rotator.domain.secret import SecretValue, Unjudged
from rotator.entrypoints.http.answer import Answer
from rotator.entrypoints.http.asked import Asked, Request, is_this_machine
from rotator.entrypoints.http.handing import Handing
from rotator.entrypoints.http.overview import Overview
from rotator.entrypoints.http.ready import Readiness
from rotator.errors import MissingSecret
from rotator.telemetry import redact_text

_BASIC = 'Basic realm="rotator: any name, and the token as the password", charset="UTF-8"'
"""How a browser gives the token: it asks the person, and keeps it until it is closed."""

_AT_A_TIME = 4
"""Answers that read the journal: where that hangs, threads are left for /healthz, and nobody ends a healthy service."""

_HANDOVERS_AT_A_TIME = 2
"""Beside them: each takes as long as a rotation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """All of them; see ``__call__``.

    :param alive: why the service is not alive; empty where it is.
    :param token: asked for at each request, so that it can be replaced; ``None``: nobody needs one.
    :param metrics: the text of a scrape and its content type.
    :param handing: where keys are handed over; ``None``: nowhere here.
    """

    alive: Callable[[], str]
    ready: Readiness
    token: Callable[[], SecretValue] | None
    metrics: Callable[[], tuple[bytes, str]]
    overview: Overview
    handing: Handing | None = None
    _reading: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(_AT_A_TIME), repr=False)
    _taking: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(_HANDOVERS_AT_A_TIME), repr=False)

    def __call__(self, request: Request) -> Answer:
        """The answer. Without the token, where one is asked for: two words of health, and no detail."""
        path, knows = request.path, self._may(request.authorization)
        if path == "/healthz":
            trouble = self.alive()
            status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
            return Answer.text(status, (trouble if knows else "stuck") if trouble else "ok")
        handing = self.handing if path.startswith(PREFIX) else None  # who has a link needs no token
        free = self._taking if handing and request.form is not None else self._reading
        if not free.acquire(blocking=False):
            if handing and request.form is not None:
                return handing.later(request)
            return Answer.text(HTTPStatus.SERVICE_UNAVAILABLE, "too many ask at a time", Retry_After="1")
        try:
            return handing(request) if handing else self._read(request, knows=knows)
        finally:
            free.release()

    def _read(self, request: Request, *, knows: bool) -> Answer:
        path = request.path
        if path == "/readyz":
            problems = self.ready.problems(detailed=knows)
            status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
            warnings = {"warnings": found} if knows and (found := self.ready.warnings()) else {}
            return Answer.json(status, {"ready": not problems, "problems": problems, **warnings})
        if not knows:
            way = _BASIC if path == "/" else "Bearer"
            return Answer.text(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong", WWW_Authenticate=way)
        if path == "/":
            return self._overview(request)
        if path == "/metrics":
            text, kind = self.metrics()
            return Answer(status=HTTPStatus.OK, body=redact_text(text.decode()).encode(), kind=kind)
        if path.startswith("/readyz/"):
            return self._policy(path.removeprefix("/readyz/"))
        return Answer.text(HTTPStatus.NOT_FOUND, "there are /, /healthz, /readyz, /readyz/POLICY and /metrics")

    def _policy(self, name: str) -> Answer:
        told = self.ready.policy(name)
        if told is None:
            return Answer.text(HTTPStatus.NOT_FOUND, "no such policy")
        return Answer.json(HTTPStatus.OK if told["ready"] else HTTPStatus.SERVICE_UNAVAILABLE, told)

    def _overview(self, request: Request) -> Answer:
        if self.token is None and not is_this_machine(request.host):
            # A page of somebody else's, whose name was made to lead here, could read it in an operator's browser.
            return Answer.text(
                HTTPStatus.FORBIDDEN, "without a token this page is shown at 127.0.0.1, [::1] and localhost alone"
            )
        try:
            asked = Asked.of(request.query)
        except ValueError:
            return Answer.text(HTTPStatus.BAD_REQUEST, "too much is asked; there are q, state, page and live")
        status, content, headers = self.overview.draw(asked)
        return Answer.html(status, content, headers)

    def _may(self, authorization: Unjudged | None) -> bool:
        if self.token is None:
            return True
        given = _given(authorization.reveal()) if authorization else None
        if given is None:
            return False
        try:
            return self.token().same_as(given)
        except MissingSecret as error:
            structlog.get_logger().warning("http.token_missing", reason=str(error))
            return False


def _given(authorization: str) -> Unjudged | None:
    """The token of a request: as it is, or as the password that a browser has asked a person for."""
    scheme, _, rest = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return Unjudged(rest.strip())
        case "basic":
            try:
                decoded = base64.b64decode(rest.strip(), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
            return Unjudged(decoded.partition(":")[2])
    return None
