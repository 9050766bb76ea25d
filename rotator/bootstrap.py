"""The only place where adapters are chosen and wired. Each is made when it is first needed, and once."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import stamina.instrumentation

from rotator import process
from rotator.adapters.journal.sql import SqlJournal
from rotator.bootstrap_hooks import hook_runner
from rotator.bootstrap_lazy import Lazy
from rotator.bootstrap_upkeep import upkeep
from rotator.clock import SystemClock
from rotator.config import (
    AwsSettings,
    BackendRef,
    BackendSettings,
    DotenvSettings,
    LimitsSettings,
    PluggedBackendSettings,
    PluggedProviderSettings,
    SecretRef,
    Settings,
    TogetherSettings,
    VaultSettings,
    references,
    resolve,
)
from rotator.domain.secret import SecretValue
from rotator.errors import BackendUnavailable, MissingSecret, ProviderUnavailable, WrongDestination
from rotator.ledger import History
from rotator.plugins import Context
from rotator.ports import Clock, Journal, KeyProvider, Observer, SecretBackend
from rotator.ports_notify import Outbox
from rotator.service.assembly import assemble
from rotator.service.budget import Budget
from rotator.service.desk import Desk
from rotator.service.guard import DEFAULT, NEVER, GuardedBackend, GuardedProvider, Limits, Wishes
from rotator.service.observe import SILENT
from rotator.service.reconcile import Reconciler
from rotator.service.session import RetiredSecrets
from rotator.service.upkeep import Upkeep

SERVICE_RUN = timedelta(hours=1)
"""What ``max_rotations_per_run`` means for a service, which has no end: a sliding hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lasting:
    """What outlives a change of the configuration, once for each process."""

    environ: Mapping[str, str]
    journal: SqlJournal
    outbox: Outbox
    clock: SystemClock
    retired: RetiredSecrets
    observer: Observer
    holder: str
    budget: Budget
    wishes: Wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Everything that an entry point needs, for one configuration."""

    settings: Settings
    journal: Journal
    outbox: Outbox
    clock: SystemClock
    reconciler: Reconciler
    desk: Desk
    observer: Observer
    history: History
    upkeep: Upkeep
    _adapters: tuple[Lazy[KeyProvider], Lazy[SecretBackend]]
    _lasting: _Lasting

    def rewired(self, settings: Settings) -> Application:
        """The same process with another configuration: it shares the journal, and has every adapter for itself.

        :param settings: with the same journal, instance and number of workers.
        """
        return _wire(settings, self._lasting)

    def adapters(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """What makes each adapter, by its name; without those whose credential is in a backend, which may hang."""
        providers, backends = self._adapters
        for name in self.settings.backends:
            yield f"backend {name}", partial(backends, name)
        for name, one in self.settings.providers.items():
            given = one.given if isinstance(one, PluggedProviderSettings) else one.management_key
            if not any(isinstance(ref, BackendRef) for ref in references(given)):
                yield f"provider {name}", partial(providers, name)

    @property
    def endpoints(self) -> tuple[Lazy[KeyProvider], Lazy[SecretBackend]]:
        """What makes providers and backends by their names, for an audit."""
        return self._adapters

    def close_adapters(self) -> None:
        """Give back the connections of this configuration. No look may use it any more."""
        for adapters in self._adapters:
            adapters.close()

    def troubles(self) -> dict[str, str]:
        """What is wrong with which endpoint (``provider together``), as its guard knows; without those that are well.

        Asks nobody. An endpoint that no look needed yet is not there.
        """
        found = {}
        for endpoint, guard in self.guards().items():
            if trouble := guard.trouble():
                found[endpoint] = trouble
        return found

    def guards(self) -> dict[str, GuardedProvider | GuardedBackend]:
        """The endpoints that were needed so far: ``provider together``, ``backend vault``."""
        providers, backends = self._adapters
        named: list[tuple[str, object]] = [(f"provider {name}", one) for name, one in providers.made()]
        named += [(f"backend {name}", one) for name, one in backends.made()]
        return {name: one for name, one in named if isinstance(one, GuardedProvider | GuardedBackend)}

    def close(self) -> None:
        """Give back every connection and file."""
        self.close_adapters()
        self.journal.close()


@contextmanager
def application(
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    *,
    read_only: bool = False,
    must_exist: bool = False,
    service: bool = False,
    who: str = "",
    clock: SystemClock | None = None,
    observer: Observer | None = None,
) -> Iterator[Application]:
    """The wired application, closed at the end.

    :param read_only: open the journal for reading alone: for a dry run.
    :param must_exist: with ``read_only``: a journal that is missing or empty is an error, and not one without a past.
    :param service: it runs until it is stopped: its budget is for each hour.
    :param who: on whose behalf it records, beside this host's name; see ``domain.chain.Entry``.
    :param observer: one that counts where the service is asked over HTTP, unless it is given.
    :param clock: the system's where it is not given; a rehearsal brings one that it can drive.
    :raises JournalUnavailable: when the journal can't be opened.
    """
    process.forbid_core_dumps()
    # Its own hook logs each retry with the call's arguments; ours are secrets, and a retry that helps is no news.
    stamina.instrumentation.set_on_retry_hooks(())
    clock = clock or SystemClock()
    who = process.on_this_host("service" if service else who)
    journal = _journal(settings, environ, read_only=read_only, must_exist=must_exist, who=who)
    begun = clock.now()
    wired = _wire(
        settings,
        _Lasting(
            environ=environ,
            journal=journal,
            outbox=journal.outbox(),
            clock=clock,
            retired=RetiredSecrets(),
            observer=observer or _observer(settings, service=service),
            holder=process.holder_name(),
            budget=Budget(
                most=settings.service.max_rotations_per_run,
                begins_at=(lambda now: now - SERVICE_RUN) if service else (lambda _now: begun),
                journal=journal,
                policies=settings.policies,
            ),
            wishes=Wishes(clock),
        ),
    )
    try:
        yield wired
    finally:
        wired.close()


def _wire(settings: Settings, lasting: _Lasting) -> Application:
    journal, clock, environ, retired = lasting.journal, lasting.clock, lasting.environ, lasting.retired
    observer = lasting.observer
    providers, backends = _endpoints(settings, environ, clock, observer, lasting.wishes)
    assembled = assemble(
        providers=providers,
        backends=backends,
        journal=journal,
        policies=settings.policies,
        # Its reservations stay: a look of the configuration before may be about to begin a rotation.
        budget=replace(lasting.budget, most=settings.service.max_rotations_per_run, policies=settings.policies),
        runner=hook_runner(settings, environ),
        retired=retired,
        clock=clock,
        holder=lasting.holder,
        lease_ttl=settings.service.lease,
        draw=random.SystemRandom().random,
        observer=observer,
    )
    return Application(
        settings=settings,
        journal=journal,
        outbox=lasting.outbox,
        clock=clock,
        reconciler=assembled.reconciler,
        desk=assembled.desk,
        observer=observer,
        history=journal.history,
        upkeep=upkeep(settings, journal.history, environ),
        _adapters=(providers, backends),
        _lasting=lasting,
    )


def _endpoints(
    settings: Settings,
    environ: Mapping[str, str],
    clock: Clock,
    observer: Observer,
    wishes: Wishes,
    *,
    asks_only: bool = False,
) -> tuple[Lazy[KeyProvider], Lazy[SecretBackend]]:
    backends: Lazy[SecretBackend] = Lazy(partial(_guarded_backend, settings, clock, environ, observer, wishes=wishes))
    secret = partial(_secret, environ=environ, backends=backends)
    make = partial(_guarded_provider, settings, clock, secret, observer, wishes=wishes, asks_only=asks_only)
    return Lazy(make), backends


@contextmanager
def endpoints(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[Callable[[str], KeyProvider], Callable[[str], SecretBackend]]]:
    """Providers and backends by name, without any journal: for an inventory, which only reads.

    A management key is not even read: whoami is asked with the key that is asked about.
    """
    process.forbid_core_dumps()
    stamina.instrumentation.set_on_retry_hooks(())  # see ``application``
    clock = SystemClock()
    made = _endpoints(settings, environ, clock, SILENT, Wishes(clock), asks_only=True)
    try:
        yield made
    finally:
        for adapters in made:
            adapters.close()


def _observer(settings: Settings, *, service: bool) -> Observer:
    if not service or settings.http is None:
        return SILENT
    from rotator.metrics.counted import Counted  # noqa: PLC0415 - see _backend

    return Counted()


def _journal(
    settings: Settings, environ: Mapping[str, str], *, read_only: bool, must_exist: bool, who: str
) -> SqlJournal:
    ref = settings.state_password
    password = partial(_secret, ref, environ=environ, backends=None) if ref else None
    if read_only:
        return SqlJournal.open_read_only(settings.state_url, password=password, must_exist=must_exist)
    pool_size = settings.service.workers + 2
    return SqlJournal.open(settings.state_url, is_dead=process.is_dead, who=who, pool_size=pool_size, password=password)


def _guarded_backend(
    settings: Settings, clock: Clock, environ: Mapping[str, str], observer: Observer, name: str, *, wishes: Wishes
) -> SecretBackend:
    one = settings.backends[name]
    limits = _limits(one.limits, settings)
    secret = partial(_secret, environ=environ, backends=None)
    # Each file is an endpoint of its own: one that is locked or on a full disk is no reason to leave the others alone.
    alone = isinstance(one, DotenvSettings)
    with _credentials(f"backend {name}", BackendUnavailable):
        if isinstance(one, PluggedBackendSettings):
            from rotator.adapters.plugged import PluggedBackend  # noqa: PLC0415 - see _backend

            alone = not one.plugin.one_endpoint
            context = Context(name=name, connections=limits.concurrency, now=clock.now)
            backend: SecretBackend = PluggedBackend(one.type, lambda: one.plugin.make(one.resolved(secret), context))
        else:
            backend = _backend(one, secret, limits.concurrency, clock)
    thresholds = NEVER if alone else DEFAULT
    wish = wishes.of(f"backend {name}", one)
    return GuardedBackend(
        backend, name=name, clock=clock, limits=limits, thresholds=thresholds, wish=wish, observer=observer
    )


def _guarded_provider(
    settings: Settings,
    clock: Clock,
    secret: Callable[[SecretRef], SecretValue],
    observer: Observer,
    name: str,
    *,
    wishes: Wishes,
    asks_only: bool,
) -> KeyProvider:
    one = settings.providers[name]
    limits = _limits(one.limits, settings)
    with _credentials(f"provider {name}", ProviderUnavailable):
        if isinstance(one, PluggedProviderSettings):
            from rotator.adapters.plugged import PluggedProvider  # noqa: PLC0415 - see _backend

            context = Context(name=name, connections=limits.concurrency, now=clock.now)
            provider: KeyProvider = PluggedProvider(one.type, lambda: one.plugin.make(one.resolved(secret), context))
        else:
            unread = SecretValue("not-read")
            known = (lambda _ref: unread) if asks_only else secret
            provider = _together(one, known, limits.concurrency, clock, name)
    wish = wishes.of(f"provider {name}", one)
    return GuardedProvider(provider, name=name, clock=clock, limits=limits, wish=wish, observer=observer)


@contextmanager
def _credentials(what: str, error: type[BackendUnavailable | ProviderUnavailable]) -> Iterator[None]:
    """Around the making of an adapter: a credential that is gone is the port's error, and stops no other policy."""
    try:
        yield
    except MissingSecret as missing:
        raise error(f"{what}: no credential: {missing}") from None


