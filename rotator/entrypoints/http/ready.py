"""Whether the service, and one policy, can do their work; from the journal and from what the guards know already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rotator.domain.channel import troubles_of
from rotator.domain.model import Policy
from rotator.entrypoints.served import Served
from rotator.entrypoints.standing import LATE
from rotator.errors import JournalError
from rotator.ports import Look
from rotator.telemetry import log_trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Asked anew each time.

    :param policies: by name, as they are served now.
    :param door: what is wrong with the listener; empty where nothing is.
    """

    application: Callable[[], Served]
    policies: Callable[[], Mapping[str, Policy]]
    door: Callable[[], str] = str

    def problems(self, *, detailed: bool) -> list[str]:
        """Why the service is not ready, a sentence each. Not ``detailed``: without a name or an endpoint's words."""
        application = self.application()
        found = {"the service is stopping": ""} if application.clock.stopping else {}
        try:
            application.journal.looks()
        except JournalError as error:
            found["the journal can't be read"] = str(error)
        for endpoint, trouble in application.troubles().items():
            kind = endpoint.partition(" ")[0]
            if not detailed:
                found[f"a {kind} is in trouble"] = ""
            else:
                found[endpoint] = trouble
        return [f"{what}: {why}" if why and detailed else what for what, why in found.items()]

    def warnings(self) -> list[str]:
        """What fails and keeps no policy from its work: the log, the listener, channels; a sentence each."""
        application = self.application()
        found = [trouble for trouble in (log_trouble(), self.door()) if trouble]
        names = application.settings.notifications
        if names:
            with suppress(JournalError):  # that is a problem, and told as such
                found += troubles_of(names, application.outbox.channels())
        return found

    def policy(self, name: str) -> dict[str, Any] | None:
        """One policy, whether it is ready and why not; ``None`` where it is not served."""
        application = self.application()
        policy = self.policies().get(name)
        if policy is None:
            return None
        try:
            look, record = application.journal.look(name), application.journal.load(name)
        except JournalError as error:
            return {"policy": name, "ready": False, "reason": f"the journal can't be read: {error}"}
        reason = self._reason(application, policy, look)
        current = record.current
        return {
            "policy": name,
            "ready": not reason,
            "reason": reason,
            "hold": record.held(application.clock.now()),
            "phase": record.in_flight.phase if record.in_flight else "",
            "next_look": look.next_at.isoformat() if look else "",
            "key_expires": current.expires_at.isoformat() if current and current.expires_at else "",
        }

    @staticmethod
    def _reason(application: Served, policy: Policy, look: Look | None) -> str:
        if look is None:
            return "it was not looked at yet"
        if look.failures:
            return f"failed {look.failures} times in a row: {look.problem}"
        needed = {f"provider {policy.provider}", *(f"backend {one.backend}" for one in policy.destinations)}
        for endpoint, trouble in application.troubles().items():
            if endpoint in needed:
                return f"{endpoint}: {trouble}"
        if application.clock.now() - look.next_at > LATE:
            return f"it was due at {look.next_at.isoformat()}, and was not looked at"
        return ""
