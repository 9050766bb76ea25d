"""One exchange: a request is counted, perhaps made to fail, handled, answered. No secret is kept or logged."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from rotator.simulator.faults import Effect, Fault, FaultPlan
from rotator.simulator.fields import BadField, Fields
from rotator.simulator.model import Platform
from rotator.simulator.records import Missing, Refusal

INFERENCE = "/v1/chat/completions"

_AFTER = (Effect.ERROR_AFTER, Effect.HANG_AFTER, Effect.RESET_AFTER, Effect.TRUNCATED)
_NEVER = 10**9


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


class Wire:
    """What all endpoints share: platform, faults, counters, and the open connections by client address."""

    def __init__(self, platform: Platform, faults: FaultPlan) -> None:
        self.platform = platform
        self.faults = faults
        self.requests: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.connections: dict[object, asyncio.Transport] = {}
        self._date = (0, b"")

    def date(self) -> bytes:
        """The ``Date`` header by the platform's clock, formatted once a second."""
        now = self.platform.now()
        second = int(now.timestamp())
        if second != self._date[0]:
            self._date = (second, format_datetime(now, usegmt=True).encode())
        return self._date[1]


class Endpoint:
    """An ASGI application for one path template.

    :param handlers: by method.
    :param control: part of the control API: neither counted nor made to fail.
    """

    def __init__(self, wire: Wire, template: str, handlers: Mapping[str, Handler], *, control: bool = False) -> None:
        self._wire = wire
        self._template = template
        self._handlers = handlers
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        fault = None
        if not self._control:
            self._wire.requests[f"{method} {self._template}"] += 1
            fault = self._wire.faults.choose(method, scope["path"])
        call = Call(
            path=scope.get("path_params", {}),
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
            authorization=next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode(
                "latin-1"
            ),
            body=b"" if method == "GET" else await _read(receive),
        )
        if fault is None:
            await self._answer(send, self._handle(method, call))
        else:
            await self._fail(fault, method, call, scope, send)

    def _handle(self, method: str, call: Call) -> Answer:
        handler = self._handlers.get(method)
        if handler is None:
            return error(405, "method_not_allowed", "this method is not allowed here")
        try:
            return handler(call)
        except Failed as failed:
            return failed.answer
        except BadField as bad:
            return error(422, "invalid_parameter", str(bad), bad.name or None)
        except Missing as missing:
            return error(404, f"{missing}_not_found", f"there is no such {missing}")
        except Refusal as refusal:
            return error(409, "conflict", str(refusal))

    async def _fail(self, fault: Fault, method: str, call: Call, scope: Scope, send: Send) -> None:
        if fault.delay is not None:
            await asyncio.sleep(fault.delay)
        answer = self._handle(method, call) if fault.effect in _AFTER else error(500, "none", "")
        match fault.effect:
            case Effect.ERROR_BEFORE | Effect.ERROR_AFTER | Effect.STATUS:
                default = 503 if fault.effect is Effect.STATUS else 500
                answer = error(fault.status or default, "injected_fault", "a fault was asked for")
                await self._answer(send, Answer(answer.status, answer.payload, fault.headers))
            case Effect.HANG if fault.delay is not None:
                await self._answer(send, self._handle(method, call))
            case Effect.HANG | Effect.HANG_AFTER:
                await asyncio.sleep(_NEVER)
            case Effect.HTML:
                page = b"<!DOCTYPE html><html><body><h1>Some proxy</h1></body></html>"
                await self._send(send, fault.status or 200, page, fault.headers, kind=b"text/html")
            case Effect.TRUNCATED if body := _body(answer):
                half = len(body) // 2
                await self._send(send, answer.status, body[:half], {}, missing=len(body) - half)
                self._break(scope)
            case _:
                self._break(scope)

    def _break(self, scope: Scope) -> None:
        transport = self._wire.connections.get(scope["client"])
        if transport is not None:
            transport.close()

    async def _answer(self, send: Send, answer: Answer) -> None:
        if not self._control:
            self._wire.answers[f"{self._template} {answer.status}"] += 1
        body = _body(answer)
        await self._send(send, answer.status, body, answer.headers)

    async def _send(
        self,
        send: Send,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        *,
        kind: bytes = b"application/json",
        missing: int = 0,
    ) -> None:
        lines = [(b"date", self._wire.date()), (b"content-type", kind)]
        if status != 204:  # noqa: PLR2004 - No Content: RFC 9110 section 8.6 forbids a length
            lines.append((b"content-length", str(len(body) + missing).encode()))
        lines += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": body, "more_body": missing > 0})


def _body(answer: Answer) -> bytes:
    return b"" if answer.payload is None else json.dumps(answer.payload, separators=(",", ":")).encode()


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
