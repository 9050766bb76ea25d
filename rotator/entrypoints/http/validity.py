"""From when until when a certificate is valid. The standard library tells that of a peer's certificate alone."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

_WHENEVER = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which Python has no name
_FLIGHTS = 4  # of a handshake: more than any version of TLS needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Both moments are in UTC."""

    start: datetime
    end: datetime


def validity_of(server: ssl.SSLContext, pem: str) -> Validity | None:
    """Of the certificate that a listener shows; ``None`` where that can't be told.

    :param server: the listener's context; a client that trusts just its certificate shakes hands with it, in memory.
    :param pem: the certificate, and perhaps those that it was signed by.
    """
    try:
        certificate = _shown_to(_client(pem), server)
        start, end = (_moment(str(certificate[name])) for name in ("notBefore", "notAfter"))
    except (OSError, ValueError, KeyError, TypeError):  # TypeError: no certificate was shown
        return None
    return Validity(start=start, end=end)


def _client(pem: str) -> ssl.SSLContext:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _WHENEVER
    client.load_verify_locations(cadata=pem)
    return client


def _shown_to(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl._PeerCertRetDictType:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_FLIGHTS):
        for side in (asking, answering):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return asking.getpeercert() or {}


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
