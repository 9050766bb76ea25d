"""How Vault and OpenBao are talked to: one pooled session, one token that is kept good, answers as our errors.

``vault_wire`` has the connections, ``vault_auth`` the ways to log in, ``vault_tokens`` the life of a token, and
``vault_errors`` the states of a server.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar

import requests
import stamina
from hvac.adapters import JSONAdapter

from rotator.adapters.backends.vault_auth import AppRoleAuth, Auth, TokenAuth
from rotator.adapters.backends.vault_errors import Refusal, health_state, pause, translated
from rotator.adapters.backends.vault_given import tokens
from rotator.adapters.backends.vault_tokens import Now, known
from rotator.adapters.backends.vault_wire import Transport, Wire
from rotator.errors import BackendDenied, BackendUnavailable

__all__ = ["AppRoleAuth", "Auth", "Now", "Refusal", "TokenAuth", "Transport", "VaultSession", "utc_now"]

_T = TypeVar("_T")

_HEALTH = "/v1/sys/health"
_ANY_STATE = "standbyok=true&perfstandbyok=true&drsecondarycode=200"


def utc_now() -> datetime:
    """The clock, where none is given."""
    return datetime.now(UTC)


class VaultSession:
    """One server (or cluster behind one address), one way to log in, one connection pool.

    :param timeout: seconds to connect, and again between two bytes of an answer.
    :param pool_size: connections that are kept; as many as threads use it at a time.
    :param now: tells when a token is due for its renewal.
    """

    def __init__(
        self,
        *,
        url: str,
        auth: Auth,
        namespace: str | None,
        ca_file: str | None,
        timeout: float,
        pool_size: int,
        transport: Transport = Transport(),  # noqa: B008 -- frozen
        now: Now = utc_now,
    ) -> None:
        self._wire = Wire(
            url=url,
            namespace=namespace,
            ca_file=ca_file,
            transport=transport,
            timeout=timeout,
            pool_size=pool_size,
        )
        self._tokens = tokens(auth, self._wire, now)
        self._namespace = _written(namespace)
        self._timeout = timeout

    def ask(self, request: Callable[[JSONAdapter], _T], what: str) -> _T:
        """Carry out a request that is harmless to repeat, up to three times.

        :param what: the capability and the path, for messages: ``read on secret/data/app``.
        :raises Refusal: 404, which may have a meaning.
        :raises BackendError: everything else that is no success.
        """
        health = functools.cache(self._state)  # asked once, however often the request is tried
        for attempt in stamina.retry_context(
            on=pause, attempts=3, timeout=3 * self._timeout, wait_initial=0.1, wait_max=1.0
        ):
            with attempt:
                return self._with_token(request, what, health, changes=False)
        raise AssertionError("stamina returns or raises")

    def change(self, request: Callable[[JSONAdapter], _T], what: str) -> _T:
        """Carry out a changing request, once; ``OutcomeUnknown`` when it may have been carried out."""
        return self._with_token(request, what, self._state, changes=True)

    def facts(self) -> Mapping[str, str]:
        """Where we are: ``namespace``, ``token_namespace``, ``cluster_name`` and ``cluster_id``; empty where not told.

        ``namespace`` is the one that every request names in its header: there the secrets are, whatever the token's
        own is (it may be one above; a token without that header acts in the root namespace, or not at all).
        ``token_namespace`` is asked by lookup-self; empty where the policy does not allow that. Two requests.
        """
        told = self._public(lambda adapter: adapter.get(f"{_HEALTH}?{_ANY_STATE}"))
        names = {name: str(told.get(name) or "") for name in ("cluster_name", "cluster_id")}
        looked = known(self._tokens.adapter())
        own = "" if looked is None else _written(str(looked.get("namespace_path") or ""))
        return {"namespace": self._namespace, "token_namespace": own, **names}

    def is_endless(self) -> bool:
        """Whether the token has no end, as lookup-self tells; ``False`` where the policy does not allow to ask."""
        looked = known(self._tokens.adapter())
        return looked is not None and looked.get("ttl") == 0 and looked.get("expire_time") is None

    def close(self) -> None:
        """Give back the connections, and the tokens of our own logins, so that runs from cron leave none behind."""
        self._tokens.close()
        self._wire.close()

    def _with_token(
        self, request: Callable[[JSONAdapter], _T], what: str, health: Callable[[], str], *, changes: bool
    ) -> _T:
        adapter = self._tokens.adapter()
        try:
            with translated(what, changes=changes, health=health):
                answer = request(adapter)
        except BackendDenied:
            # An ended token and a missing right look the same (403, before any effect).
            other = self._tokens.instead_of(adapter)
            if other is None:
                raise
            adapter = other
            with translated(what, changes=changes, health=health):
                answer = request(adapter)
        self._tokens.served(adapter)
        return answer

    def _public(self, request: Callable[[JSONAdapter], object]) -> Mapping[str, object]:
        """An endpoint that needs no token, and exists in the root namespace only."""
        adapter = self._wire.adapter(namespace=False)
        for attempt in stamina.retry_context(
            on=pause, attempts=3, timeout=3 * self._timeout, wait_initial=0.1, wait_max=1.0
        ):
            with attempt, translated("read on sys/health", changes=False):
                answer = request(adapter)
                if not isinstance(answer, dict):
                    raise BackendUnavailable("read on sys/health: the answer is not what Vault sends")
                return answer
        raise AssertionError("stamina returns or raises")

    def _state(self) -> str:
        """Which state a 503 is, as ``sys/health`` tells it."""
        try:
            self._wire.adapter(namespace=False).get(_HEALTH)
        except Refusal as refusal:
            return health_state(refusal.status)
        except requests.RequestException:
            return "the server is going down or overloaded"
        return health_state(HTTPStatus.OK)


def _written(namespace: str | None) -> str:
    return (namespace or "").strip("/") or "root"
