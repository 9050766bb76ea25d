"""Hosts as a URL names them, and places to listen at."""

from __future__ import annotations

import ipaddress

_LAST_PORT = 65535
_BRACKETED = 6


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
