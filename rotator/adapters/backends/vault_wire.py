"""The connections to one Vault or OpenBao cluster: TLS, proxy, and the one redirect that is followed.

hvac builds the requests. Its adapter is narrowed in four ways:

- **Redirects.** requests drops ``Authorization`` when the host changes, but not ``X-Vault-Token``, and a 307 repeats
  the body: a token and a secret could go to another server. A standby that can't forward a request answers 307 with
  the active node's address (Vault documentation, "High availability", "Client redirection"). It is followed, once,
  only when that address is listed in the configuration (``nodes``), by the same scheme, for the very path that was
  asked, and with the same CA, server name and client certificate. It may have forwarded before (see
  ``vault_errors``): a change that is repeated there is a check-and-set, or says the same again. Every other redirect
  is a failure. The certificate alone would not do: one CA often signs for
  many servers. ``sys/leader`` is no better witness than the redirect itself.
- No token is taken from ``VAULT_TOKEN`` or ``~/.vault-token``; a netrc file is not asked.
- A failure is the status alone: hvac's own exceptions carry the answer's body.
- A token is held as ``SecretValue``: its text is in no repr, and the redacting log knows it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
from hvac.adapters import JSONAdapter
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from rotator.adapters.backends.vault_errors import Refusal
from rotator.domain.secret import SecretValue

_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How the server is reached, beside its URL. Verification can't be switched off.

    :param client_cert: PEM file that is shown to the server; read anew for every new connection.
    :param client_key: its key; in the same file where it is not given.
    :param server_name: what is asked for (SNI) and must be in the certificate, instead of the URL's host.
    :param proxy: instead of ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``.
    :param nodes: URLs of the cluster's nodes, to which a standby may send us.
    """

    client_cert: str | None = None
    client_key: str | None = None
    server_name: str | None = None
    proxy: str | None = None
    nodes: tuple[str, ...] = ()


class Wire:
    """Adapters that share one connection pool.

    :param timeout: seconds to connect, and again between two bytes of an answer.
    :param pool_size: connections that are kept; as many as threads use it at a time.
    """

    def __init__(
        self,
        *,
        url: str,
        namespace: str | None,
        ca_file: str | None,
        transport: Transport,
        timeout: float,
        pool_size: int,
    ) -> None:
        self._session = _Session([url, *transport.nodes], transport, pool_size)
        bundles = (ca_file, os.environ.get("REQUESTS_CA_BUNDLE"), os.environ.get("CURL_CA_BUNDLE"))
        self._session.verify = next((bundle for bundle in bundles if bundle), True)
        if transport.client_cert:
            # Always both: a certificate without a key file would ask for a pass phrase at the terminal.
            self._session.cert = (transport.client_cert, transport.client_key or transport.client_cert)
        self._url = url
        self._namespace = namespace
        self.timeout = timeout

    def adapter(self, token: SecretValue | None = None, *, namespace: bool = True) -> Adapter:
        """What hvac's classes send through; without a token for logins.

        :param namespace: name the configured namespace; a few endpoints exist in the root namespace only.
        """
        return Adapter(
            base_uri=self._url,
            token=token,
            session=self._session,
            namespace=self._namespace if namespace else None,
            timeout=self.timeout,
            allow_redirects=False,
        )

    def close(self) -> None:
        """Give back the connections."""
        self._session.close()


class Adapter(JSONAdapter):  # type: ignore[misc] # hvac ships no types
    """Sends with one token, which never changes."""

    @property
    def token(self) -> str | None:
        """For hvac alone, in the line that sends it."""
        return self.secret.reveal() if self.secret else None

    @token.setter
    def token(self, secret: SecretValue | None) -> None:
        self.secret = secret

    def request(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- hvac's own signature
        """See hvac; a redirect that was not followed is a ``Refusal``."""
        answer = super().request(*args, **kwargs)
        if isinstance(answer, requests.Response) and answer.is_redirect:
            raise Refusal(answer.status_code)
        return answer

    def _raise_for_error(self, method: str, url: str, response: requests.Response) -> None:  # noqa: ARG002 -- hvac's
        raise Refusal(
            response.status_code,
            _json_object(response),
            retry_after=_seconds(response.headers.get("Retry-After", "")),
        )


class NamedServer(HTTPAdapter):
    """Asks for another server name than the URL's host, where one is given."""

    def __init__(self, server_name: str | None, *, hosts: int, connections: int) -> None:
        self._server_name = server_name
        super().__init__(pool_connections=hosts, pool_maxsize=connections, max_retries=0)

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: Any,  # noqa: ANN401 -- requests' own signature
        cert: Any = None,  # noqa: ANN401
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        if self._server_name and host["scheme"] == "https":
            tls |= {"server_hostname": self._server_name, "assert_hostname": self._server_name}
        return host, tls


class _Session(requests.Session):
    """Sends to one cluster with settings that never change.

    requests merges settings, copies cookies and plans a redirect anew for every request; that is most of what it costs.
    What it would look up in the environment for every single request is looked up once.
    """

    def __init__(self, urls: list[str], transport: Transport, pool_size: int) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, NamedServer(transport.server_name, hosts=len(urls), connections=pool_size))
        self.trust_env = False
        explicit = {"https": transport.proxy, "http": transport.proxy} if transport.proxy else None
        self._proxies = {_origin(urlsplit(url)): explicit or dict(get_environ_proxies(url)) for url in urls}

    def request(  # type: ignore[override] # the part that hvac uses
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        allow_redirects: bool,
        json: Any = None,  # noqa: ANN401 -- whatever JSON can say
        params: Mapping[str, str] | None = None,
        **sending: Any,  # noqa: ANN401 -- timeout, verify and cert, as HTTPAdapter.send() has them
    ) -> requests.Response:
        assert not allow_redirects, "a token and a secret would go wherever an answer says"
        asked = requests.Request(
            method, url, headers={**self.headers, **headers}, json=json, params=params, cookies=self.cookies
        )
        answer = self._once(asked, sending)
        if answer.status_code == requests.codes.temporary_redirect and (active := self._active(answer)):
            asked.url, asked.params = active, {}
            answer = self._once(asked, sending)
        return answer

    def _once(self, asked: requests.Request, sending: Mapping[str, Any]) -> requests.Response:
        url = str(asked.url)
        proxies = self._proxies[_origin(urlsplit(url))]
        answer = self.get_adapter(url).send(asked.prepare(), **{**sending, "proxies": proxies})
        _ = answer.content  # read to its end, which gives the connection back
        self.cookies.update(answer.cookies)
        return answer

    def _active(self, answer: requests.Response) -> str | None:
        """Where the answer sends us, if we may go there; see the module."""
        asked = urlsplit(answer.url)
        try:
            target = urljoin(answer.url, answer.headers.get("Location", ""))
            parts = urlsplit(target)
            known = _origin(parts) in self._proxies
        except ValueError:
            return None
        same = (parts.scheme, unquote(parts.path), parts.query) == (asked.scheme, unquote(asked.path), asked.query)
        return target if known and same and "@" not in parts.netloc and not parts.fragment else None


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def _json_object(response: requests.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _seconds(text: str) -> float | None:
    """``Retry-After``; Vault and OpenBao send seconds, a date of some proxy's is not believed."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < len("1000000") else None
