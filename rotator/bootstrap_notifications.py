"""The closed table of channels, and a sender for each. Their libraries are imported where one sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from rotator import process
from rotator.bootstrap import Application
from rotator.config import AppriseSettings, BackendRef, ChannelSettings, SecretRef, Settings, resolve
from rotator.domain.secret import SecretValue
from rotator.errors import MissingSecret, SendFailed
from rotator.ports_notify import Channel
from rotator.service.notify import Sender
from rotator.telemetry import redact_text


def senders(application: Application, environ: Mapping[str, str]) -> list[Sender]:
    """One for each channel of the configuration."""
    settings = application.settings
    return [
        Sender(
            rules=one.rules,
            make=partial(_channel, one, environ),
            outbox=application.outbox,
            journal=application.journal,
            clock=application.clock,
            policies={policy.name: policy for policy in settings.policies},
            instance=settings.instance,
            holder=process.holder_name(),  # one each: after a reload, the one before may still be at work
            clean=redact_text,
            count=application.observer.notified,
        )
        for one in settings.notifications.values()
    ]


def channels(settings: Settings, environ: Mapping[str, str]) -> dict[str, Callable[[], Channel]]:
    """What makes each channel, by its name; raises ``SendFailed`` where a secret is missing."""
    return {name: partial(_channel, one, environ) for name, one in settings.notifications.items()}


def _channel(settings: ChannelSettings, environ: Mapping[str, str]) -> Channel:
    if isinstance(settings, AppriseSettings):
        from rotator.adapters.notifications.apprise import AppriseChannel  # noqa: PLC0415 - see above

        return AppriseChannel(url=_secret(settings.url, environ), timeout=settings.timeout)
    from rotator.adapters.notifications.webhook import WebhookChannel  # noqa: PLC0415 - see above

    return WebhookChannel(url=settings.url, secret=_secret(settings.secret, environ), timeout=settings.timeout)


def _secret(ref: SecretRef, environ: Mapping[str, str]) -> SecretValue:
    assert not isinstance(ref, BackendRef), "the configuration allows none"
    try:
        return resolve(ref, environ)
    except MissingSecret as missing:
        raise SendFailed(f"no credential: {missing}") from None
