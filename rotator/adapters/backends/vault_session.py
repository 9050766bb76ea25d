"""How Vault and OpenBao are talked to: one pooled session, a lazy login, and their answers as our errors.

hvac builds the requests. Its adapter is narrowed in three ways:

- Redirects are not followed. requests drops ``Authorization`` when the host changes, but not ``X-Vault-Token``,
  and a 307 repeats the body: a token and a secret could go to another server.
- No token is taken from ``VAULT_TOKEN`` or ``~/.vault-token``.
- A failure is the status alone: hvac's own exceptions carry the answer's body.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests
import stamina
import urllib3.exceptions
from hvac.adapters import JSONAdapter
from hvac.api.auth_methods import AppRole
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from rotator.domain.secret import SecretValue
from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    OutcomeUnknown,
    RotatorError,
    VersionConflict,
    WrongDestination,
)

_T = TypeVar("_T")

# Vault API documentation, "HTTP status codes": 412 not yet replicated, 429 rate limit or standby, 472/473 standbys,
# 501 not initialised, 503 sealed or in maintenance. In all of them nothing was done. A redirect is a standby's, too.
_PASSING = frozenset({301, 302, 303, 307, 308, 412, 429, 472, 473, 501, 503})
_NOT_CONNECTED = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
_FIRST_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """A token that somebody else renews."""

    token: SecretValue = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRoleAuth:
    """The AppRole login; it is repeated when its token has expired or was revoked."""

    role_id: SecretValue = field(compare=False)
    secret_id: SecretValue = field(compare=False)
    mount: str = "approle"


class Refusal(Exception):
    """An answer that is no success. ``body`` is for decisions only; it is in no message."""

    def __init__(self, status: int, body: dict[str, Any] | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body or {}

    def says(self, words: str) -> bool:
        """Whether one of the answer's errors holds these words."""
        errors = self.body.get("errors")
        return isinstance(errors, list) and any(words in str(error) for error in errors)


class _Session(requests.Session):
    """Sends to one server with settings that never change.

    requests merges settings, copies cookies and plans a redirect anew for every request; that is most of what it costs.
    """

    def request(  # type: ignore[override] # the part that hvac uses
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        allow_redirects: bool,
        json: Any = None,  # noqa: ANN401 -- whatever JSON can say
        params: Mapping[str, str] | None = None,
        **sending: Any,  # noqa: ANN401 -- timeout, verify, cert and proxies, as HTTPAdapter.send() has them
    ) -> requests.Response:
        assert not allow_redirects, "a token and a secret would go wherever an answer says"
        request = requests.Request(
            method, url, headers={**self.headers, **headers}, json=json, params=params, cookies=self.cookies
        )
        answer = self.get_adapter(url).send(request.prepare(), **sending)
        _ = answer.content  # read to its end, which gives the connection back
        self.cookies.update(answer.cookies)
        return answer


