"""AWS Secrets Manager: how one logs in, and how a secret is created."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, SkipValidation

from rotator.config.shapes.fields import Duration, LimitsShape, Shape, Text
from rotator.config.shapes.secrets import Login


class AssumeRoleShape(Shape):
    """A role that is taken on, with whatever credentials there are."""

    arn: Text
    external_id: SkipValidation[Text | Login | None] = Field(
        None, description="What the role's trust policy asks for: a text, or a reference."
    )
    session_name: Text = Field("rotator", description="How CloudTrail shows it.")
    duration: Duration | None = Field(None, description="30m to 12h; the role's own limit holds. Default: AWS's, 1h.")


class WebIdentityShape(Shape):
    """A role that is taken on with a token in a file, where the environment does not say so already."""

    role_arn: Text
    token_file: Text = Field(description="Read anew each time; relative to this configuration's folder.")
    session_name: Text = Field("rotator", description="How CloudTrail shows it.")


class AwsShape(Shape):
    """AWS Secrets Manager; credentials come by AWS's standard chain, where nothing else is said."""

    type: Literal["aws-secrets-manager"]
    region: Text
    endpoint_url: Text | None = Field(None, description="Of Secrets Manager: a VPC endpoint.")
    sts_endpoint_url: Text | None = Field(None, description="Of STS, for roles.")
    profile: Text | None = None
    assume_role: AssumeRoleShape | None = None
    web_identity: WebIdentityShape | None = None
    use_fips: bool = Field(False, description="Endpoints that are validated for FIPS 140.")
    use_dualstack: bool = Field(False, description="Endpoints with IPv6 too.")
    timeout: Duration = timedelta(seconds=10)
    limits: LimitsShape = LimitsShape()
