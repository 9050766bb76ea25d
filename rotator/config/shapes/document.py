"""The file as a whole: policies, state, service, log, http."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SkipValidation

from rotator.config.shapes.assisted import AssistedShape
from rotator.config.shapes.aws import AwsShape
from rotator.config.shapes.backends import DotenvShape, VaultShape
from rotator.config.shapes.fields import Duration, Label, Name, Shape, Text, exactly_one
from rotator.config.shapes.hooks import CommandHookShape, HttpHookShape, SystemdHookShape
from rotator.config.shapes.notifications import AppriseShape, WebhookShape
from rotator.config.shapes.places import Place
from rotator.config.shapes.providers import TogetherAssistedShape, TogetherShape
from rotator.config.shapes.secrets import Login
from rotator.config.shapes.spread import GroupShape, WindowShape
from rotator.config.shapes.state import StateShape

_JITTER = "How much earlier than necessary a key may be replaced. Default: a tenth of renew_before at most."
_WINDOWS = "When a rotation may begin that can wait; a key that would end before is replaced at once."
_NOTIFY = "Channels that hear of the policy. Default: every channel whose 'policies' fit its name."
_GRACE_LIMIT = "The longest grace while the old key is in use. Default: 4 x grace."


class Times(Shape):
    """The times of a policy."""

    lifetime: Duration | None = Field(None, description="How long a new key lives. Default: 30d.")
    renew_before: Duration | None = Field(None, description="How long before its end a key is replaced. Default: 7d.")
    grace: Duration | None = Field(None, description="How long a replaced key stays valid. Default: 24h.")
    grace_limit: Duration | None = Field(None, description=_GRACE_LIMIT)
    check_every: Duration | None = Field(None, description="How often a destination is looked at. Default: 6h.")
    settle: Duration | None = Field(None, description="How long late effects are expected. Default: 10m.")
    jitter: Duration | None = Field(None, description=_JITTER)
    windows: list[WindowShape] | None = Field(None, description=_WINDOWS)
    group: GroupShape | None = Field(None, description="Policies that keep a distance in time from each other.")


class Defaults(Times):
    """What holds for a policy that does not say otherwise."""

    hooks: list[Label] | None = Field(
        None, description="What is run when every destination holds a new key. Default: nothing."
    )
    notify: list[Label] | None = Field(None, description=_NOTIFY)
    escalate: list[Label] | None = Field(None, description="Channels that hear besides of what is critical.")


class PolicyShape(Defaults):
    """Which project, which times, which destinations."""

    name: Name
    provider: Label
    project: Text
    canary: bool = Field(
        False, description="It rotates first: others of its provider begin no rotation while it is in trouble."
    )
    depends_on: list[Name] = Field(default_factory=list, description="Policies that rotate before this one.")
    drift: Literal["alert", "adopt", "restore"] = Field(
        "adopt",
        description="What is done about a destination that others have changed: leave it and tell, look at theirs "
        "like at any other key, or put the current key back.",
    )
    assisted: AssistedShape | None = Field(
        None, description="Where people make its keys: what is other than its provider says."
    )
    destinations: SkipValidation[list[Place]]


class ServiceShape(Shape):
    """How it runs."""

    workers: int = Field(8, ge=1, le=64)
    max_rotations_per_run: int = Field(
        50, ge=1, description="How many rotations one run may begin; for the service: in any hour."
    )
    lease: Duration = timedelta(minutes=5)
    shutdown_timeout: Duration = timedelta(seconds=30)
    reload: Literal["on-signal", "on-change"] = Field(
        "on-signal",
        description="When the running service reads its configuration anew: at SIGHUP alone, or also when one of its "
        "files changes.",
    )


class LogShape(Shape):
    """How it logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class TlsShape(Shape):
    """The listener's certificate. Files that are renewed are read again."""

    certificate: Text = Field(description="A PEM file; intermediate certificates follow in it.")
    key: Text = Field(description="A PEM file, without a pass phrase.")


class HttpShape(Shape):
    """The HTTP listener: /healthz, /readyz, /metrics, and pages for people."""

    listen: Text = Field("127.0.0.1:9464", description="ADDRESS:PORT; an address that others reach needs a token.")
    token: SkipValidation[Login | None] = Field(
        None,
        description="What a request must have in 'Authorization: Bearer', but for /healthz, /readyz and the page of a "
        "link.",
    )
    tls: TlsShape | None = Field(None, description="https instead of http.")
    url: Text | None = Field(
        None,
        description="By which people reach it, such as https://rotator.example.com; stands in links to hand over. "
        "Without a path.",
    )


class Document(Shape):
    """The configuration of rotator."""

    version: Annotated[Literal[1], BeforeValidator(exactly_one)]
    instance: Name = Field(description="The name of this installation; part of every key name.")
    state: StateShape | None = None
    defaults: Defaults = Defaults()
    providers: SkipValidation[dict[Label, TogetherShape | TogetherAssistedShape]]
    backends: SkipValidation[dict[Label, VaultShape | AwsShape | DotenvShape]] = Field(default_factory=dict)
    hooks: SkipValidation[dict[Label, CommandHookShape | SystemdHookShape | HttpHookShape]] = Field(
        default_factory=dict
    )
    notifications: SkipValidation[dict[Label, AppriseShape | WebhookShape]] = Field(default_factory=dict)
    policies: SkipValidation[list[PolicyShape]] = Field(default_factory=list)
    include: list[Text] = Field(default_factory=list, description="More files with policies; globs, relative to this.")
    service: ServiceShape = ServiceShape()
    log: LogShape = LogShape()
    http: HttpShape | None = Field(None, description="Off where it is not there.")


class IncludedDocument(Shape):
    """An included file: policies only."""

    policies: list[Any]
