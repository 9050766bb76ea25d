"""Hooks: how consumers learn of a new key."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, SkipValidation, StringConstraints

from rotator.config.shapes.fields import UNIT, Duration, Shape, Text
from rotator.config.shapes.secrets import Login


class CommandHookShape(Shape):
    """A program with arguments; no shell."""

    type: Literal["command"]
    command: list[Text] = Field(min_length=1, description="The program's absolute path, and its arguments.")
    timeout: Duration = Field(timedelta(seconds=30), description="Then it is ended, and has failed.")


class SystemdHookShape(Shape):
    """A unit of systemd that reads the key when it is reloaded or restarted."""

    type: Literal["systemd"]
    unit: Annotated[str, StringConstraints(pattern=UNIT)]
    action: Literal["reload", "restart", "reload-or-restart"] = "reload"
    timeout: Duration = Field(timedelta(seconds=30), description="Then it is given up, and has failed.")


class HttpHookShape(Shape):
    """A POST with JSON; 2xx is its success."""

    type: Literal["http"]
    url: Text
    token: SkipValidation[Login | None] = Field(None, description="Sent as 'Authorization: Bearer'.")
    timeout: Duration = Field(timedelta(seconds=10), description="For the whole exchange.")


HOOKS: dict[str, type[Shape]] = {"command": CommandHookShape, "systemd": SystemdHookShape, "http": HttpHookShape}
