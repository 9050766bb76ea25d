"""What happens in this process, counted. A restart begins at zero, as Prometheus expects of counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

_REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LOOK_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)

_ENDS = {"GraceStarted": "published", "RotationAbandoned": "abandoned", "RolledBack": "rolled_back"}
"""How a rotation ended, by the event that says so."""

_BEGINS = {"RotationIntended": "issuing", "KeyIssued": "verifying", "KeyVerified": "publishing"}
"""What a rotation is at after which event: creating the key, verifying it, publishing it; then see ``_ENDS``."""

_FOLLOWS = {"RotationIntended": "", "KeyIssued": "issuing", "KeyVerified": "verifying", "GraceStarted": "publishing"}
"""What a rotation was at before an event; otherwise another process did what was between. It may end at any."""

_PHASE_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600)


class Counted:
    """``ports.Observer`` that counts into ``registry``.

    Labels are names of the configuration, of checks and of the ports' methods and errors: as many as there are.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        own = self.registry
        self._begun = Counter("rotator_rotations_started_total", "Rotations that were begun.", ["policy"], registry=own)
        self._ended = Counter(
            "rotator_rotations_total", "Rotations that ended: published, abandoned, rolled_back.",
            ["policy", "outcome"], registry=own,
        )  # fmt: skip
        self._revoked = Counter(
            "rotator_revocations_total", "Keys whose revocation was confirmed.", ["policy"], registry=own
        )
        self._extended = Counter(
            "rotator_grace_extensions_total", "Graces that were extended because the old key was in use.",
            ["policy"], registry=own,
        )  # fmt: skip
        self._looks = Counter(
            "rotator_looks_total", "Looks at policies: ok, failed, busy, stopped.", ["policy", "result"], registry=own
        )
        self._alerts = Counter(
            "rotator_alerts_total", "Alerts by the check that raised them.", ["policy", "check"], registry=own
        )
        self._look_time = Histogram(
            "rotator_look_duration_seconds", "How long a look took.", ["result"], buckets=_LOOK_SECONDS, registry=own
        )
        self._requests = Counter(
            "rotator_requests_total", "Calls of providers and backends: ok, or the error's name.",
            ["endpoint", "method", "result"], registry=own,
        )  # fmt: skip
        self._request_time = Histogram(
            "rotator_request_duration_seconds", "How long a call took, with its own retries.",
            ["endpoint", "method"], buckets=_REQUEST_SECONDS, registry=own,
        )  # fmt: skip
        self._deferred = Counter(
            "rotator_deferrals_total", "Rotations that were due, and left for later: by the budget or a canary.",
            ["policy"], registry=own,
        )  # fmt: skip
        self._retries = Counter(
            "rotator_retries_total", "Looks that failed and are tried again, by the error or check.",
            ["cause"], registry=own,
        )  # fmt: skip
        self._phase_time = Histogram(
            "rotator_phase_duration_seconds", "How long a rotation was in a phase that this process saw whole.",
            ["phase"], buckets=_PHASE_SECONDS, registry=own,
        )  # fmt: skip
        self._phases: dict[str, tuple[str, float]] = {}  # by policy: its rotation's phase, and since when
        self._notified = Counter(
            "rotator_notifications_total", "Notifications: sent, failed (and tried again), left_out (by a limit).",
            ["channel", "result"], registry=own,
        )  # fmt: skip

    def know(self, policies: Iterable[str]) -> None:
        """See ``Observer``: what has not happened yet begins at zero, before anything happens.

        Prometheus sees no increase in a counter that begins at one.
        """
        for policy in policies:
            for counter in (self._begun, self._revoked, self._extended, self._deferred):
                counter.labels(policy)
            for outcome in _ENDS.values():
                self._ended.labels(policy, outcome)

    def called(self, endpoint: str, method: str, result: str, seconds: float) -> None:
        """See ``Observer``."""
        self._requests.labels(endpoint, method, result).inc()
        self._request_time.labels(endpoint, method).observe(seconds)

    def looked(self, policy: str, result: str, seconds: float, cause: str = "") -> None:
        """See ``Observer``."""
        self._looks.labels(policy, result).inc()
        self._look_time.labels(result).observe(seconds)
        if cause:
            self._retries.labels(cause).inc()

    def alerted(self, policy: str, check: str) -> None:
        """See ``Observer``."""
        self._alerts.labels(policy, check).inc()
        if check == "Deferred":
            self._deferred.labels(policy).inc()

    def notified(self, channel: str, result: str) -> None:
        """See ``Observer``."""
        self._notified.labels(channel, result).inc()

    def recorded(self, policy: str, kind: str) -> None:
        """See ``Observer``."""
        self._time_phase(policy, kind)
        if kind in _ENDS:
            self._ended.labels(policy, _ENDS[kind]).inc()
        elif kind == "RotationIntended":
            self._begun.labels(policy).inc()
        elif kind == "KeyRevoked":
            self._revoked.labels(policy).inc()
        elif kind == "GraceExtended":
            self._extended.labels(policy).inc()

    def _time_phase(self, policy: str, kind: str) -> None:
        """One thread at a time tells of a policy: the one that has its lease."""
        if kind not in _BEGINS and kind not in _ENDS:
            return
        now, before = self._monotonic(), self._phases.pop(policy, None)
        if before is not None and _FOLLOWS.get(kind, before[0]) == before[0]:
            phase, since = before
            self._phase_time.labels(phase).observe(now - since)
        if kind in _BEGINS:
            self._phases[policy] = (_BEGINS[kind], now)
