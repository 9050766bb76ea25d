"""The settings: frozen, checked, without a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from rotator.config.hosts import is_loopback
from rotator.config.secrets import BackendRef, CredentialRef, EnvRef, FileRef, SecretRef
from rotator.config.shapes.assisted import AssistedShape
from rotator.config.vault_settings import AuthSettings
from rotator.domain.channel import Rules
from rotator.domain.model import Policy
from rotator.domain.secret import SecretValue
from rotator.plugins import BackendPlugin, Options, ProviderPlugin


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSettings:
    """What a provider or backend is asked at most.

    :param rate: calls begun in a second; ``None`` for no limit.
    :param concurrency: calls at a time; ``None`` for as many as ``service.workers``.
    """

    rate: float | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TogetherSettings:
    """One provider of type ``together``. ``paths``: where an endpoint is, if not at its usual place.

    :param management_key: ``None`` where people make and revoke keys.
    :param assisted: how they do, where no policy says otherwise; ``None``: an endpoint does it.
    """

    base_url: str
    management_key: SecretRef | None
    paths: Mapping[str, str]
    timeout: timedelta
    limits: LimitsSettings
    assisted: AssistedShape | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSettings:
    """One backend of type ``vault``: HashiCorp Vault or OpenBao."""

    url: str
    auth: AuthSettings
    namespace: str | None
    ca_file: str | None
    client_cert: str | None
    client_key: str | None
    server_name: str | None
    proxy: str | None
    nodes: tuple[str, ...]
    timeout: timedelta
    limits: LimitsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumeRoleSettings:
    """A role of AWS that is taken on. ``external_id``: a text that is no secret, or a reference."""

    arn: str
    external_id: str | SecretRef | None
    session_name: str
    duration: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentitySettings:
    """A role of AWS that is taken on with a token in a file."""

    role_arn: str
    token_file: Path
    session_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """One backend of type ``aws-secrets-manager``."""

    region: str
    endpoint_url: str | None
    sts_endpoint_url: str | None
    profile: str | None
    assume_role: AssumeRoleSettings | None
    web_identity: WebIdentitySettings | None
    use_fips: bool
    use_dualstack: bool
    timeout: timedelta
    limits: LimitsSettings

    @property
    def account(self) -> str:
        """The account of the role that is taken on; empty where the credentials alone know it."""
        if self.assume_role:
            return self.assume_role.arn.split(":")[4]
        return self.web_identity.role_arn.split(":")[4] if self.web_identity else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DotenvSettings:
    """One backend of type ``dotenv``."""

    limits: LimitsSettings = LimitsSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class _PluggedSettings:
    """One entry of a type that an installed package brings.

    :param given: its fields as written, with a reference where a secret is.
    :param checked: these in the plug-in's own model, with stand-ins for secrets.
    :param folder: what paths in it are relative to.
    """

    type: str
    given: Mapping[str, object]
    checked: Options = field(repr=False)
    folder: Path
    limits: LimitsSettings

    def resolved(self, secret: Callable[[SecretRef], SecretValue]) -> Options:
        """The plug-in's own model, with every secret. Raises what ``secret`` and the model raise."""
        given = with_secrets(self.given, secret)
        return type(self.checked).model_validate(given, context={"folder": self.folder})