def _limits(given: LimitsSettings, settings: Settings) -> Limits:
    return Limits(concurrency=given.concurrency or settings.service.workers, rate=given.rate)


def _backend(
    settings: BackendSettings, secret: Callable[[SecretRef], SecretValue], connections: int, clock: Clock
) -> SecretBackend:
    """The closed table of backends. Their libraries are imported here: a pass with nothing due needs none."""
    match settings:
        case VaultSettings():
            from rotator.bootstrap_vault import vault_backend  # noqa: PLC0415

            return vault_backend(settings, secret, connections, clock)
        case AwsSettings():
            from rotator.bootstrap_aws import aws_backend  # noqa: PLC0415

            return aws_backend(settings, secret, connections, clock)
        case _:
            from rotator.adapters.backends.dotenv import DotenvBackend  # noqa: PLC0415

            return DotenvBackend()


def _together(
    settings: TogetherSettings, secret: Callable[[SecretRef], SecretValue], connections: int, clock: Clock, name: str
) -> KeyProvider:
    from rotator.adapters.providers.together import TogetherPaths, TogetherProvider  # noqa: PLC0415 - see _backend

    return TogetherProvider(
        base_url=settings.base_url,
        management_key=secret(settings.management_key) if settings.management_key else None,
        paths=TogetherPaths(**settings.paths),
        timeout=settings.timeout.total_seconds(),
        max_connections=connections,
        now=clock.now,
        name=name,
    )


def _secret(
    ref: SecretRef, *, environ: Mapping[str, str], backends: Callable[[str], SecretBackend] | None
) -> SecretValue:
    """The secret that a reference leads to. Raises ``BackendError`` or ``MissingSecret``."""
    if not isinstance(ref, BackendRef):
        return resolve(ref, environ)
    assert backends is not None, "a backend's own credential is never read from a backend"
    if (held := backends(ref.destination.backend).read(ref.destination)).value is None:
        raise WrongDestination(f"{ref.destination}: there is nothing, though a credential should be")
    return held.value
