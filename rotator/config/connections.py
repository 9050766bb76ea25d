"""Where a configuration sends something to, and how it is protected on the way. Asks nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from rotator.config.hosts import is_loopback
from rotator.config.settings import (
    AwsSettings,
    BackendSettings,
    HttpHookSettings,
    Settings,
    TogetherSettings,
    VaultSettings,
)
from rotator.domain.audit.surroundings import Connection

_VERIFIED = frozenset({"verify-ca", "verify-full"})
_PLAIN = frozenset({"disable", "allow", "prefer"})
"""``allow`` and ``prefer`` go on without encryption where the server has none (libpq, "SSL Support")."""


def connections(settings: Settings, environ: Mapping[str, str]) -> Iterator[Connection]:
    """Each of them; those of plug-ins are not known."""
    for name, provider in settings.providers.items():
        if isinstance(provider, TogetherSettings):
            yield _to(f"provider {name}", provider.base_url)
    for name, backend in settings.backends.items():
        for url in _urls(backend):
            yield _to(f"backend {name}", url)
    for name, hook in settings.hooks.items():
        if isinstance(hook, HttpHookSettings):
            yield _to(f"hook {name}", hook.url, carries="key ids, and a token" if hook.token else "key ids")
    if settings.http:
        yield Connection(
            name="http",
            address=f"{settings.http.host}:{settings.http.port}",
            loopback=is_loopback(settings.http.host),
            encrypted=settings.http.tls is not None,
            carries="key ids, and the token of its readers",
        )
    if settings.state_url.startswith("postgresql"):
        yield _journal(settings.state_url, environ)


def _urls(backend: BackendSettings) -> tuple[str, ...]:
    if isinstance(backend, VaultSettings):
        return (backend.url, *backend.nodes)  # a proxy only passes on what is encrypted inside
    if isinstance(backend, AwsSettings):
        return tuple(url for url in (backend.endpoint_url, backend.sts_endpoint_url) if url)
    return ()


def _to(name: str, url: str, *, carries: str = "keys") -> Connection:
    parts = urlsplit(url)
    return Connection(
        name=name,
        address=url,
        loopback=is_loopback(parts.hostname or ""),
        encrypted=parts.scheme == "https",
        carries=carries,
    )


def _journal(url: str, environ: Mapping[str, str]) -> Connection:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    hosts = [parts.hostname or "", *(query.get("host") or "").split(","), *(query.get("hostaddr") or "").split(",")]
    given = [host for host in hosts if host]
    mode = query.get("sslmode") or environ.get("PGSSLMODE") or ("require" if "service" in query else "prefer")
    return Connection(
        name="journal",
        address=f"{', '.join(given) or 'a local socket'} (sslmode={mode})",
        loopback=all(host.startswith(("/", "@")) or is_loopback(host) for host in given),
        encrypted=mode not in _PLAIN,
        verified=mode in _VERIFIED,
        carries="the journal, which has no secret, and its password",
    )
