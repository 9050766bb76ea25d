"""Backends, and how one logs in to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, SkipValidation

from rotator.config.shapes.aws import AwsShape
from rotator.config.shapes.fields import Duration, LimitsShape, Shape, Text, VaultPath
from rotator.config.shapes.secrets import Login

_WRAPPED = "The secret id is a response-wrapping token, made for the role of this name; it is unwrapped once."
_REGION = "Whose STS endpoint is signed for; in us-east-1 the global one, which is the server's default."


class TokenShape(Shape):
    """A token that somebody made; renewed where it can be."""

    method: Literal["token"]
    token: SkipValidation[Login]


class TokenFileShape(Shape):
    """A token in a file that somebody else renews, such as a sink of Vault Agent."""

    method: Literal["token_file"]
    path: Text = Field(description="Read again when it changes. Relative to this configuration's folder.")


class AppRoleShape(Shape):
    """An AppRole."""

    method: Literal["approle"]
    role_id: SkipValidation[Login]
    secret_id: SkipValidation[Login]
    wrapped_for_role: Text | None = Field(None, description=_WRAPPED)
    mount: VaultPath = "approle"


class KubernetesShape(Shape):
    """The service account of this pod."""

    method: Literal["kubernetes"]
    role: Text
    token_file: Text = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 -- a path
    mount: VaultPath = "kubernetes"


class JwtShape(Shape):
    """A signed JSON Web Token."""

    method: Literal["jwt"]
    token: SkipValidation[Login]
    role: Text | None = Field(None, description="Default: the mount's default role.")
    mount: VaultPath = "jwt"


class CertShape(Shape):
    """The backend's client certificate."""

    method: Literal["cert"]
    role: Text | None = Field(None, description="Default: whichever role the certificate fits.")
    mount: VaultPath = "cert"


class AwsIamShape(Shape):
    """The AWS identity of this process (IAM)."""

    method: Literal["aws"]
    role: Text | None = Field(None, description="Default: the name of the IAM principal.")
    region: Text = Field("us-east-1", description=_REGION)
    server_id: Text | None = Field(None, description="X-Vault-AWS-IAM-Server-ID, where the server asks for it.")
    profile: Text | None = None
    mount: VaultPath = "aws"


class UserpassShape(Shape):
    """User name and password."""

    method: Literal["userpass"]
    username: Text
    password: SkipValidation[Login]
    mount: VaultPath = "userpass"


Auth = TokenShape | TokenFileShape | AppRoleShape | KubernetesShape | JwtShape | CertShape | AwsIamShape | UserpassShape


class VaultShape(Shape):
    """HashiCorp Vault or OpenBao."""

    type: Literal["vault"]
    url: Text
    auth: SkipValidation[Auth]
    namespace: Text | None = None
    ca_file: Text | None = Field(None, description="Relative to this configuration's folder.")
    client_cert: Text | None = Field(None, description="PEM; shown to the server. Read anew for each connection.")
    client_key: Text | None = Field(None, description="PEM, without pass phrase. Default: in client_cert.")
    server_name: Text | None = Field(None, description="In the server's certificate, instead of the URL's host.")
    proxy: Text | None = Field(None, description="Instead of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.")
    nodes: list[Text] = Field(
        default_factory=list, description="URLs of the cluster's nodes, to which a standby may send us (307)."
    )
    timeout: Duration = timedelta(seconds=10)
    limits: LimitsShape = LimitsShape()


class DotenvShape(Shape):
    """dotenv files on this machine. A backend named 'dotenv' always exists."""

    type: Literal["dotenv"]
    limits: LimitsShape = LimitsShape()


BACKENDS: dict[str, type[Shape]] = {"vault": VaultShape, "aws-secrets-manager": AwsShape, "dotenv": DotenvShape}
AUTHS: dict[str, type[Auth]] = {
    "token": TokenShape,
    "token_file": TokenFileShape,
    "approle": AppRoleShape,
    "kubernetes": KubernetesShape,
    "jwt": JwtShape,
    "cert": CertShape,
    "aws": AwsIamShape,
    "userpass": UserpassShape,
}
