"""The shape of the file: one pydantic model a section. The JSON Schema is made from these too.

Where the right model depends on a name or a type, the field is ``SkipValidation``: ``load`` chooses the model and
checks it by hand, so that an error names the field and not every alternative.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    StringConstraints,
    WithJsonSchema,
)

from rotator.domain.text import duration

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"^0*[1-9][0-9]*[smhd]$"
_LONGEST = timedelta(days=36_500)  # beyond lies the end of what a date can say
NAME = r"^[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}$"
_PLAIN = r"[^{}?#\s]*"
LABEL = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$"
RULES = {
    NAME: "letters, digits, '.' and '-', at most 63, beginning with a letter or digit (no '_': it joins key names)",
    LABEL: "letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit",
    (_TEXT := r"^[^\x00-\x1f\x7f]+$"): "a text of one line, not empty",
    (_CREDENTIAL := r"^[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$"): "the name of a credential, without '/'",
    (
        _VARIABLE := r"^[A-Za-z_][A-Za-z0-9_]*$"
    ): "a variable's name: letters, digits and '_', not beginning with a digit",
    (_VAULT_PATH := r"^/*[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"): "a path of one line, not empty",
    (_ENDPOINT := rf"^/{_PLAIN}$"): "a path that begins with '/', without placeholders",
    (_KEYS := rf"^/{_PLAIN}\{{project_id\}}{_PLAIN}$"): "a path that begins with '/' and has {project_id}",
    (_KEY := rf"^/{_PLAIN}\{{project_id\}}{_PLAIN}\{{key_id\}}{_PLAIN}$"): (
        "a path that begins with '/' and has {project_id} and {key_id}"
    ),
}
"""What each pattern asks for, in words."""


@lru_cache(maxsize=4096)
def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if not found or int(found[1]) == 0:
        raise ValueError("allowed: a duration such as 90s, 15m, 24h, 30d")
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"allowed: a duration of at most {duration(_LONGEST)}")
    return timedelta(seconds=seconds)


def _parse_duration(value: object) -> timedelta:
    if not isinstance(value, str):
        raise ValueError("allowed: a duration such as 90s, 15m, 24h, 30d")  # noqa: TRY004 - pydantic's own convention
    return _duration(value)


def _version(value: object) -> object:
    if type(value) is not int:  # true and 1.0 equal 1
        raise ValueError("allowed: 1")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["90s", "15m", "24h", "30d"]}),
]
Text = Annotated[str, StringConstraints(pattern=_TEXT)]
Name = Annotated[str, StringConstraints(pattern=NAME)]
Label = Annotated[str, StringConstraints(pattern=LABEL)]
Variable = Annotated[str, StringConstraints(pattern=_VARIABLE)]
VaultPath = Annotated[str, StringConstraints(pattern=_VAULT_PATH)]
Endpoint = Annotated[str, StringConstraints(pattern=_ENDPOINT)]


class Shape(BaseModel):
    """Unknown fields are errors; values are never converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EnvShape(Shape):
    """An environment variable."""

    env: Variable


class FileShape(Shape):
    """The content of a file, without its last line end."""

    file: Text


class CredentialShape(Shape):
    """A systemd credential (LoadCredential=)."""

    credential: Annotated[str, StringConstraints(pattern=_CREDENTIAL)]


class DotenvPlace(Shape):
    """A variable in a dotenv file."""

    backend: Label
    path: Text = Field(description="The file; relative to this configuration's folder.")
    field: Variable = Field(description="The variable.")


class VaultPlace(Shape):
    """A field of a secret in a KV version 2 engine."""

    backend: Label
    mount: VaultPath = Field("secret", description="Where the engine is mounted.")
    path: VaultPath = Field(description="The secret, without mount and 'data/'.")
    field: Text


class AwsPlace(Shape):
    """A secret in AWS Secrets Manager, or one field of a JSON secret."""

    backend: Label
    secret_id: Text = Field(description="Name or ARN.")
    field: Text | None = Field(None, description="The key in a JSON secret; without it the whole secret is the value.")


Place = DotenvPlace | VaultPlace | AwsPlace
Login = EnvShape | FileShape | CredentialShape  # a backend's own credential can't come from a backend
Secret = Login | Place


class PathsShape(Shape):
    """Where endpoints are, if not at their usual places; {project_id} and {key_id} are filled in."""

    keys: Annotated[str, StringConstraints(pattern=_KEYS)] | None = None
    key: Annotated[str, StringConstraints(pattern=_KEY)] | None = None
    whoami: Endpoint | None = None
    whoami_flat: Endpoint | None = None
    usage: Endpoint | None = None