@dataclass(frozen=True, slots=True, kw_only=True)
class PluggedBackendSettings(_PluggedSettings):
    """One backend of a plug-in's type."""

    plugin: BackendPlugin[Any, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluggedProviderSettings(_PluggedSettings):
    """One provider of a plug-in's type."""

    plugin: ProviderPlugin[Any] = field(repr=False, compare=False)


def with_secrets(given: object, secret: Callable[[SecretRef], SecretValue]) -> Any:  # noqa: ANN401 - any YAML value
    """The same, with what ``secret`` says in the place of each reference."""
    if isinstance(given, EnvRef | FileRef | CredentialRef | BackendRef):
        return secret(given)
    if isinstance(given, Mapping):
        return {name: with_secrets(value, secret) for name, value in given.items()}
    if isinstance(given, list):
        return [with_secrets(value, secret) for value in given]
    return given


def references(given: object) -> Iterator[SecretRef]:
    """Every reference to a secret in it, however deep."""
    if isinstance(given, EnvRef | FileRef | CredentialRef | BackendRef):
        yield given
    elif isinstance(given, Mapping | list):
        for value in given.values() if isinstance(given, Mapping) else given:
            yield from references(value)


BackendSettings = VaultSettings | AwsSettings | DotenvSettings | PluggedBackendSettings
ProviderSettings = TogetherSettings | PluggedProviderSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHookSettings:
    """One hook that is a program. ``command``: its absolute path and its arguments."""

    command: tuple[str, ...]
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHookSettings:
    """One hook that is a request."""

    url: str
    token: SecretRef | None
    timeout: timedelta


HookSettings = CommandHookSettings | HttpHookSettings


PATIENCE = 12
"""So many leases a look may run, and the journal be unreadable (with the default: an hour), before the watchdog is left
unfed. A look renews its lease with each step, and takes minutes at most, however slow its endpoints are."""


def patience(lease: timedelta) -> timedelta:
    """See ``PATIENCE``."""
    return PATIENCE * lease


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseSettings:
    """One channel of notifications by apprise. ``url``: leads to one that holds a token."""

    rules: Rules
    url: SecretRef
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """One channel of notifications that is a signed request. ``secret``: what it is signed with."""

    rules: Rules
    url: str
    secret: SecretRef
    timeout: timedelta


ChannelSettings = AppriseSettings | WebhookSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How it runs.

    :param workers: policies that are looked at side by side, for each set of endpoints that they share.
    :param max_rotations_per_run: how many rotations one run may begin; a service's run is any hour.
    :param lease: after how much silence another process may take a policy over.
    :param shutdown_timeout: how long the end may take after SIGTERM: what is in flight then is left.
    :param reload: ``on-signal``, or ``on-change`` of a file too.
    """

    workers: int
    max_rotations_per_run: int
    lease: timedelta
    shutdown_timeout: timedelta
    reload: str

    @property
    def patience(self) -> timedelta:
        """How long a look may run, and the journal be unreadable, before the watchdog is left unfed."""
        return patience(self.lease)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How it logs: ``level`` debug to error, ``format`` auto, json or console."""

    level: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where the service listens for probes, scrapes and people.

    :param host: an IP address, or localhost.
    :param port: 0 picks a free one.
    :param token: always there where others than this machine can reach it.
    :param tls: the files of its certificate and key; ``None``: plain HTTP.
    :param url: by which people reach it, through a proxy perhaps; ``None``: as it listens.
    """

    host: str
    port: int
    token: SecretRef | None
    tls: tuple[Path, Path] | None = None
    url: str | None = None

    @property
    def takes_keys(self) -> bool:
        """Whether a key can be handed over to it: what is sent is encrypted, or does not leave this machine."""
        return self.tls is not None or is_loopback(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettings:
    """What becomes of the journal's events.

    :param retention: they are kept for so long at least.
    :param anchor_every: how often the head of the chain is written down: in the log, and
    :param anchor_file: at the end of a file, where there is one;
    :param anchor_url: with a POST, where there is one.
    """

    retention: timedelta = timedelta(days=400)
    anchor_every: timedelta = timedelta(hours=1)
    anchor_file: Path | None = None
    anchor_url: str | None = None
    anchor_token: SecretRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration.

    :param state_password: for a journal in PostgreSQL, where libpq does not find one by itself.
    :param http: ``None``: nothing listens.
    """

    source: Path
    instance: str
    state_url: str
    state_password: SecretRef | None
    providers: Mapping[str, ProviderSettings]
    backends: Mapping[str, BackendSettings]
    policies: tuple[Policy, ...]
    service: ServiceSettings
    log: LogSettings
    http: HttpSettings | None = None
    hooks: Mapping[str, HookSettings] = field(default_factory=dict)
    notifications: Mapping[str, ChannelSettings] = field(default_factory=dict)
    history: HistorySettings = HistorySettings()
