"""From when until when a certificate is valid. The standard library tells that of a peer's certificate alone."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_VERSION, _UTC_TIME, _LONG_FORM = 0xA0, 0x17, 0x80
_BEFORE = 3  # serial number, signature, issuer: RFC 5280, section 4.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Both moments are in UTC."""

    start: datetime
    end: datetime


def validity_of(pem: str) -> Validity | None:
    """Of the first certificate in a text; ``None`` where it can't be read."""
    try:
        _, found, rest = pem.partition(_BEGIN)
        der = ssl.PEM_cert_to_DER_cert(f"{found}{rest.partition(_END)[0]}{_END}")
        (_, certificate), *_ = _parts(der)
        (_, signed), *_ = _parts(certificate)
        fields = [value for kind, value in _parts(signed) if kind != _VERSION]
        start, end = islice(_parts(fields[_BEFORE]), 2)
        return Validity(start=_moment(*start), end=_moment(*end))
    except (ValueError, IndexError):
        return None


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """The elements of a sequence: tag and content."""
    parts, at = [], 0
    while at < len(der):
        kind, length, at = der[at], der[at + 1], at + 2
        if length & _LONG_FORM:
            digits = length & ~_LONG_FORM
            length, at = int.from_bytes(der[at : at + digits], "big"), at + digits
        parts.append((kind, der[at : at + length]))
        at += length
    return parts


def _moment(kind: int, text: bytes) -> datetime:
    """RFC 5280, section 4.1.2.5: two digits of a year mean 1950 to 2049."""
    said = text.decode("ascii")
    if kind == _UTC_TIME:
        said = ("19" if said >= "5" else "20") + said
    return datetime.strptime(said, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