class LimitsShape(Shape):
    """What it is asked at most; a call that waits longer than half a minute for its turn is put off."""

    rate: float | None = Field(
        None, ge=0.1, le=1000, allow_inf_nan=False, description="Calls begun in a second. Default: no limit."
    )
    concurrency: int | None = Field(None, ge=1, le=64, description="Calls at a time. Default: service.workers.")


class TogetherShape(Shape):
    """Together AI, or a gateway with the same endpoints."""

    type: Literal["together"]
    issuance: Literal["api"] = Field("api", description="How keys are made: over a key-management endpoint.")
    base_url: Text = "https://api.together.ai"
    management_key: SkipValidation[Secret] = Field(description="Where the key is found that may manage keys.")
    paths: PathsShape = PathsShape()
    timeout: Duration = timedelta(seconds=10)
    limits: LimitsShape = LimitsShape()


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


class AwsShape(Shape):
    """AWS Secrets Manager; credentials come by AWS's standard chain."""

    type: Literal["aws-secrets-manager"]
    region: Text
    endpoint_url: Text | None = None
    profile: Text | None = None
    timeout: Duration = timedelta(seconds=10)
    limits: LimitsShape = LimitsShape()


class DotenvShape(Shape):
    """dotenv files on this machine. A backend named 'dotenv' always exists."""

    type: Literal["dotenv"]
    limits: LimitsShape = LimitsShape()


_GRACE_LIMIT = "The longest grace while the old key is in use. Default: 4 x grace."


class Times(Shape):
    """The times of a policy."""

    lifetime: Duration | None = Field(None, description="How long a new key lives. Default: 30d.")
    renew_before: Duration | None = Field(None, description="How long before its end a key is replaced. Default: 7d.")
    grace: Duration | None = Field(None, description="How long a replaced key stays valid. Default: 24h.")
    grace_limit: Duration | None = Field(None, description=_GRACE_LIMIT)
    check_every: Duration | None = Field(None, description="How often a destination is looked at. Default: 6h.")
    settle: Duration | None = Field(None, description="How long late effects are expected. Default: 10m.")


class PolicyShape(Times):
    """Which project, which times, which destinations."""

    name: Name
    provider: Label
    project: Text
    canary: bool = Field(
        False, description="It rotates first: others of its provider begin no rotation while it is in trouble."
    )
    destinations: SkipValidation[list[Place]]


class StateShape(Shape):
    """Where the journal is."""

    url: Text = Field(description="sqlite:////absolute/path or postgresql+psycopg://USER@HOST/DATABASE?sslmode=...")
    password: SkipValidation[Login | None] = Field(None, description="For PostgreSQL, unless libpq finds one itself.")


class ServiceShape(Shape):
    """How it runs."""

    workers: int = Field(8, ge=1, le=64)
    max_rotations_per_run: int = Field(
        50, ge=1, description="How many rotations one run may begin; for the service: in any hour."
    )
    lease: Duration = timedelta(minutes=5)
    shutdown_timeout: Duration = timedelta(seconds=30)


class LogShape(Shape):
    """How it logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Document(Shape):
    """The configuration of rotator."""

    version: Annotated[Literal[1], BeforeValidator(_version)]
    instance: Name = Field(description="The name of this installation; part of every key name.")
    state: StateShape | None = None
    defaults: Times = Times()
    providers: SkipValidation[dict[Label, TogetherShape]]
    backends: SkipValidation[dict[Label, VaultShape | AwsShape | DotenvShape]] = Field(default_factory=dict)
    policies: SkipValidation[list[PolicyShape]] = Field(default_factory=list)
    include: list[Text] = Field(default_factory=list, description="More files with policies; globs, relative to this.")
    service: ServiceShape = ServiceShape()
    log: LogShape = LogShape()


class IncludedDocument(Shape):
    """An included file: policies only."""

    policies: list[Any]


BACKENDS: dict[str, type[Shape]] = {"vault": VaultShape, "aws-secrets-manager": AwsShape, "dotenv": DotenvShape}
PLACES: dict[str, type[Shape]] = {"vault": VaultPlace, "aws-secrets-manager": AwsPlace, "dotenv": DotenvPlace}
AUTHS: dict[str, type[Shape]] = {"token": TokenShape, "approle": AppRoleShape}
REFERENCES: dict[str, type[Shape]] = {"env": EnvShape, "file": FileShape, "credential": CredentialShape}
