"""Destinations: a shape for each kind of backend."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from rotator.config.shapes.fields import Label, Shape, Text, Variable, VaultPath

Fact = Literal["key_id", "project", "policy", "instance", "rotation_id", "created", "expires"]
"""What can be written beside a key, or into its template."""


class DestinationShape(Shape):
    """What every destination has."""

    backend: Label
    template: dict[Text, object] | None = Field(
        None,
        description="The value is a JSON object: '{key}' in one of its texts is the key, '{key_id}' a fact.",
    )


_BESIDE: Any = Field(
    default_factory=dict, description="Further fields of the same secret, each with a fact: TOGETHER_KEY_ID: key_id."
)


def _one_or_two(value: object) -> object:
    if type(value) is not int:  # true and 1.0 equal 1
        raise ValueError("allowed: 1 or 2")
    return value


class DotenvExpect(Shape):
    """What the machine must say of itself."""

    hostname: Text | None = None


class VaultExpect(Shape):
    """What the server must say of itself."""

    namespace: Text | None = Field(None, description="The backend's own, which its requests name; 'root' without one.")
    cluster_name: Text | None = None
    cluster_id: Text | None = None


class AwsExpect(Shape):
    """What AWS must say of the credential and the secret."""

    account: Text | None = Field(None, description="The number of the account, in quotes.")
    region: Text | None = None


class AwsCreate(Shape):
    """How a secret that does not exist is created; AWS's defaults where nothing is said."""

    kms_key_id: Text | None = Field(None, description="ARN, id or alias of the KMS key. Default: aws/secretsmanager.")
    description: Text | None = None
    tags: dict[Text, str] = Field(default_factory=dict, description="Beside the rotator's own.")
    replica_regions: list[Text] = Field(default_factory=list, description="Where AWS keeps replicas of it.")


class DotenvPlace(DestinationShape):
    """A variable in a dotenv file."""

    path: Text = Field(description="The file; relative to this configuration's folder.")
    field: Variable = Field(description="The variable.")
    beside: dict[Variable, Fact] = _BESIDE
    expect: DotenvExpect = DotenvExpect()


class VaultPlace(DestinationShape):
    """A field of a secret in a KV engine."""

    mount: VaultPath = Field("secret", description="Where the engine is mounted.")
    path: VaultPath = Field(description="The secret, without mount and 'data/'.")
    field: Text
    kv_version: Annotated[Literal[1, 2], BeforeValidator(_one_or_two)] | None = Field(
        None, description="Of the engine. Where it is not said, the server is asked."
    )
    beside: dict[Text, Fact] = _BESIDE
    expect: VaultExpect = VaultExpect()


class AwsPlace(DestinationShape):
    """A secret in AWS Secrets Manager, or one field of a JSON secret."""

    secret_id: Text = Field(description="Name or ARN.")
    field: Text | None = Field(None, description="The key in a JSON secret; without it the whole secret is the value.")
    beside: dict[Text, Fact] = _BESIDE
    create: AwsCreate | None = Field(None, description="The secret is created where there is none ({} is enough).")
    managed_rotation: Literal["refuse", "allow"] = Field(
        "refuse", description="What to do where AWS's own rotation is enabled on the secret."
    )
    expect: AwsExpect = AwsExpect()


class PluggedExpect(Shape):
    """What a plug-in's backend must say: names that it tells."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Text]


class PluggedPlace(DestinationShape):
    """What a destination of a plug-in has besides the plug-in's own fields. Not in the schema."""

    field: Text | None = None
    beside: dict[Text, Fact] = _BESIDE
    expect: PluggedExpect = PluggedExpect()


Place = DotenvPlace | VaultPlace | AwsPlace

PLACES: dict[str, type[Shape]] = {"vault": VaultPlace, "aws-secrets-manager": AwsPlace, "dotenv": DotenvPlace}
