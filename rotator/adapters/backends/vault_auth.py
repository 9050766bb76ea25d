"""The ways to get a token of Vault or OpenBao. Each is one small dataclass; hvac's classes send the requests.

A credential is a ``SecretValue``, or a call that reads it anew: files are read again at each login, because what puts
them there (Vault Agent, Kubernetes, an operator) replaces them. It is in no repr: a call's would show what it is bound
to, which may be the whole environment. ``mount`` is where the method is enabled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from hvac.api.auth_methods import JWT, AppRole, Cert, Kubernetes, Userpass

from rotator.adapters.backends.vault_errors import Refusal, translated
from rotator.adapters.backends.vault_wire import Wire
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, BackendUnavailable, MissingSecret, OutcomeUnknown, WrongDestination
from rotator.secret_file import secret_text

Credential = SecretValue | Callable[[], SecretValue]


class Login(Protocol):
    """A login that makes a token of our own."""

    @property
    def mount(self) -> str:
        """Where the method is enabled."""
        ...

    @property
    def needs(self) -> str:
        """What the server may refuse, for messages: ``role id, secret id``."""
        ...

    def login(self, wire: Wire) -> Any:  # noqa: ANN401 -- hvac's answer, looked at by the caller
        """One login, harmless to repeat; raises what hvac's adapter raises, ``BackendDenied``, ``MissingSecret``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """A token that somebody made for us. It is renewed where it can be, and never revoked by us."""

    token: Credential = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFileAuth:
    """A token in a file that somebody else renews and replaces, such as a sink of Vault Agent (not wrapped)."""

    path: Path


