"""The text of a scrape: what was counted, what the journal knows, and what the guards know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from rotator import __version__
from rotator.domain.model import Policy
from rotator.entrypoints.heart import Heart
from rotator.entrypoints.http.encrypted import Certificate
from rotator.entrypoints.served import Load, Served
from rotator.metrics.counted import Counted
from rotator.metrics.journal import of_channels, of_journal
from rotator.service.guard import GuardedProvider
from rotator.telemetry import lines_lost


class Scrape(Collector):
    """Everything at ``/metrics``; collected anew each time."""

    def __init__(
        self,
        *,
        application: Callable[[], Served],
        policies: Callable[[], Mapping[str, Policy]],
        load: Callable[[], Load],
        heart: Heart,
        certificate: Callable[[], Certificate | None] = lambda: None,
    ) -> None:
        self._application = application
        self._policies = policies
        self._load = load
        self._heart = heart
        self._certificate = certificate

    def text(self) -> tuple[bytes, str]:
        """It, and its content type."""
        counted = self._application().observer
        if not isinstance(counted, Counted):  # nothing was counted before the journal is open
            return generate_latest(self), CONTENT_TYPE_PLAIN_0_0_4
        return generate_latest(self) + generate_latest(counted.registry), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterable[Metric]:
        """All but what is counted."""
        application, policies = self._application(), dict(self._policies())
        settings, load = application.settings, self._load()
        yield InfoMetricFamily("rotator_build", "What runs.", {"version": __version__, "instance": settings.instance})
        yield GaugeMetricFamily(
            "rotator_heartbeat_timestamp_seconds", "When the schedule was compared last.", value=self._heart.at
        )
        stuck = float(bool(self._heart.trouble()))
        yield GaugeMetricFamily("rotator_stuck", "1 while the service does not get on.", value=stuck)
        yield GaugeMetricFamily(
            "rotator_configuration_refused", "1 while the last configuration read anew was refused.",
            value=float(load.refused),
        )  # fmt: skip
        yield CounterMetricFamily(
            "rotator_log_lines_lost", "Lines of the log that could not be written.", value=lines_lost()
        )
        yield GaugeMetricFamily("rotator_policies", "Policies that are served.", value=len(policies))
        yield GaugeMetricFamily("rotator_looks_running", "Looks of this process under way.", value=load.running)
        yield GaugeMetricFamily("rotator_queue_length", "Policies that are due and wait.", value=load.queued)
        yield from _of_guards(application)
        yield from _of_certificate(self._certificate())
        yield from of_channels(application.outbox, settings.notifications)
        yield from of_journal(application.journal, policies, application.clock.now())


def _of_guards(application: Served) -> Iterable[Metric]:
    troubled = GaugeMetricFamily(
        "rotator_endpoint_in_trouble", "1 while revocations, or all calls, are held back.", labels=["endpoint"]
    )
    skews = GaugeMetricFamily(
        "rotator_clock_skew_seconds", "The provider's clock minus ours, as its last answer told.", labels=["endpoint"]
    )
    for endpoint, guard in application.guards().items():
        troubled.add_metric([endpoint], float(bool(guard.trouble())))
        skew = guard.skew() if isinstance(guard, GuardedProvider) else None
        if skew is not None:
            skews.add_metric([endpoint], skew.total_seconds())
    yield troubled
    yield skews


def _of_certificate(certificate: Certificate | None) -> Iterable[Metric]:
    """Without samples where the listener has none."""
    unusable = GaugeMetricFamily(
        "rotator_certificate_unusable", "1 while the listener's renewed certificate can't be used."
    )
    start = GaugeMetricFamily(
        "rotator_certificate_start_timestamp_seconds", "From when the listener's certificate is valid."
    )
    expiry = GaugeMetricFamily("rotator_certificate_expiry_timestamp_seconds", "When the listener's certificate ends.")
    if certificate is not None:
        unusable.add_metric([], float(bool(certificate.trouble)))
        if (validity := certificate.validity) is not None:
            start.add_metric([], validity.start.timestamp())
            expiry.add_metric([], validity.end.timestamp())
    return unusable, start, expiry
