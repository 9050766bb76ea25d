"""What is sent back. No secret that is in memory leaves with it, whatever an error says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from rotator.telemetry import redact_text


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
    def html(cls, status: HTTPStatus, content: str, headers: Mapping[str, str]) -> Answer:
        """A page."""
        return cls(status=status, body=redact_text(content).encode(), kind="text/html; charset=utf-8", headers=headers)

    @classmethod
    def json(cls, status: HTTPStatus, content: Mapping[str, Any]) -> Answer:
        """One object."""
        body = redact_text(json.dumps(content, indent=2)) + "\n"
        return cls(status=status, body=body.encode(), kind="application/json")