class _Adapter(JSONAdapter):  # type: ignore[misc] # hvac ships no types
    def _raise_for_error(self, method: str, url: str, response: requests.Response) -> None:  # noqa: ARG002 -- hvac's
        raise Refusal(response.status_code, _json_object(response))

    def request(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- hvac's own signature
        answer = super().request(*args, **kwargs)
        if isinstance(answer, requests.Response) and answer.is_redirect:
            raise Refusal(answer.status_code)
        return answer


class VaultSession:
    """One server (or cluster behind one address), one credential, one connection pool.

    :param timeout: seconds to connect, and again between two bytes of an answer.
    :param pool_size: connections that are kept; as many as threads use it at a time.
    """

    def __init__(
        self,
        *,
        url: str,
        auth: TokenAuth | AppRoleAuth,
        namespace: str | None,
        ca_file: str | None,
        timeout: float,
        pool_size: int,
    ) -> None:
        session = _Session()
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0))
        # What requests would look up in the environment for every single request is looked up once. A netrc file is
        # not asked at all: the one credential of this session is the configured one.
        session.trust_env = False
        session.proxies = dict(get_environ_proxies(url))
        bundles = (ca_file, os.environ.get("REQUESTS_CA_BUNDLE"), os.environ.get("CURL_CA_BUNDLE"))
        session.verify = next((bundle for bundle in bundles if bundle), True)
        self._adapter = _Adapter(
            base_uri=url, session=session, namespace=namespace, timeout=timeout, allow_redirects=False
        )
        self._auth = auth
        self._timeout = timeout
        self._lock = threading.Lock()
        self._token = ""

    def ask(self, request: Callable[[JSONAdapter], _T], what: str) -> _T:
        """Carry out a request that is harmless to repeat, up to three times.

        :param what: the capability and the path, for messages: ``read on secret/data/app``.
        :raises Refusal: 404, which may have a meaning.
        :raises BackendError: everything else that is no success.
        """
        for attempt in stamina.retry_context(
            on=BackendUnavailable, attempts=3, timeout=3 * self._timeout, wait_initial=0.1, wait_max=1.0
        ):
            with attempt:
                return self._with_login(request, what, changes=False)
        raise AssertionError("stamina returns or raises")

    def change(self, request: Callable[[JSONAdapter], _T], what: str) -> _T:
        """Carry out a changing request, once; ``OutcomeUnknown`` when it may have been carried out."""
        return self._with_login(request, what, changes=True)

    def close(self) -> None:
        """Give back the connections, and the token of our own login, so that runs from cron leave none behind."""
        if self._token and isinstance(self._auth, AppRoleAuth):
            with suppress(Refusal, requests.RequestException):  # it ends with its own lifetime anyway
                self._adapter.post("/v1/auth/token/revoke-self")
        self._token = self._adapter.token = ""
        self._adapter.close()

    def _with_login(self, request: Callable[[JSONAdapter], _T], what: str, *, changes: bool) -> _T:
        token = self._login(stale=None)
        try:
            with _translated(what, changes=changes):
                return request(self._adapter)
        except BackendDenied:
            if isinstance(self._auth, TokenAuth):
                raise
        # An expired token and a missing right look the same (403, before any effect): log in anew, once.
        self._login(stale=token)
        with _translated(what, changes=changes):
            return request(self._adapter)

    def _login(self, stale: str | None) -> str:
        with self._lock:
            if self._token and self._token != stale:
                return self._token
            self._token = self._new_token()
            self._adapter.token = self._token
            return self._token

    def _new_token(self) -> str:
        if isinstance(self._auth, TokenAuth):
            if not self._auth.token.is_header_safe():
                raise BackendDenied("the token can't be sent: it is empty or has blanks or other characters")
            return self._auth.token.reveal()
        self._adapter.token = ""
        role_id, secret_id, mount = self._auth.role_id, self._auth.secret_id, self._auth.mount
        try:
            with _translated(f"login at auth/{mount}", changes=False):
                answer = AppRole(self._adapter).login(
                    role_id.reveal(), secret_id.reveal(), use_token=False, mount_point=mount
                )
        except (WrongDestination, Refusal) as error:
            raise BackendDenied(f"login at auth/{mount}: role id, secret id or mount are refused") from error
        token = answer["auth"]["client_token"] if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise BackendUnavailable(f"login at auth/{mount}: the answer is not what Vault sends")
        return token


@contextmanager
def _translated(what: str, *, changes: bool) -> Iterator[None]:
    # "from None" everywhere: the causes hold request headers, bodies and answers.
    try:
        yield
    except Refusal as refusal:
        if refusal.status == requests.codes.not_found and not changes:
            raise
        raise _error(refusal, what, changes=changes) from None
    except requests.RequestException as error:
        if changes and not _never_sent(error):
            raise OutcomeUnknown(f"{what}: the answer was lost ({type(error).__name__})") from None
        raise BackendUnavailable(f"{what}: no answer ({type(error).__name__})") from None


def _error(refusal: Refusal, what: str, *, changes: bool) -> RotatorError:
    status = refusal.status
    if status in {401, 403}:
        return BackendDenied(f"{what}: denied (HTTP {status})")
    if status in _PASSING:
        return BackendUnavailable(f"{what}: not now (HTTP {status})")
    if status >= _FIRST_SERVER_ERROR:
        kind = OutcomeUnknown if changes else BackendUnavailable
        return kind(f"{what}: the server failed (HTTP {status})")
    if changes and refusal.says("check-and-set"):
        return VersionConflict(f"{what}: somebody else wrote in between")
    return WrongDestination(f"{what}: refused (HTTP {status})")


def _never_sent(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(cause, urllib3.exceptions.MaxRetryError) and isinstance(cause.reason, _NOT_CONNECTED)


def _json_object(response: requests.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
