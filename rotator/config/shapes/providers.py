"""Providers."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, SkipValidation, StringConstraints

from rotator.config.shapes.assisted import AssistedShape
from rotator.config.shapes.fields import KEY, KEYS, Duration, Endpoint, LimitsShape, Shape, Text
from rotator.config.shapes.secrets import Secret


class PathsShape(Shape):
    """Where endpoints are, if not at their usual places; {project_id} and {key_id} are filled in."""

    keys: Annotated[str, StringConstraints(pattern=KEYS)] | None = None
    key: Annotated[str, StringConstraints(pattern=KEY)] | None = None
    whoami: Endpoint | None = None
    whoami_flat: Endpoint | None = None
    usage: Endpoint | None = None


class TogetherShape(Shape):
    """Together AI, or a gateway with the same endpoints."""

    type: Literal["together"]
    issuance: Literal["api"] = Field("api", description="How keys are made: over a key-management endpoint.")
    base_url: Text = "https://api.together.ai"
    management_key: SkipValidation[Secret] = Field(description="Where the key is found that may manage keys.")
    paths: PathsShape = PathsShape()
    timeout: Duration = timedelta(seconds=10)
    limits: LimitsShape = LimitsShape()


class TogetherAssistedShape(Shape):
    """Together AI as it is: people make and revoke keys in the console, and no management key is needed."""

    type: Literal["together"]
    issuance: Literal["assisted"]
    base_url: Text = "https://api.together.ai"
    paths: PathsShape = PathsShape()
    timeout: Duration = timedelta(seconds=10)
    limits: LimitsShape = LimitsShape()
    assisted: AssistedShape = AssistedShape()


PROVIDERS: dict[str, type[Shape]] = {"together": TogetherShape}
