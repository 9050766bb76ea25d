"""Hosts as a URL names them, and places to listen at."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_LAST_PORT = 65535
_BRACKETED = 6
_VISIBLE = re.compile(r"[!-~]+")
_USUAL = {"http": 80, "https": 443}


EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened at
"""Addresses that are all of this machine's, and the one by which it reaches itself then."""


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(text: str) -> tuple[str, int] | None:
    """Address and port of ``127.0.0.1:9464``, ``[::1]:9464`` or ``localhost:9464``; ``None`` for anything else."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and len(port) <= len("65535") and int(port) <= _LAST_PORT):
        return None
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare == "localhost" and bare == host:
        return host, int(port)
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    # An IPv6 address stands in brackets, as in a URL: else its last group could be meant as the port.
    return (bare, int(port)) if (address.version == _BRACKETED) == (bare != host) else None


def wrong_with(url: str, *, plain_http: bool = False) -> str:
    """What is allowed, where a URL is not; empty where it is."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    # urlsplit() drops line ends and tabs, which an HTTP library refuses later.
    strange = not _VISIBLE.fullmatch(url) or "@" in parts.netloc or parts.query or parts.fragment
    if parts.scheme not in _USUAL or not parts.hostname or strange:
        return "allowed: an https URL, without user, query and fragment"
    if parts.scheme == "http" and not plain_http and not is_loopback(parts.hostname):
        return "allowed: https (plain http only to this machine)"
    return ""


def origin_of(url: str) -> str | None:
    """Of a good URL, as browsers write it in their headers: without the usual port; ``None`` where it has a path."""
    parts = urlsplit(url)
    if parts.path not in {"", "/"}:
        return None
    host = parts.hostname or ""  # in lower case
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        host = f"[{address}]" if address.version == _BRACKETED else str(address)
    port = "" if parts.port in {None, _USUAL[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"
