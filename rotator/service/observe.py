"""What the service tells an ``Observer`` when nobody observes."""

from __future__ import annotations

from collections.abc import Iterable


class Silent:
    """``ports.Observer`` that keeps nothing."""

    def know(self, policies: Iterable[str]) -> None:
        """See ``Observer``."""

    def called(self, endpoint: str, method: str, result: str, seconds: float) -> None:
        """See ``Observer``."""

    def looked(self, policy: str, result: str, seconds: float, cause: str = "") -> None:
        """See ``Observer``."""

    def alerted(self, policy: str, check: str) -> None:
        """See ``Observer``."""

    def recorded(self, policy: str, kind: str) -> None:
        """See ``Observer``."""

    def notified(self, channel: str, result: str) -> None:
        """See ``Observer``."""


SILENT = Silent()
