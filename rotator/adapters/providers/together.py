"""``rotator.ports.KeyProvider`` for Together AI.

With ``issuance: api``, keys are managed through the contract in DESIGN.md ("Together AI: what is public and what is
not"): the platform publishes no such endpoint, so every path can be set. ``identify`` uses the platform's own whoami.
With ``issuance: assisted`` there is no management key, and nothing but the public endpoints is ever called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from random import SystemRandom
from typing import TypeVar, cast
from urllib.parse import quote

from rotator.adapters.providers import _shapes as shapes
from rotator.adapters.providers._exchange import Answer, Exchange
from rotator.adapters.providers._judgement import Failure, judge_change, judge_read
from rotator.domain.model import Identity, IssuedKey, KeyFacts, Refused
from rotator.domain.secret import SecretValue
from rotator.errors import ProviderDenied, ProviderNonsense, ProviderRejected

_T = TypeVar("_T")

_PAGE = 100
_MOST_PAGES = 1000
_FIRST_WAIT = 0.25  # seconds; doubled with each attempt
_LONGEST_WAIT = 10.0  # seconds; who is asked to wait longer gives up and passes the wish on
_REFUSED_CODE = "invalid_api_key"
_jitter = SystemRandom().uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class TogetherPaths:
    """Path templates below the base URL.

    :raises ValueError: a template does not start with ``/`` or has other placeholders than these.
    """

    keys: str = "/v1/projects/{project_id}/api-keys"
    key: str = "/v1/projects/{project_id}/api-keys/{key_id}"
    whoami: str = "/v3/whoami"
    whoami_flat: str = "/v1/whoami"
    usage: str = "/v1/billing/usage"

    def __post_init__(self) -> None:
        wanted = {
            "keys": ("project_id",),
            "key": ("project_id", "key_id"),
            "whoami": (),
            "whoami_flat": (),
            "usage": (),
        }
        for name, placeholders in wanted.items():
            template: str = getattr(self, name)
            bare = template
            for placeholder in placeholders:
                bare = bare.replace(f"{{{placeholder}}}", "", 1)
            missing = len(template) - len(bare) != sum(len(placeholder) + 2 for placeholder in placeholders)
            if missing or not template.startswith("/") or set(bare) & set("{}?#"):
                needed = " and ".join(f"{{{placeholder}}}" for placeholder in placeholders) or "no placeholder"
                raise ValueError(f"paths.{name} must be a path that starts with / and has {needed}")


class TogetherProvider:
    """See ``rotator.ports.KeyProvider``. Safe for several threads.

    :param management_key: the credential that lists, creates and revokes; ``None``: people do that, and each of these
        calls raises ``ProviderDenied``.
    :param timeout: seconds, for each step of an exchange.
    :param attempts: how often a request is sent in all, where a repeat is harmless.
    :param sleep: waits between attempts, in seconds; a test drives it.
    :param now: our clock, to compare the provider's with.
    :param name: the provider's in the configuration, for messages.
    :raises ProviderDenied: the management key can't be sent in a header.
    :raises ValueError: ``base_url`` is not http(s) with a host.
    """

    def __init__(
        self,
        *,
        base_url: str,
        management_key: SecretValue | None,
        paths: TogetherPaths = TogetherPaths(),
        timeout: float = 10.0,
        attempts: int = 4,
        max_connections: int = 20,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        name: str = "together",
    ) -> None:
        if management_key is not None and not management_key.is_header_safe():
            raise ProviderDenied("the management key is empty, or has blanks or characters that no key has; not sent")
        self._management_key = management_key
        self._paths = paths
        self._attempts = max(attempts, 1)
        self._now = now
        self._name = name
        self._sleep = sleep
        self._exchange = Exchange(base_url, timeout=timeout, max_connections=max_connections, now=now)
        self._whoami: tuple[tuple[str, Callable[[object], Identity]], ...] = (
            (paths.whoami, shapes.identity),
            (paths.whoami_flat, shapes.flat_identity),
        )

    def create_key(self, project: str, name: str, expires_at: datetime) -> IssuedKey:
        """See ``KeyProvider``. Sent once, whatever comes back."""
        manager = self._manager()
        place, path = f"POST {self._paths.keys}", self._path(self._paths.keys, project)
        body = {"name": name, "expires_at": shapes.rfc3339(expires_at)}

        def attempt() -> IssuedKey | Failure:
            answer = self._exchange.send("POST", path, manager, body=body)
            judged = judge_change(answer, HTTPStatus.CREATED)
            return _parse(judged, lambda payload: shapes.issued_key(payload, project), happened=True)

        return self._managed(place, attempt, attempts=1)

    def list_keys(self, project: str) -> Sequence[KeyFacts]:
        """See ``KeyProvider``. A cursor is only ever a query parameter, so no answer can send us elsewhere."""
        rows: dict[str, KeyFacts] = {}
        cursors: set[str] = set()
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page, cursor = self._page(project, cursor)
            rows.update((facts.key_id, facts) for facts in page)  # a page may shift while we read
            if cursor is None:
                return tuple(rows.values())
            if cursor in cursors:
                raise ProviderNonsense(f"GET {self._paths.keys}: next_cursor repeats")
            cursors.add(cursor)
        raise ProviderNonsense(f"GET {self._paths.keys}: more than {_MOST_PAGES} pages")

    def set_expiration(self, project: str, key_id: str, expires_at: datetime | None) -> None:
        """See ``KeyProvider``."""
        manager = self._manager()
        place, path = f"PATCH {self._paths.key}", self._path(self._paths.key, project, key_id)
        body = {"expires_at": shapes.rfc3339(expires_at) if expires_at else None}

        def attempt() -> KeyFacts | Failure:
            answer = self._exchange.send("PATCH", path, manager, body=body)
            judged = judge_change(answer, HTTPStatus.OK)
            return _parse(judged, lambda payload: shapes.updated_key(payload, project, key_id), happened=True)

        self._managed(place, attempt)

    def revoke_key(self, project: str, key_id: str) -> None:
        """See ``KeyProvider``. 404 is a success in the platform's envelope only: a proxy's page proves nothing."""
        manager = self._manager()
        place, path = f"DELETE {self._paths.key}", self._path(self._paths.key, project, key_id)

        def attempt() -> Answer | Failure:
            answer = self._exchange.send("DELETE", path, manager)
            if isinstance(answer, Answer) and answer.status == HTTPStatus.NOT_FOUND and answer.envelope() is not None:
                return answer
            return judge_change(answer, HTTPStatus.NO_CONTENT)

        self._managed(place, attempt)

    def identify(self, secret: SecretValue) -> Identity | Refused:
        """See ``KeyProvider``.

        ``Refused`` leads to a rotation at once, so only the platform's own words count: 401, its envelope, and
        the code ``invalid_api_key``. A bare 401, or one from something in between, raises ``ProviderNonsense``;
        403 is no refusal of the key and raises ``ProviderDenied``.
        """
        if not secret.is_header_safe():
            return Refused("malformed: never sent")
        # mypy joins the two classes to ``object`` when it solves the type variable.
        return cast("Identity | Refused", self._repeat("GET whoami", lambda: self._identify(secret)))

    def used_until(
        self, key_ids: Collection[str], since: datetime, as_key: SecretValue, organization: str | None
    ) -> Mapping[str, datetime]:
        """See ``KeyProvider``. Billing usage (beta) by the hour, of each month since then; 404 where there is none.

        Source: ``GET /v1/billing/usage`` in the official SDK 3.1.1 (``types/organization``): by the hour, and an hour
        late.
        """
        if not as_key.is_header_safe():
            return {}
        used: dict[str, datetime] = {}
        asked = {"granularity": "hour"} | ({"organization_id": organization} if organization else {})
        for month in _months(since, self._now()):
            cursor: str | None = None
            for _ in range(_MOST_PAGES):
                page = self._usage_page({**asked, "month": month}, cursor, as_key)
                if page is None:
                    return used
                windows, cursor = page
                for key_id, until in windows:
                    if key_id in key_ids and until > since:
                        used[key_id] = max(until, used.get(key_id, until))
                if cursor is None:
                    break
        return used

    def skew(self) -> timedelta | None:
        """See ``KeyProvider``. From the ``Date`` header, which is exact to a second."""
        return self._exchange.skew

    def close(self) -> None:
        """See ``KeyProvider``."""
        self._exchange.close()

    def _usage_page(
        self, asked: Mapping[str, str], cursor: str | None, as_key: SecretValue
    ) -> tuple[list[tuple[str, datetime]], str | None] | None:
        query = {**asked} | ({} if cursor is None else {"after": cursor})

        def attempt() -> _Page | Failure:
            answer = self._exchange.send("GET", self._paths.usage, as_key, query=query)
            if isinstance(answer, Answer) and answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                return _Page(None)  # the organisation has it not, or this key may not ask
            return _parse(judge_read(answer), lambda payload: _Page(shapes.usage_page(payload)))

        return self._repeat(f"GET {self._paths.usage}", attempt).content

    def _identify(self, secret: SecretValue) -> Identity | Refused | Failure:
        for path, shape in self._whoami:
            answer = self._exchange.send("GET", path, secret)
            if isinstance(answer, Answer):
                if answer.status == HTTPStatus.NOT_FOUND:
                    continue  # an older platform has only the flat one, a newer one perhaps only the nested one
                if answer.status == HTTPStatus.UNAUTHORIZED:
                    return _refusal(answer)
            found = _parse(judge_read(answer), shape)
            if isinstance(found, Identity):
                # Start with the one that works; a thread that does the same meanwhile writes the same.
                self._whoami = tuple(sorted(self._whoami, key=lambda known: known[0] != path))
            return found
        return Failure(problem="404 from both whoami paths", kind=ProviderNonsense)

    def _page(self, project: str, cursor: str | None) -> tuple[list[KeyFacts], str | None]:
        manager, path = self._manager(), self._path(self._paths.keys, project)
        query = {"limit": str(_PAGE)} | ({} if cursor is None else {"after": cursor})

        def attempt() -> tuple[list[KeyFacts], str | None] | Failure:
            answer = self._exchange.send("GET", path, manager, query=query)
            return _parse(judge_read(answer), lambda payload: shapes.key_page(payload, project))

        return self._managed(f"GET {self._paths.keys}", attempt)

    def _manager(self) -> SecretValue:
        if self._management_key is None:
            raise ProviderDenied("keys are made and revoked by people: no endpoint that manages keys is called")
        return self._management_key

    def _path(self, template: str, project: str, key_id: str = "unused") -> str:
        for text in (project, key_id):
            if not text.strip("."):  # "..", percent-encoded or not, means another place
                raise ProviderRejected("an id that is empty or only dots; not sent")
        return template.format(project_id=quote(project, safe=""), key_id=quote(key_id, safe=""))

    def _managed(self, place: str, attempt: Callable[[], _T | Failure], *, attempts: int | None = None) -> _T:
        """With the management key: where that is refused, its field is what a person has to look at."""

        def told() -> _T | Failure:
            result = attempt()
            if not isinstance(result, Failure) or not result.refused:
                return result
            field = f"field management_key of provider {self._name}"
            return replace(result, problem=f"the provider refuses the management key ({field}): {result.problem}")

        return self._repeat(place, told, attempts=attempts)

    def _repeat(self, place: str, attempt: Callable[[], _T | Failure], *, attempts: int | None = None) -> _T:
        """Try until it succeeds, can't pass, or was tried often enough; then raise what the attempts mean."""
        left = attempts or self._attempts
        wait, happened = _FIRST_WAIT, False
        while True:
            result = attempt()
            if not isinstance(result, Failure):
                return result
            left -= 1
            happened = happened or result.happened
            asked = result.retry_after or 0.0
            if not result.passing or left == 0 or asked > _LONGEST_WAIT:
                raise result.error(place, happened=happened)
            self._sleep(max(asked, wait * _jitter(0.5, 1.0)))
            wait = min(wait * 2, _LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class _Page:
    """One page of usage: key ids with the ends of windows, and the next cursor; ``None`` where there are no figures."""

    content: tuple[list[tuple[str, datetime]], str | None] | None


def _months(since: datetime, now: datetime) -> list[str]:
    """``YYYY-MM`` of each month from ``since`` to ``now``."""
    first, last = since.year * 12 + since.month - 1, now.year * 12 + now.month - 1
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(first, last + 1)]


def _refusal(answer: Answer) -> Refused | Failure:
    if (answer.envelope() or {}).get("code") == _REFUSED_CODE:
        return Refused(f"401 {_REFUSED_CODE}")
    return Failure(problem="401, but not in the words of the platform", kind=ProviderNonsense)


def _parse(judged: Answer | Failure, shape: Callable[[object], _T], *, happened: bool = False) -> _T | Failure:
    if isinstance(judged, Failure):
        return judged
    try:
        return shape(judged.json())
    except shapes.Malformed as malformed:
        # The problem is handed on as text: the exception's frames hold the answer, and with it perhaps a secret.
        return Failure(problem=str(malformed), kind=ProviderNonsense, happened=happened)
