"""One exchange: a request is counted, perhaps made to fail, handled, answered. No secret is kept or logged."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from rotator.simulator.exchange import Answer, Call, Failed, Handler, error, refusal
from rotator.simulator.faults import Effect, Fault
from rotator.simulator.fields import BadField
from rotator.simulator.lies import LIES, Truth
from rotator.simulator.model import Platform
from rotator.simulator.plan import FaultPlan
from rotator.simulator.records import Missing, Refusal
from rotator.simulator.trail import Step, Trail

_NO_BODY = (204, 304)  # RFC 9110, sections 6.4.1 and 8.6: neither a body nor a length
_SUCCESS = range(200, 300)
_NEVER = 10**9
_PAGE = b"<!DOCTYPE html><html><body><h1>Some proxy</h1></body></html>"


class Wire:
    """What all endpoints share: platform, faults, counters, trail, and the open connections by client address."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.faults = FaultPlan(platform.now)
        self.trail = Trail()
        self.requests: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.connections: dict[object, asyncio.Transport] = {}
        self._date = (0, b"")

    def date(self) -> bytes:
        """The ``Date`` header by the platform's clock and its skew, formatted once a second."""
        now = self.platform.now()
        skew = self.platform.settings.date_skew
        second = int(now.timestamp() + skew)
        if second != self._date[0]:
            self._date = (second, format_datetime(now + timedelta(seconds=skew), usegmt=True).encode())
        return self._date[1]


@dataclass(slots=True)
class _Turn:
    """One request on its way through an endpoint; the control API leaves no trail, and so no ``step``."""

    method: str
    client: object
    send: Send
    call: Call
    step: Step | None


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
        call = Call(
            path=scope.get("path_params", {}),
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
            authorization=next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode(
                "latin-1"
            ),
            body=b"",
        )
        turn = _Turn(method, scope["client"], send, call, None)
        fault = None if self._control else self._note(turn, scope["path"])
        if method != "GET":
            call.body = await _read(receive)
        if fault is None:
            await self._answer(turn, self._handle(turn))
        else:
            await self._fail(fault, turn)

    def _note(self, turn: _Turn, path: str) -> Fault | None:
        wire, method, template = self._wire, turn.method, self._template
        wire.requests[f"{method} {template}"] += 1
        fault = wire.faults.choose(method, template, path)
        turn.step = wire.trail.begin(
            at=wire.platform.now(),
            method=method,
            template=template,
            path=turn.call.path,
            credential=wire.platform.owner(turn.call.bearer()),
            effect=None if fault is None else fault.effect,
        )
        return fault

    def _handle(self, turn: _Turn) -> Answer:
        if turn.step is not None:
            turn.step.done_at = self._wire.platform.now()
        handler = self._handlers.get(turn.method)
        if handler is None:
            return error(405, "method_not_allowed", "this method is not allowed here")
        try:
            return handler(turn.call)
        except Failed as failed:
            return failed.answer
        except BadField as bad:
            return error(422, "invalid_parameter", str(bad), bad.name or None)
        except Missing as missing:
            return error(404, f"{missing}_not_found", f"there is no such {missing}")
        except Refusal as refused:
            return error(409, "conflict", str(refused))

    async def _fail(self, fault: Fault, turn: _Turn) -> None:
        if fault.delay is not None and fault.effect is not Effect.LATE_ANSWER:
            await asyncio.sleep(fault.delay)
        match fault.effect:
            case Effect.ERROR_BEFORE | Effect.STATUS:
                await self._answer(turn, _injected(fault))
            case Effect.REFUSE_KEYS:
                await self._answer(turn, refusal())
            case Effect.HTML:
                await self._send(turn, fault.status or 200, _PAGE, fault.headers, kind=b"text/html")
            case Effect.RESET_BEFORE:
                await self._break(turn)
            case Effect.HANG if fault.delay is None:
                await asyncio.sleep(_NEVER)
            case _:
                await self._fail_after(fault, turn, self._handle(turn))

    async def _fail_after(self, fault: Fault, turn: _Turn, answer: Answer) -> None:
        match fault.effect:
            case Effect.ERROR_AFTER:
                await self._answer(turn, _injected(fault))
            case Effect.HANG_AFTER:
                await asyncio.sleep(_NEVER)
            case Effect.RESET_AFTER:
                await self._break(turn)
            case Effect.TRUNCATED | Effect.TRUNCATED_JSON:
                await self._cut(turn, answer, breaks=fault.effect is Effect.TRUNCATED)
            case Effect.LATE_ANSWER:
                await asyncio.sleep(fault.delay or 0)
                await self._answer(turn, answer)
            case _:  # a hang that is over, or a lie
                await self._answer(turn, self._lie(fault, turn, answer))

    def _lie(self, fault: Fault, turn: _Turn, answer: Answer) -> Answer:
        lie = LIES.get(fault.effect)
        if lie is None or answer.status not in _SUCCESS or not isinstance(answer.payload, dict):
            return answer
        truth = Truth(platform=self._wire.platform, call=turn.call, answer=answer.payload, fault=fault)
        return replace(answer, payload=lie.told(truth))

    async def _cut(self, turn: _Turn, answer: Answer, *, breaks: bool) -> None:
        body = _body(answer)
        half = len(body) // 2
        if body or not breaks:
            await self._send(turn, answer.status, body[:half], {}, missing=len(body) - half if breaks else 0)
        if breaks:
            await self._break(turn)

    async def _break(self, turn: _Turn) -> None:
        transport = self._wire.connections.get(turn.client)
        if transport is not None:
            transport.close()
            await asyncio.sleep(0)  # the server learns of it first: else it complains of a missing answer

    async def _answer(self, turn: _Turn, answer: Answer) -> None:
        if not self._control:
            self._wire.answers[f"{self._template} {answer.status}"] += 1
        await self._send(turn, answer.status, _body(answer), answer.headers)

    async def _send(
        self,
        turn: _Turn,
        status: int,
        body: bytes,
        headers: Mapping[str, str],
        *,
        kind: bytes = b"application/json",
        missing: int = 0,
    ) -> None:
        lines = [(b"date", self._wire.date()), (b"content-type", kind)]
        if status in _NO_BODY:
            body = b""
        else:
            lines.append((b"content-length", str(len(body) + missing).encode()))
        lines += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if turn.step is not None and turn.client in self._wire.connections:  # else nobody is there to get it
            turn.step.status = status
        await turn.send({"type": "http.response.start", "status": status, "headers": lines})
        await turn.send({"type": "http.response.body", "body": body, "more_body": missing > 0})


def _injected(fault: Fault) -> Answer:
    default = 503 if fault.effect is Effect.STATUS else 500
    answer = error(fault.status or default, "injected_fault", "a fault was asked for")
    return replace(answer, headers=fault.headers)


def _body(answer: Answer) -> bytes:
    return b"" if answer.payload is None else json.dumps(answer.payload, separators=(",", ":")).encode()


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
