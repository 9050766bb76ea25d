"""One HTTP exchange as a value: an ``Answer``, or ``NoAnswer``. No exception of the HTTP library gets out.

Such an exception holds its request, and the request holds a key; so it is neither raised nor chained.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from queue import Empty, LifoQueue
from urllib.request import Request

import httpx

from rotator import __version__
from rotator.domain.secret import SecretValue

_LARGEST_BODY = 16 * 2**20
_LONGEST_RETRY_AFTER = 3600.0
# Letters and underscores only: an error code is repeated in messages, and no secret has that form.
_CODE = re.compile(r"[a-z_]{1,40}")
_Connections = LifoQueue[httpx.Client | None]
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No complete answer came.

    :param problem: what happened, as the name of a class of errors.
    :param sent: whether the request may have reached the provider.
    """

    problem: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> object:
        """The body as JSON, or ``None`` where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def envelope(self) -> Mapping[str, object] | None:
        """What is in the platform's error envelope, or ``None`` where the body is no such envelope."""
        payload = self.json()
        error = payload.get("error") if isinstance(payload, dict) else None
        if isinstance(error, dict) and isinstance(error.get("message"), str) and isinstance(error.get("type"), str):
            return error
        return None

    def code(self) -> str:
        """The envelope's code, where it has one that is fit for a message."""
        code = (self.envelope() or {}).get("code")
        return code if isinstance(code, str) and _CODE.fullmatch(code) else ""

    def describe(self) -> str:
        """Status and code, for a message."""
        return f"{self.status} {self.code()}".rstrip()

    def retry_after(self) -> float | None:
        """Seconds that the provider asked to wait, in any of the forms that the platform or its SDK knows."""
        asked = _number(self.headers.get("retry-after-ms"))
        if asked is not None:
            return _clamp(asked / 1000)
        asked = _number(self.headers.get("retry-after"))
        if asked is None:
            asked = self._until(self.headers.get("retry-after"))
        if asked is None:
            asked = _number(self.headers.get("x-ratelimit-reset"))
        return None if asked is None else _clamp(asked)

    def _until(self, date: str | None) -> float | None:
        # Both dates come from the provider's clock, so ours may be wrong.
        until = _timestamp(date)
        if until is None:
            return None
        now = _timestamp(self.headers.get("date"))
        return until - (time.time() if now is None else now)


class _NoCookies(CookieJar):
    """Takes none: a cookie from one key's answer must not speak for another key."""

    def extract_cookies(self, response: HTTPResponse, request: Request) -> None:
        """Nothing."""


class Exchange:
    """Sends requests over a pool of connections. Safe for several threads.

    Each connection is a client of its own, which has one thread at a time. Threads that share the pool of one client
    close each other's connections now and then, in the middle of a request (encode/httpcore#1110): a creation whose
    answer is lost so is a key that nobody has.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float,
        max_connections: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``timeout`` in seconds, for each step of an exchange; an answer's body has as much in all.

        :raises ValueError: ``base_url`` is not http(s) with a host.
        """
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL:
            raise ValueError("the provider's base_url is not a URL") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("the provider's base_url needs http:// or https://, and a host")
        self._timeout = timeout
        self._now = now
        self.skew: timedelta | None = None
        """The other side's clock minus ours, by the ``Date`` of the last complete answer that had one."""
        self._trusts = httpx.create_ssl_context()
        self._address = str(url).rstrip("/")
        first = self._client()
        self._headers = first.headers.raw
        self._idle = _Connections()
        for client in (*[None] * (max_connections - 1), first):  # the last to be put is the first to be taken
            self._idle.put(client)

    def send(
        self,
        method: str,
        path: str,
        key: SecretValue,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer | NoAnswer:
        """Send one request, once, as ``key``, which must be header safe."""
        # Made in one step: to merge it with the client's settings would cost more than to make it.
        request = httpx.Request(
            method,
            self._address + path,
            json=body,
            params=query,
            headers=[*self._headers, (b"Authorization", f"Bearer {key.reveal()}".encode("ascii"))],
        )
        try:
            with self._connection() as client, closing(client.send(request, stream=True)) as response:
                return self._receive(response)
        except Empty:
            return NoAnswer("no connection is free", sent=False)
        except _NOT_SENT as error:
            return NoAnswer(type(error).__name__, sent=False)
        except httpx.RequestError as error:
            return NoAnswer(type(error).__name__, sent=True)

    @contextmanager
    def _connection(self) -> Iterator[httpx.Client]:
        """One for this thread alone. Raises ``queue.Empty`` where none is free in time."""
        client = self._idle.get(timeout=self._timeout)
        try:
            client = client or self._client()
            yield client
        finally:
            self._idle.put(client)

    def _client(self) -> httpx.Client:
        return httpx.Client(
            verify=self._trusts,
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=1),
            follow_redirects=False,  # a request that carries a key goes where the configuration says, or nowhere
            cookies=_NoCookies(),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"rotator/{__version__}",
            },
        )

    def _receive(self, response: httpx.Response) -> Answer | NoAnswer:
        deadline = time.monotonic() + self._timeout
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGEST_BODY:
                return NoAnswer("answer too large", sent=True)
            if time.monotonic() > deadline:
                return NoAnswer("answer too slow", sent=True)
        date = _timestamp(response.headers.get("date"))
        if date is not None:
            self.skew = datetime.fromtimestamp(date, UTC) - self._now()
        return Answer(response.status_code, dict(response.headers.items()), bytes(body))

    def close(self) -> None:
        """Give back connections."""
        while not self._idle.empty():
            client = self._idle.get_nowait()
            if client is not None:
                client.close()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_YEARS = range(1970, 2200)
"""That a clock may show, however wrong it is."""


def _timestamp(date: str | None) -> float | None:
    """``None`` also for a date of no such year: a lifetime later there may be none."""
    try:
        moment = parsedate_to_datetime(date or "")
        return moment.timestamp() if moment.year in _YEARS else None
    except (ValueError, OverflowError):
        return None


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
