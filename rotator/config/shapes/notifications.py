"""Notifications: how people learn of what happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, SkipValidation

from rotator.config.shapes.fields import Duration, Shape, Text
from rotator.config.shapes.secrets import Login

EventName = Literal[
    "rotated",
    "revoked",
    "adopted",
    "rolled-back",
    "about-to-revoke",
    "still-in-use",
    "changed-by-others",
    "abandoned",
    "compromised",
    "failed",
    "overdue",
    "needs-person",
    "recovered",
]
"""The kinds of ``domain.notices``; a test compares them."""


class ChannelShape(Shape):
    """What a channel hears of, and how often."""

    events: list[EventName] | None = Field(None, min_length=1, description="What it hears of. Default: everything.")
    policies: list[Text] = Field(
        default_factory=lambda: ["*"], min_length=1, description="Of which policies: names, or patterns with '*'."
    )
    level: Literal["info", "warning", "critical"] = Field("info", description="The least that it hears of.")
    max_per_hour: int = Field(
        20, ge=1, le=1000, description="Messages in an hour, and as many critical ones; of others one tells the number."
    )
    failed_after: int = Field(3, ge=1, le=1000, description="So many looks in a row must have failed.")


class AppriseShape(ChannelShape):
    """A service that apprise knows: chat, mail, a pager. Needs 'rotator[notifications]'."""

    type: Literal["apprise"]
    url: SkipValidation[Login] = Field(description="Of apprise; a reference, for it holds the service's token.")
    timeout: Duration = Field(timedelta(seconds=20), description="For the whole exchange.")


class WebhookShape(ChannelShape):
    """A signed POST with JSON (Standard Webhooks); 2xx is its success."""

    type: Literal["webhook"]
    url: Text
    secret: SkipValidation[Login] = Field(description="'whsec_' and base64; several, with blanks between, all sign.")
    timeout: Duration = Field(timedelta(seconds=10), description="For the whole exchange.")


CHANNELS: dict[str, type[ChannelShape]] = {"apprise": AppriseShape, "webhook": WebhookShape}