class _Unwrapped:
    """The secret id of the last wrapping token: a token gives it once."""

    __slots__ = ("lock", "secret_id", "wrapping")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wrapping: SecretValue | None = None
        self.secret_id: SecretValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRoleAuth:
    """The AppRole login.

    :param wrapped_for_role: the secret id is a response-wrapping token, made for the role of this name. It is
        unwrapped once, after a look that it comes from that role: a token from elsewhere was slipped in.
    """

    role_id: Credential = field(compare=False, repr=False)
    secret_id: Credential = field(compare=False, repr=False)
    mount: str = "approle"
    wrapped_for_role: str | None = None
    needs: str = field(default="role id, secret id", init=False)
    _unwrapped: _Unwrapped = field(default_factory=_Unwrapped, init=False, repr=False, compare=False)

    def login(self, wire: Wire) -> Any:  # noqa: ANN401
        """See ``Login``."""
        secret_id = read(self.secret_id)
        if self.wrapped_for_role is not None:
            secret_id = self._unwrap(wire, secret_id, self.wrapped_for_role)
        return AppRole(wire.adapter()).login(
            read(self.role_id).reveal(), secret_id.reveal(), use_token=False, mount_point=self.mount
        )

    def _unwrap(self, wire: Wire, wrapping: SecretValue, role: str) -> SecretValue:
        known = self._unwrapped
        with known.lock:
            if known.secret_id is None or known.wrapping is None or not known.wrapping.same_as(wrapping):
                known.secret_id = unwrapped_secret_id(wire, wrapping, f"auth/{self.mount}/role/{role}/secret-id")
                known.wrapping = wrapping
            return known.secret_id


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesAuth:
    """The service account of this pod."""

    token: Credential = field(compare=False, repr=False)
    role: str
    mount: str = "kubernetes"
    needs: str = field(default="role, service account token", init=False)

    def login(self, wire: Wire) -> Any:  # noqa: ANN401
        """See ``Login``."""
        return Kubernetes(wire.adapter()).login(
            self.role, read(self.token).reveal(), use_token=False, mount_point=self.mount
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtAuth:
    """A signed JSON Web Token.

    :param role: the mount's default role where it is not given.
    """

    token: Credential = field(compare=False, repr=False)
    role: str | None = None
    mount: str = "jwt"
    needs: str = field(default="role, JSON Web Token", init=False)

    def login(self, wire: Wire) -> Any:  # noqa: ANN401
        """See ``Login``."""
        return JWT(wire.adapter()).jwt_login(self.role, read(self.token).reveal(), use_token=False, path=self.mount)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertAuth:
    """The client certificate of the connection.

    :param role: every certificate role is tried where it is not given.
    """

    role: str | None = None
    mount: str = "cert"
    needs: str = field(default="role, client certificate", init=False)

    def login(self, wire: Wire) -> Any:  # noqa: ANN401
        """See ``Login``."""
        return Cert(wire.adapter()).login(name=self.role or "", use_token=False, mount_point=self.mount)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserpassAuth:
    """User name and password."""

    username: str
    password: Credential = field(compare=False, repr=False)
    mount: str = "userpass"
    needs: str = field(default="user name, password", init=False)

    def login(self, wire: Wire) -> Any:  # noqa: ANN401
        """See ``Login``."""
        return Userpass(wire.adapter()).login(
            quote(self.username, safe=""), read(self.password).reveal(), use_token=False, mount_point=self.mount
        )


Auth = TokenAuth | TokenFileAuth | Login


def read(credential: Credential) -> SecretValue:
    """The credential as it is now. Raises ``MissingSecret``."""
    return credential() if callable(credential) else credential


def given_token(auth: TokenAuth | TokenFileAuth) -> SecretValue:
    """A token that somebody else made. Raises ``BackendDenied`` or ``BackendUnavailable``, without its text."""
    try:
        token = read(auth.token) if isinstance(auth, TokenAuth) else SecretValue(secret_text(auth.path).strip())
    except MissingSecret as error:
        raise BackendUnavailable(f"no token: {error}") from None
    if token.reveal().startswith("{"):
        raise BackendDenied("the token can't be sent: it is a wrapped or encrypted sink; a plain one is read")
    if not token.is_header_safe():
        raise BackendDenied("the token can't be sent: it is empty or has blanks or other characters")
    return token


def logged_in(auth: Login, wire: Wire) -> dict[str, Any]:
    """The ``auth`` part of a login's answer.

    :raises BackendDenied: the credential is refused.
    :raises BackendUnavailable: no login now: a state of the server, or a credential that is not there.
    """
    what = f"login at auth/{auth.mount}"
    try:
        with translated(what, changes=False):
            answer = auth.login(wire)
    except (WrongDestination, Refusal) as error:
        raise BackendDenied(f"{what}: {auth.needs} or mount are refused") from error
    except MissingSecret as error:
        raise BackendUnavailable(f"{what}: no credential: {error}") from None
    made = answer.get("auth") if isinstance(answer, dict) else None
    token = made.get("client_token") if isinstance(made, dict) else None
    if isinstance(made, dict) and made.get("mfa_requirement"):
        raise BackendDenied(f"{what}: a second factor is asked for, which a service has not")
    if not isinstance(made, dict) or not isinstance(token, str) or not SecretValue(token).is_header_safe():
        raise BackendUnavailable(f"{what}: the answer is not what Vault sends")
    return made


def unwrapped_secret_id(wire: Wire, wrapping: SecretValue, created_at: str) -> SecretValue:
    """The secret id behind a response-wrapping token. Two requests, both with that token alone.

    Source: Vault documentation, "Response wrapping", "Response-wrapping token validation".

    :param created_at: the path that must have made it.
    :raises BackendDenied: it is used up, expired or made elsewhere: each can mean that somebody took it.
    """
    if not wrapping.is_header_safe():
        raise BackendDenied("the wrapping token can't be sent: it is empty or has blanks or other characters")
    adapter = wire.adapter(wrapping)
    looked = _about_wrapping(lambda: adapter.get("/v1/sys/wrapping/lookup"), "read on sys/wrapping/lookup")
    if looked.get("creation_path") != created_at:
        raise BackendDenied(
            f"the wrapping token was not made by {created_at}: it may have been exchanged on its way; not unwrapped"
        )
    secret_id = _about_wrapping(
        lambda: adapter.post("/v1/sys/wrapping/unwrap", json={}), "update on sys/wrapping/unwrap", changes=True
    ).get("secret_id")
    if not isinstance(secret_id, str) or not secret_id:
        raise BackendDenied("the wrapping token held no secret id")
    return SecretValue(secret_id)


def _about_wrapping(request: Callable[[], Any], what: str, *, changes: bool = False) -> dict[str, Any]:
    try:
        with translated(what, changes=changes):
            answer = request()
    except OutcomeUnknown:
        raise BackendDenied(
            f"{what}: the answer was lost, and the secret id with it; a new wrapped one is needed"
        ) from None
    except (BackendDenied, WrongDestination, Refusal):
        raise BackendDenied(
            f"{what}: the wrapping token is used up or expired. If no earlier run of ours used it, it may have been "
            "intercepted: revoke its secret id, look for who unwrapped it, and make a new one"
        ) from None
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise BackendUnavailable(f"{what}: the answer is not what Vault sends")
    return data
