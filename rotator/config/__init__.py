"""The configuration: read, checked as a whole, and turned into frozen settings. Every error has file and line."""

from rotator.config.load import load
from rotator.config.schema import schema
from rotator.config.secrets import BackendRef, CredentialRef, EnvRef, FileRef, SecretRef, resolve
from rotator.config.settings import (
    AssumeRoleSettings,
    AwsSettings,
    BackendSettings,
    CommandHookSettings,
    DotenvSettings,
    HistorySettings,
    HookSettings,
    HttpHookSettings,
    HttpSettings,
    LimitsSettings,
    LogSettings,
    PluggedBackendSettings,
    PluggedProviderSettings,
    ProviderSettings,
    ServiceSettings,
    Settings,
    TogetherSettings,
    VaultSettings,
    WebIdentitySettings,
    references,
)
from rotator.config.vault_settings import AppRoleSettings, AuthSettings, TokenSettings
from rotator.config.watch import Watched

__all__ = [
    "AppRoleSettings",
    "AssumeRoleSettings",
    "AuthSettings",
    "AwsSettings",
    "BackendRef",
    "BackendSettings",
    "CommandHookSettings",
    "CredentialRef",
    "DotenvSettings",
    "EnvRef",
    "FileRef",
    "HistorySettings",
    "HookSettings",
    "HttpHookSettings",
    "HttpSettings",
    "LimitsSettings",
    "LogSettings",
    "PluggedBackendSettings",
    "PluggedProviderSettings",
    "ProviderSettings",
    "SecretRef",
    "ServiceSettings",
    "Settings",
    "TogetherSettings",
    "TokenSettings",
    "VaultSettings",
    "Watched",
    "WebIdentitySettings",
    "load",
    "references",
    "resolve",
    "schema",
]
