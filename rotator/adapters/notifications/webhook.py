"""A signed POST with JSON. Source: the Standard Webhooks specification, 1.0.0."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
from standardwebhooks import Webhook

from rotator import __version__
from rotator.adapters.notifications.bounded import REFUSALS, bounded
from rotator.domain.secret import SecretValue
from rotator.domain.signing import SIGNING_FORM, signing_keys
from rotator.errors import SendFailed
from rotator.ports_notify import Message

_WAIT = 86_400.0
"""Seconds that a ``Retry-After`` counts for at most: a number without an end is no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChannel:
    """2xx is its success. Redirects are not followed, and nothing of an answer but its status is read.

    :param secret: ``whsec_`` and base64. Several, with blanks between them, all sign: so one can replace another.
    :param timeout: for the whole exchange.
    """

    url: str = field(repr=False)
    secret: SecretValue
    timeout: timedelta

    def send(self, message: Message, now: datetime) -> None:
        """See ``ports_notify.Channel``."""
        content = json.dumps(payload(message), ensure_ascii=False, separators=(",", ":"))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"rotator/{__version__}",
            **signed(self.secret, message.ident, now, content),
        }
        status, wait = bounded(lambda: self._post(content.encode(), headers), self.timeout)
        if not httpx.codes.is_success(status):
            raise SendFailed(f"it was answered with {status}", retry_after=wait, is_refusal=status in REFUSALS)

    def _post(self, content: bytes, headers: dict[str, str]) -> tuple[int, float | None]:
        """The answer's status, and how many seconds it asks to wait."""
        with (
            httpx.Client(timeout=self.timeout.total_seconds(), follow_redirects=False) as client,
            client.stream("POST", self.url, content=content, headers=headers) as response,
        ):
            wait = response.headers.get("Retry-After", "")
            return response.status_code, min(float(wait), _WAIT) if wait.isascii() and wait.isdecimal() else None


def payload(message: Message) -> dict[str, object]:
    """What is sent: ``type``, ``timestamp`` and ``data``, as the specification recommends."""
    return {
        "type": f"rotator.{message.kind.replace('-', '_')}",
        "timestamp": message.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {"version": 1, "title": message.title, "text": message.body, **message.fields},
    }


def signed(secret: SecretValue, ident: str, now: datetime, content: str) -> dict[str, str]:
    """The three headers of the specification. Raises ``SendFailed`` where the secret is of another form."""
    moment = now.astimezone(UTC)
    keys = signing_keys(secret)
    if not keys:
        raise SendFailed(f"its secret is not {SIGNING_FORM}")
    signatures = [Webhook(key).sign(ident, moment, content) for key in keys]
    return {
        "webhook-id": ident,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
