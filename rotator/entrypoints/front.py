"""The HTTP listener of the service, from its first moment: before there is a journal, and then with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from rotator.clock import SystemClock
from rotator.config import HttpSettings, Settings
from rotator.domain.model import Policy
from rotator.entrypoints.heart import Heart
from rotator.entrypoints.served import Closed, InForce, Load, Served, Unopened, Waiting

if TYPE_CHECKING:
    from rotator.entrypoints.http.server import Listener


class Front:
    """Answers from whatever is served now; see ``wait`` and ``serve``.

    :ivar heart: beaten by whoever is at work.
    :ivar refused: why an older configuration than the one that was read last is in force; empty where none was refused.
    """

    def __init__(self, clock: SystemClock) -> None:
        self.heart = Heart()
        self.refused = ""
        self._clock = clock
        self._closed = Closed()
        self._served: Callable[[], Served] | None = None
        self._policies: Callable[[], Mapping[str, Policy]] = dict
        self._used: Callable[[], AbstractContextManager[InForce]] | None = None
        self._load: Callable[[], Load] = Load
        self._settings: HttpSettings | None = None
        self._listener: Listener | None = None

    def wait(self, settings: Settings) -> None:
        """Listen as these settings say, and tell that the journal is not open yet. Raises ``ListenFailed``."""
        waiting = Unopened(settings=settings, clock=self._clock, journal=self._closed)
        policies = {policy.name: policy for policy in settings.policies}
        self._served, self._policies = lambda: waiting, lambda: policies
        self._used = lambda: nullcontext(Waiting(application=waiting, policies=policies))
        self._listen(settings.http)

    def failed(self, reason: str) -> None:
        """Why the journal could not be opened, at the last try."""
        self._closed.reason = reason

    def serve(
        self,
        served: Callable[[], Served],
        policies: Callable[[], Mapping[str, Policy]],
        used: Callable[[], AbstractContextManager[InForce]],
        load: Callable[[], Load] = Load,
    ) -> None:
        """Answer from these from now on; they are asked at each request. Raises ``ListenFailed``.

        :param used: around a handover: what it began with is not closed before its end.
        """
        self._served, self._policies, self._used, self._load = served, policies, used, load
        self._listen(served().settings.http)

    def wait_told(self) -> None:
        """Until whoever handed something over a moment ago knows how that ended; a few seconds at most."""
        if self._listener is not None:
            self._listener.wait_told()

    def stop(self) -> None:
        """Take no more requests; what is being answered is."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = self._settings = None

    def _listen(self, settings: HttpSettings | None) -> None:
        if settings == self._settings:
            return
        self.stop()
        if settings is None:
            return
        from rotator.entrypoints.http.start import listen  # noqa: PLC0415 - few ask for it, and start-up is measured

        self._listener = listen(
            settings,
            served=self._now,
            policies=self._policies_now,
            used=self._used_now,
            load=self._load_now,
            heart=self.heart,
        )
        self._settings = settings

    def _now(self) -> Served:
        assert self._served is not None, "nothing listens before"
        return self._served()

    def _policies_now(self) -> Mapping[str, Policy]:
        return self._policies()

    def _used_now(self) -> AbstractContextManager[InForce]:
        assert self._used is not None, "nothing listens before"
        return self._used()

    def _load_now(self) -> Load:
        return replace(self._load(), refused=bool(self.refused))
