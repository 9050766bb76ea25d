"""The listener for a running service."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial

import structlog

from rotator.config import BackendRef, HttpSettings, SecretRef, resolve
from rotator.domain.model import Policy
from rotator.domain.secret import SecretValue
from rotator.entrypoints.heart import Heart
from rotator.entrypoints.http.encrypted import Certificate
from rotator.entrypoints.http.handing import Handing
from rotator.entrypoints.http.overview import Overview
from rotator.entrypoints.http.pages import Pages
from rotator.entrypoints.http.ready import Readiness
from rotator.entrypoints.http.scrape import Scrape
from rotator.entrypoints.http.server import Listener
from rotator.entrypoints.served import InForce, Load, Served


def listen(
    settings: HttpSettings,
    *,
    served: Callable[[], Served],
    policies: Callable[[], Mapping[str, Policy]],
    used: Callable[[], AbstractContextManager[InForce]],
    load: Callable[[], Load],
    heart: Heart,
) -> Listener:
    """Listen and answer from now on. Raises ``ListenFailed``."""
    handing = Handing(used=used, url=settings.url, encrypted=settings.tls is not None) if settings.takes_keys else None

    def certificate() -> Certificate | None:
        return listener.certificate

    ready = Readiness(
        application=served, policies=policies, door=lambda: found.trouble if (found := certificate()) else ""
    )
    pages = Pages(
        alive=heart.trouble,
        ready=ready,
        token=partial(_token, settings.token) if settings.token else None,
        metrics=Scrape(application=served, policies=policies, load=load, heart=heart, certificate=certificate).text,
        overview=Overview(application=served, alive=heart.trouble),
        handing=handing,
    )
    listener = Listener(settings, pages, handing.ended.wait_told if handing else None)
    listener.start()
    structlog.get_logger().info("http.listening", host=settings.host, port=listener.port)
    return listener


def _token(ref: SecretRef) -> SecretValue:
    assert not isinstance(ref, BackendRef), "the configuration allows none"
    return resolve(ref, os.environ)
