"""Links to the page where a key is handed over: each opens one request, for a while, until a key was taken. Pure."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from rotator.domain.record import HandoverLink, PolicyRecord

PREFIX = "/handover/"
"""Of the page's path; the policy and the token follow."""

_SEPARATOR = b"rotator handover link v1\0"


def digest_of(token: str) -> str:
    """What the journal remembers of a link. Its token is random and long, so the digest helps nobody to guess it."""
    return hashlib.sha256(_SEPARATOR + token.encode("utf-8", "surrogatepass")).hexdigest()


def opened(record: PolicyRecord, token: str, now: datetime) -> HandoverLink | None:
    """The link with this token, while it opens anything: a key is asked for, and the link is its newest one."""
    request = record.awaiting.request if record.awaiting else None
    link = request.link if request else None
    if link is None or now >= link.until or not hmac.compare_digest(link.digest, digest_of(token)):
        return None
    return link
