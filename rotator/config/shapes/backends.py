"""Backends, and how one logs in to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, SkipValidation

from rotator.config.shapes.aws import AwsShape
from rotator.config.shapes.fields import Duration, LimitsShape, Shape, Text, VaultPath
from rotator.config.shapes.secrets import Login


class TokenShape(Shape):
    """A token."""

    method: Literal["token"]
    token: SkipValidation[Login]


class AppRoleShape(Shape):
    """An AppRole."""

    method: Literal["approle"]
    role_id: SkipValidation[Login]
    secret_id: SkipValidation[Login]
    mount: VaultPath = "approle"


class VaultShape(Shape):
    """HashiCorp Vault or OpenBao."""

    type: Literal["vault"]
    url: Text
    auth: SkipValidation[TokenShape | AppRoleShape]
    namespace: Text | None = None
    ca_file: Text | None = Field(None, description="Relative to this configuration's folder.")
    timeout: Duration = timedelta(seconds=10)
    limits: LimitsShape = LimitsShape()


class DotenvShape(Shape):
    """dotenv files on this machine. A backend named 'dotenv' always exists."""

    type: Literal["dotenv"]
    limits: LimitsShape = LimitsShape()


BACKENDS: dict[str, type[Shape]] = {"vault": VaultShape, "aws-secrets-manager": AwsShape, "dotenv": DotenvShape}
AUTHS: dict[str, type[Shape]] = {"token": TokenShape, "approle": AppRoleShape}
