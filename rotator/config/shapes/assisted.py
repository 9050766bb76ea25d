"""Assisted issuance: what a provider says of its people, and what a policy says otherwise."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, SkipValidation

from rotator.config.shapes.fields import Duration, Shape, Text
from rotator.config.shapes.places import AwsPlace, VaultPlace

CONSOLE = "https://api.together.ai/settings/projects/{project}/api-keys"
DEFAULTS = {
    "remind_first": timedelta(days=1),
    "escalate_before": timedelta(hours=48),
    "revoke_within": timedelta(days=7),
    "inbox_every": timedelta(minutes=1),
}


class AssistedShape(Shape):
    """Who is asked to make and revoke keys, where, and how often."""

    console_url: Text | None = Field(
        None, description=f"Where a project's keys are in the console, with {{project}}. Default: {CONSOLE}."
    )
    owners: list[Text] | None = Field(None, description="Who is asked.")
    remind_first: Duration | None = Field(
        None, description="When a request is announced again; each next pause is twice as long. Default: 1d."
    )
    escalate_before: Duration | None = Field(
        None, description="How long before its deadline a request is escalated. Default: 48h."
    )
    revoke_within: Duration | None = Field(None, description="How long a person has to revoke an old key. Default: 7d.")
    inbox: SkipValidation[VaultPlace | AwsPlace | None] = Field(
        None,
        description="A secret of its own, where people may put new keys and only the rotator may read them: a place as "
        "in a destination, with {policy} and {project} in its texts.",
    )
    inbox_every: Duration | None = Field(
        None, description="How often the inbox is looked at while a key is asked for. Default: 1m."
    )
