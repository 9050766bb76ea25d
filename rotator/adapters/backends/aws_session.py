"""Credentials and clients of AWS. Nothing is asked, read or imported from AWS before the first call.

- Credentials: the standard chain (environment, profile, web identity of the environment, container, instance), or
  ``web_identity``; and on top of either ``assume_role``. Temporary ones are renewed by botocore itself, a quarter of an
  hour before their end and inside the call that needs them, so that their end in the middle of a run is nobody's
  problem (``botocore.credentials``, ``DeferredRefreshableCredentials``).
- One loader of AWS's descriptions is shared by the whole process: they are read and parsed once (0.1 s), not once a
  backend. All else is a backend's own.
- No repr shows a credential. An external id is no secret for AWS, and is treated as one all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleWithWebIdentityCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, CredentialRetrievalError
from botocore.loaders import Loader, create_loader

from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, MissingSecret
from rotator.secret_file import secret_text

_READ_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumeRole:
    """A role that is taken on.

    :param external_id: what the role's trust policy asks for.
    :param session_name: how CloudTrail shows us.
    :param duration: seconds that one session lasts; AWS's default (an hour) where ``None``.
    """

    arn: str
    external_id: SecretValue | None = None
    session_name: str = "rotator"
    duration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """A role that is taken on with a token in a file, which others renew."""

    role_arn: str
    token_file: Path
    session_name: str = "rotator"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsAccess:
    """How one logs in, and where.

    :param endpoint_url: another endpoint (a VPC endpoint, a test server); AWS's own where ``None``.
    :param sts_endpoint_url: the same for STS.
    :param profile: of the shared AWS configuration.
    :param use_fips: endpoints that are validated for FIPS 140.
    :param use_dualstack: endpoints that are reached by IPv6 too.
    :param timeout: seconds to connect, and again between two bytes of an answer.
    :param pool_size: connections that are kept; as many as threads use it at a time.
    """

    region: str
    endpoint_url: str | None = None
    sts_endpoint_url: str | None = None
    profile: str | None = None
    assume_role: AssumeRole | None = None
    web_identity: WebIdentity | None = None
    use_fips: bool = False
    use_dualstack: bool = False
    timeout: float = 10.0
    pool_size: int = 10


class AwsSession:
    """Clients for one way of access, made when they are first needed. Safe for several threads."""

    def __init__(self, access: AwsAccess) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._session: botocore.session.Session | None = None
        self._made: tuple[Any, Any] | None = None
        self._sts_client: Any = None  # for one question, which few configurations ask

    @property
    def region(self) -> str:
        """Where its calls go."""
        return self._access.region

    @property
    def has_own_endpoint(self) -> bool:
        """Whether its calls go elsewhere than to AWS's own endpoints."""
        return self._access.endpoint_url is not None

    def asking(self) -> Any:  # noqa: ANN401 -- botocore makes its classes at run time
        """A client of Secrets Manager for what is harmless to repeat: up to three attempts (retry mode standard)."""
        return self._clients()[0]

    def changing(self) -> Any:  # noqa: ANN401 -- botocore makes its classes at run time
        """A client of Secrets Manager that sends once."""
        return self._clients()[1]

    def tokens(self) -> Any:  # noqa: ANN401 -- botocore makes its classes at run time
        """A client of STS with the same credentials."""
        self._clients()
        with self._lock:
            if self._sts_client is None and self._session is not None:
                self._sts_client = self._sts(self._session)("sts")
            return self._sts_client

    def iam(self) -> Any:  # noqa: ANN401 -- botocore makes its classes at run time
        """A client of IAM with the same credentials, for an audit; its endpoint is the partition's own."""
        self._clients()
        with self._lock:
            assert self._session is not None, "made with the clients"
            return self._session.create_client("iam", config=self._config(_READ_ATTEMPTS))

    def close(self) -> None:
        """Give back connections."""
        with self._lock:
            for client in (*(self._made or ()), self._sts_client):
                if client is not None:
                    client.close()
            self._made = self._sts_client = None

    def _clients(self) -> tuple[Any, Any]:
        with self._lock:
            if self._made is None:
                try:
                    self._made = self._make()
                except (BotoCoreError, ValueError) as error:
                    reason = type(error).__name__
                    raise BackendDenied(f"AWS: profile, region or endpoint can't be used ({reason})") from None
            return self._made

    def _make(self) -> tuple[Any, Any]:
        access = self._access
        session = _bare(access.profile, access.region)
        if access.web_identity is not None:
            session = _with(session, access.region, self._by_web_identity(session, access.web_identity))
        if access.assume_role is not None:
            session = _with(session, access.region, self._by_role(session, access.assume_role))
        self._session, url = session, access.endpoint_url
        return (
            session.create_client("secretsmanager", endpoint_url=url, config=self._config(_READ_ATTEMPTS)),
            session.create_client("secretsmanager", endpoint_url=url, config=self._config(1)),
        )

    def _by_role(self, source: botocore.session.Session, role: AssumeRole) -> DeferredRefreshableCredentials:
        extra: dict[str, object] = {"RoleSessionName": role.session_name}
        if role.external_id is not None:
            extra["ExternalId"] = role.external_id.reveal()
        if role.duration is not None:
            extra["DurationSeconds"] = role.duration
        credentials = source.get_credentials()
        if credentials is None:
            raise CredentialRetrievalError(provider="chain", error_msg="nothing that could take on the role")
        fetcher = AssumeRoleCredentialFetcher(self._sts(source), credentials, role.arn, extra_args=extra)
        return DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")

    def _by_web_identity(self, source: botocore.session.Session, web: WebIdentity) -> DeferredRefreshableCredentials:
        fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
            self._sts(source),
            lambda: _token(web.token_file),
            web.role_arn,
            extra_args={"RoleSessionName": web.session_name},
        )
        return DeferredRefreshableCredentials(
            refresh_using=fetcher.fetch_credentials, method="assume-role-with-web-identity"
        )

    def _sts(self, session: botocore.session.Session) -> Callable[..., Any]:
        """Makes clients of STS, as botocore's fetchers want it: with the credentials that they bring."""
        ours = self._config(_READ_ATTEMPTS)

        def make(service: str, *, config: Config | None = None, **credentials: str) -> Any:  # noqa: ANN401 -- see above
            merged = ours.merge(config) if config is not None else ours
            return session.create_client(
                service, endpoint_url=self._access.sts_endpoint_url, config=merged, **credentials
            )

        return make

    def _config(self, attempts: int) -> Config:
        access = self._access
        return Config(
            connect_timeout=access.timeout,
            read_timeout=access.timeout,
            max_pool_connections=access.pool_size,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # None leaves it to the shared configuration and the environment.
            use_fips_endpoint=access.use_fips or None,
            use_dualstack_endpoint=access.use_dualstack or None,
        )


class _Given(CredentialProvider):  # type: ignore[misc] # botocore ships no types
    """The one provider of a session whose credentials are known."""

    METHOD = "given"

    def __init__(self, credentials: DeferredRefreshableCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> DeferredRefreshableCredentials:
        """See botocore."""
        return self._credentials


@lru_cache(maxsize=1)
def _loader() -> Loader:
    return create_loader()


def _bare(profile: str | None, region: str) -> botocore.session.Session:
    session = botocore.session.Session(profile=profile)
    session.register_component("data_loader", _loader())
    session.set_config_variable("region", region)
    return session


def _with(
    source: botocore.session.Session, region: str, credentials: DeferredRefreshableCredentials
) -> botocore.session.Session:
    session = _bare(source.profile, region)
    session.register_component("credential_provider", CredentialResolver([_Given(credentials)]))
    return session


def _token(path: Path) -> str:
    try:
        return secret_text(path).strip()
    except MissingSecret as error:
        raise CredentialRetrievalError(provider="web identity", error_msg=str(error)) from None
