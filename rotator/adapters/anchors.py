"""Where heads of the journal's chain are written down: a file that only grows, an HTTP endpoint."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rotator import __version__
from rotator.domain.secret import SecretValue
from rotator.errors import AnchorFailed, MissingSecret

_SECONDS = 10.0
"""For each step of the exchange."""


@dataclass(frozen=True, slots=True)
class AnchorFile:
    """Opened for appending alone, so that it can be a file that nobody can change (``chattr +a``)."""

    path: Path

    def put(self, line: str) -> None:
        """See ``ledger.AnchorPlace``. The line is on disk when it returns."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(descriptor, f"{line}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise AnchorFailed(f"{self.path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class AnchorEndpoint:
    """One POST; redirects are not followed, and nothing of an answer but its status is read.

    :param token: sent as ``Authorization: Bearer``; read anew for each.
    """

    url: str = field(repr=False)
    token: Callable[[], SecretValue | None]

    def put(self, line: str) -> None:
        """See ``ledger.AnchorPlace``."""
        import httpx  # noqa: PLC0415 - start-up is measured, and few need it

        try:
            token = self.token()
        except MissingSecret as error:
            raise AnchorFailed(f"no credential: {error}") from None
        headers = {"User-Agent": f"rotator/{__version__}", "Content-Type": "application/json"}
        if token is not None:
            if not token.is_header_safe():
                raise AnchorFailed("its token can't be sent in a header")
            headers["Authorization"] = f"Bearer {token.reveal()}"
        try:
            with (
                httpx.Client(timeout=_SECONDS, follow_redirects=False, headers=headers) as client,
                client.stream("POST", self.url, content=line) as response,
            ):
                status = response.status_code
        except Exception as error:  # noqa: BLE001 - an exception of the library would hold the token
            raise AnchorFailed(f"the endpoint gives no answer ({type(error).__name__})") from None
        if not httpx.codes.is_success(status):
            raise AnchorFailed(f"the endpoint answered with {status}")
