"""Answers of Vault and OpenBao as our errors: which state the server is in, and whether trying again soon can help.

Source: Vault API documentation, "HTTP status codes" and ``/sys/health``. In every state below nothing was done, but
for the three that are marked: there a change may have been carried out, and its answer was lost on its way. A standby
answers so when it could not forward, and also when it did and the active node went away before its answer (Vault and
OpenBao, ``http/handler.go``: any error of ``ForwardRequest`` ends in ``respondStandby``); a proxy also when its server
closed the connection after it had taken the request (Envoy's ``UC``).

====  ==========================================  =====================================================
code  state                                       a read is tried again
====  ==========================================  =====================================================
307   a standby that does not forward (*)         within the call: a balancer may choose another node
412   not replicated yet                          within the call
429   rate-limited, asked to wait N s             after N s, within the call only if N is at most 1
472   a disaster recovery secondary               by a later look: a person has to promote it
473   a performance standby                       within the call
500   a standby and no active node, by words (*)  within the call
501   not initialised                             by a later look: a person has to do it
503   sealed                                      by a later look: a person (or a KMS) has to unseal it
503   in maintenance or overloaded                within the call
503   a proxy's or balancer's own (*)             within the call
====  ==========================================  =====================================================

"By a later look" is the policy's own backoff, and the circuit breaker's. A wait that the server asks for goes with the
error (``retry_after``): whoever guards the endpoint leaves it alone so long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
import urllib3.exceptions

from rotator.errors import BackendDenied, BackendUnavailable, OutcomeUnknown, VersionConflict, WrongDestination

SHORT_WAIT = 1.0
"""Seconds: a wish to wait no longer than this is waited for within the call."""

SEALED = "the server is sealed"
UNINITIALISED = "the server is not initialised"
_SECONDARY = "the server is a disaster recovery secondary"
_NO_LEADER = "the server is a standby, and no node is active"
_BUSY = "the server is in maintenance or overloaded"
_FOREIGN = "no answer of Vault's own; a proxy or balancer in front has no server for us"
_REDIRECT = "redirected, which is not followed"

_STANDBY = "the server is a standby; the active node that it names is none of 'nodes'"

_STATES = {
    301: _REDIRECT,
    302: _REDIRECT,
    303: _REDIRECT,
    307: _STANDBY,
    308: _REDIRECT,
    412: "not replicated to this node yet",
    472: _SECONDARY,
    473: "the server is a performance standby that can't do this",
    501: UNINITIALISED,
}
_LASTING = frozenset({SEALED, UNINITIALISED, _SECONDARY})
_PERHAPS_DONE = frozenset({_STANDBY, _NO_LEADER, _FOREIGN})
_HEALTH = {
    200: _BUSY,
    429: "the server is a standby",
    472: _SECONDARY,
    473: "the server is a performance standby",
    501: UNINITIALISED,
    503: SEALED,
}
_NOT_CONNECTED = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
_FIRST_SERVER_ERROR = 500


class Refusal(Exception):
    """An answer that is no success. ``body`` is for decisions only; it is in no message.

    :param retry_after: seconds that the server asked to wait, where it said so.
    """

    def __init__(self, status: int, body: dict[str, Any] | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body or {}
        self.retry_after = retry_after

    def says(self, words: str) -> bool:
        """Whether one of the answer's errors holds these words."""
        errors = self.body.get("errors")
        return isinstance(errors, list) and any(words in str(error) for error in errors)


class Lasting(BackendUnavailable):
    """It lasts until a person does something: to try again within the second is of no use."""


def pause(error: Exception) -> bool | float:
    """Whether a read is tried again within the call, or after how many seconds."""
    if not isinstance(error, BackendUnavailable) or isinstance(error, Lasting):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= SHORT_WAIT else False


def health_state(status: int) -> str:
    """What ``sys/health`` says of the server, by its status."""
    return _HEALTH.get(status, _BUSY)


@contextmanager
def translated(what: str, *, changes: bool, health: Callable[[], str] = lambda: _BUSY) -> Iterator[None]:
    """Around one request.

    :param what: the capability and the path, for messages: ``read on secret/data/app``.
    :param changes: a lost answer is an unknown outcome; a 404 is an error (else a ``Refusal``: it may have a meaning).
    :param health: asks which state a 503 of Vault's own is.
    """
    # "from None" everywhere: the causes hold request headers, bodies and answers.
    try:
        yield
    except Refusal as refusal:
        if refusal.status == requests.codes.not_found and not changes:
            raise
        raise _error(refusal, what, changes, health) from None
    except requests.RequestException as error:
        if changes and not _never_sent(error):
            raise OutcomeUnknown(f"{what}: the answer was lost ({type(error).__name__})") from None
        raise BackendUnavailable(f"{what}: no answer ({_reason(error)})") from None
    except OSError:  # requests looks for the files before it connects
        raise BackendUnavailable(f"{what}: the CA file, client certificate or key can't be read") from None


def _error(refusal: Refusal, what: str, changes: bool, health: Callable[[], str]) -> Exception:  # noqa: FBT001 -- one caller
    status = refusal.status
    if status in {401, 403}:
        return BackendDenied(f"{what}: denied (HTTP {status})")
    if state := _state(refusal, health):
        if changes and state in _PERHAPS_DONE:
            return OutcomeUnknown(f"{what}: {state} (HTTP {status})")
        kind = Lasting if state in _LASTING else BackendUnavailable
        return kind(f"{what}: {state} (HTTP {status})", retry_after=refusal.retry_after)
    if status >= _FIRST_SERVER_ERROR:
        text = f"{what}: the server failed (HTTP {status})"
        return OutcomeUnknown(text) if changes else BackendUnavailable(text)
    if changes and refusal.says("check-and-set"):
        return VersionConflict(f"{what}: somebody else wrote in between")
    return WrongDestination(f"{what}: refused (HTTP {status})")


def _state(refusal: Refusal, health: Callable[[], str]) -> str:
    match refusal.status:
        case 429:
            wait = refusal.retry_after
            return "rate-limited" + (f", asked to wait {wait:g} s" if wait is not None else "")
        case 500 if refusal.says("local node not active"):
            return _NO_LEADER
        case 503 if "sealed" in refusal.body:  # the health itself was asked
            return SEALED if refusal.body["sealed"] else _BUSY
        case 503:
            # Its own words would not do: a server that is not initialised says that it is sealed.
            return health() if isinstance(refusal.body.get("errors"), list) else _FOREIGN
        case status:
            return _STATES.get(status, "")


def _never_sent(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(cause, urllib3.exceptions.MaxRetryError) and isinstance(cause.reason, _NOT_CONNECTED)


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "SSLError: certificate, CA file, server_name or client certificate do not fit"
    return type(error).__name__
