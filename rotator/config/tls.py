"""The listener's side of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate. Raises ``OSError``: a file is not there, or they are no pair."""

    def no_pass_phrase() -> str:
        return ""  # else the library asks for it on the terminal, and waits

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password=no_pass_phrase)
    return context
