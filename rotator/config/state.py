"""Where the journal is: a SQLite file, or a PostgreSQL database without its password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from rotator.config.check import Faults, shown
from rotator.config.hosts import is_loopback
from rotator.config.secrets import holds_secret
from rotator.config.source import FieldPath

DEFAULT_STATE_DIRECTORY = "/var/lib/rotator"

_URL: FieldPath = ("state", "url")
_ALLOWED = (
    "allowed: sqlite:////absolute/path, sqlite:///relative or postgresql+psycopg://USER@HOST/DATABASE?sslmode=..."
)
_ELSEWHERE = (
    "allowed: state.password as a reference, or what libpq reads by itself (PGPASSFILE, PGSERVICEFILE); "
    "never the secret itself"
)
_POSTGRESQL = {"postgresql", "postgresql+psycopg"}
_PRIVATE = {"password", "sslpassword"}
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_CONNECTION = (
    "application_name", "channel_binding", "connect_timeout", "gssdelegation", "gssencmode", "gsslib", "host",
    "hostaddr", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname",
    "load_balance_hosts", "options", "passfile", "port", "require_auth", "requirepeer", "service",
    "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert", "sslcertmode", "sslcrl", "sslcrldir", "sslkey",
    "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs", "tcp_user_timeout",
)  # fmt: skip
"""What may stand in the query. Source: PostgreSQL 18, "Parameter Key Words" (32.1.2); the rest of them is not ours."""
_VISIBLE = re.compile(r"[!-~]+")


def default_url(environ: Mapping[str, str]) -> str:
    """Where systemd says that state belongs. Source: systemd.exec(5), StateDirectory=."""
    folder = environ.get("STATE_DIRECTORY", "").split(":")[0] or DEFAULT_STATE_DIRECTORY
    return f"sqlite:///{folder}/state.db"


def is_postgresql(url: str) -> bool:
    """Whether it is meant for PostgreSQL, right or wrong."""
    return url.partition(":")[0].startswith("postgres")


def sqlite_url(url: str, folder: Path, faults: Faults) -> str:
    """A SQLite URL with an absolute path; what is wrong goes to ``faults``."""
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite" or not rest.startswith("/") or rest.strip("/") == "":
        faults.add(_URL, shown(url), _ALLOWED)
    elif not rest.startswith("//"):
        return f"sqlite:///{folder / rest.removeprefix('/')}"
    return url


def postgresql_url(url: str, environ: Mapping[str, str], faults: Faults) -> str:
    """A PostgreSQL URL for our driver; what is wrong goes to ``faults``."""
    if holds_secret(url):
        return url  # reported as such, with all others in the file
    try:
        parts = urlsplit(url)
        _ = parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        faults.add(_URL, "a URL that can't be read", _ALLOWED)
        return url
    names = {name for name, _ in query}
    if parts.password is not None or ":" in unquote(parts.username or "") or names & _PRIVATE:
        faults.add(_URL, "a password in the URL", _ELSEWHERE)
    elif unknown := sorted(names.difference(_CONNECTION)):
        faults.add(_URL, f"an unknown parameter {shown(unknown[0])}", f"allowed: {', '.join(_CONNECTION)}")
    elif parts.scheme not in _POSTGRESQL or not _is_plain(parts, url):
        faults.add(_URL, "a PostgreSQL URL of another form", _ALLOWED)
    else:
        _check_transport(parts, query, environ, faults)
    return f"postgresql+psycopg://{url.partition('://')[2]}"


def _is_plain(parts: SplitResult, url: str) -> bool:
    """User, host, port, one name of a database; and nothing that one library reads in another way than the next."""
    if not _VISIBLE.fullmatch(url) or "://" not in url or parts.netloc.count("@") > 1:
        return False
    return re.fullmatch(r"(/[^/@]*)?", parts.path) is not None and not parts.fragment and "," not in parts.netloc


def _check_transport(
    parts: SplitResult, query: list[tuple[str, str]], environ: Mapping[str, str], faults: Faults
) -> None:
    """Over a network, somebody has decided how the connection is protected: libpq's default checks no server."""
    modes = [text for name, text in query if name == "sslmode"]
    if any(mode not in _MODES for mode in modes) or len(modes) > 1:
        faults.add(_URL, "an unknown sslmode", f"allowed: {', '.join(_MODES)}")
        return
    given = {name for name, _ in query}
    decided = modes or "service" in given or environ.get("PGSSLMODE") or environ.get("PGSERVICE")
    hosts = [parts.hostname or ""]
    hosts += [host for name, text in query if name in {"host", "hostaddr"} for host in text.split(",")]
    if not decided and not all(_is_local(host) for host in hosts):
        faults.add(_URL, "a host on a network, without sslmode", "allowed: with ?sslmode=verify-full (or another)")


def _is_local(host: str) -> bool:
    return not host or host.startswith(("/", "@")) or is_loopback(host.rpartition(":")[0] or host) or is_loopback(host)
