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
        with self._client() as client:  # closing it at the end ends a thread that is not waited for any more
            answer = self._wait(client, _body(hook, news), pulse)
        if isinstance(answer, str):
            raise HookFailed(f"no answer ({answer})")
        if not httpx.codes.is_success(answer):
            raise HookFailed(f"it was answered with {answer}")

    def _client(self) -> httpx.Client:
        headers = {"User-Agent": f"rotator/{__version__}"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.reveal()}"
        try:
            return httpx.Client(timeout=self.timeout.total_seconds(), follow_redirects=False, headers=headers)
        except (OSError, ValueError) as error:  # of certificates or proxies in the environment
            raise HookFailed(f"no request can be made ({type(error).__name__})") from None

    def _wait(self, client: httpx.Client, body: dict[str, object], pulse: Callable[[], None]) -> int | str:
        answers: queue.SimpleQueue[int | str] = queue.SimpleQueue()
        threading.Thread(target=lambda: answers.put(self._status(client, body)), name="hook", daemon=True).start()
        deadline = time.monotonic() + self.timeout.total_seconds()
        while True:
            try:
                return answers.get(timeout=_STEP)
            except queue.Empty:
                pulse()
            if time.monotonic() >= deadline:
                raise HookFailed(f"no answer within {duration(self.timeout)}")

    def _status(self, client: httpx.Client, body: dict[str, object]) -> int | str:
        """The answer's status, or why there is none: an exception of the library would hold the token."""
        try:
            with client.stream("POST", self.url, json=body) as response:
                return response.status_code
        except Exception as error:  # noqa: BLE001 - the thread has nobody to raise to
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
