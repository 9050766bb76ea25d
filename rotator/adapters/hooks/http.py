"""A hook that is a request: one POST with JSON, and 2xx is its success."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import httpx

from rotator import __version__
from rotator.domain.secret import SecretValue
from rotator.domain.text import duration
from rotator.errors import HookFailed
from rotator.ports import News

_STEP = 0.1
"""Seconds after which it is looked whether the service is to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHook:
    """Redirects are not followed, and nothing of an answer but its status is read.

    :param token: sent as ``Authorization: Bearer``.
    :param timeout: for the whole exchange.
    """

    url: str = field(repr=False)
    token: SecretValue | None
    timeout: timedelta

    def tell(self, hook: str, news: News, pulse: Callable[[], None]) -> None:
        """See ``ports.HookRunner``.

        In a thread: no step of an exchange can be left, and many slow ones have no end together.
        """
        if self.token is not None and not self.token.is_header_safe():
            raise HookFailed("its token can't be sent in a header")
        answers: queue.SimpleQueue[int | str] = queue.SimpleQueue()
        threading.Thread(target=lambda: answers.put(self._status(hook, news)), name=f"hook {hook}", daemon=True).start()
        deadline = time.monotonic() + self.timeout.total_seconds()
        while True:
            try:
                answer = answers.get(timeout=_STEP)
            except queue.Empty:
                pulse()
                if time.monotonic() >= deadline:
                    raise HookFailed(f"no answer within {duration(self.timeout)}") from None
                continue
            if isinstance(answer, str):
                raise HookFailed(f"no answer ({answer})")
            if not httpx.codes.is_success(answer):
                raise HookFailed(f"it was answered with {answer}")
            return

    def _status(self, hook: str, news: News) -> int | str:
        """The answer's status, or why there is none: an exception of the library would hold the token."""
        headers = {"User-Agent": f"rotator/{__version__}"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.reveal()}"
        try:
            with (
                httpx.Client(timeout=self.timeout.total_seconds(), follow_redirects=False, headers=headers) as client,
                client.stream("POST", self.url, json=_body(hook, news)) as response,
            ):
                return response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return type(error).__name__


def _body(hook: str, news: News) -> dict[str, object]:
    return {
        "version": 1,
        "hook": hook,
        "instance": news.instance,
        "policy": news.policy,
        "project": news.project,
        "key_id": news.key_id,
        "old_key_ids": news.old_key_ids,
        "destinations": news.destinations,
        "test": news.test,
    }
