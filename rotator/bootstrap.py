"""The only place where adapters are chosen and wired. Each is made when it is first needed, and once."""

from __future__ import annotations

import os
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

import stamina.instrumentation

from rotator import process
from rotator.adapters.journal.sql import SqlJournal
from rotator.bootstrap_hooks import hook_runner
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
    resolve,
)
from rotator.domain.secret import SecretValue
from rotator.errors import BackendUnavailable, MissingSecret, ProviderUnavailable, WrongDestination
from rotator.plugins import Context
from rotator.ports import Clock, Journal, KeyProvider, SecretBackend
from rotator.service.apply import Executor
from rotator.service.budget import Budget
from rotator.service.gather import Gatherer
from rotator.service.guard import DEFAULT, NEVER, GuardedBackend, GuardedProvider, Limits
from rotator.service.hooks import Teller
from rotator.service.issue import Issuer
from rotator.service.publish import Publisher
from rotator.service.put_back import PutBack
from rotator.service.reconcile import Reconciler
from rotator.service.session import RetiredSecrets

SERVICE_RUN = timedelta(hours=1)
"""What ``max_rotations_per_run`` means for a service, which has no end: a sliding hour."""

_Adapter = TypeVar("_Adapter", bound=KeyProvider | SecretBackend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Everything that an entry point needs."""

    settings: Settings
    journal: Journal
    clock: SystemClock
    reconciler: Reconciler
    _adapters: tuple[_Lazy[KeyProvider], _Lazy[SecretBackend]]

    def close(self) -> None:
        """Give back every connection and file."""
        for adapters in self._adapters:
            adapters.close()
        self.journal.close()


class _Lazy(Generic[_Adapter]):
    """Adapters by their name in the configuration, each made when it is first asked for.

    Making one can take as long as a backend that holds its credential hangs: it keeps nobody from another one.
    """

    def __init__(self, make: Callable[[str], _Adapter]) -> None:
        self._make: Callable[[str], _Adapter] = make
        self._made: dict[str, _Adapter] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def __call__(self, name: str) -> _Adapter:
        made = self._made.get(name)
        if made is None:
            with self._lock:
                lock = self._locks[name]
            with lock:
                made = self._made.get(name)
                if made is None:
                    made = self._made[name] = self._make(name)
        return made

    def close(self) -> None:
        for adapter in list(self._made.values()):
            adapter.close()


@contextmanager
def application(
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    *,
    read_only: bool = False,
    service: bool = False,
    clock: SystemClock | None = None,
) -> Iterator[Application]:
    """The wired application, closed at the end.

    :param read_only: open the journal for reading alone: for a dry run.
    :param service: it runs until it is stopped: its budget is for each hour.
    :param clock: the system's where it is not given; a rehearsal brings one that it can drive.
    :raises JournalUnavailable: when the journal can't be opened.
    """
    process.forbid_core_dumps()
    # Its own hook logs each retry with the call's arguments; ours are secrets, and a retry that helps is no news.
    stamina.instrumentation.set_on_retry_hooks(())
    clock, draw = clock or SystemClock(), random.SystemRandom().random
    journal = _journal(settings, environ, read_only=read_only)
    backends: _Lazy[SecretBackend] = _Lazy(partial(_guarded_backend, settings, clock, environ))
    secret = partial(_secret, environ=environ, backends=backends)
    providers: _Lazy[KeyProvider] = _Lazy(partial(_guarded_provider, settings, clock, secret))
    retired = RetiredSecrets()
    publisher = Publisher(backends=backends, retired=retired)
    put_back = PutBack(providers=providers, backends=backends, retired=retired)
    begun = clock.now()
    budget = Budget(
        most=settings.service.max_rotations_per_run,
        begins_at=(lambda now: now - SERVICE_RUN) if service else (lambda _now: begun),
        journal=journal,
        policies=settings.policies,
    )
    issuer = Issuer(providers=providers, backends=backends, publisher=publisher, budget=budget, draw=draw)
    wired = Application(
        settings=settings,
        journal=journal,
        clock=clock,
        reconciler=Reconciler(
            gatherer=Gatherer(providers=providers, backends=backends, journal=journal, policies=settings.policies),
            executor=Executor(
                providers=providers,
                backends=backends,
                issuer=issuer,
                publisher=publisher,
                put_back=put_back,
                teller=Teller(runner=hook_runner(settings, environ)),
                retired=retired,
                draw=draw,
            ),
            journal=journal,
            clock=clock,
            holder=process.holder_name(),
            lease_ttl=settings.service.lease,
            draw=draw,
        ),
        _adapters=(providers, backends),
    )
    try:
        yield wired
    finally:
        wired.close()


def _journal(settings: Settings, environ: Mapping[str, str], *, read_only: bool) -> SqlJournal:
    ref = settings.state_password
    password = partial(_secret, ref, environ=environ, backends=None) if ref else None
    if read_only:
        return SqlJournal.open_read_only(settings.state_url, password=password)
    pool_size = settings.service.workers + 2
    return SqlJournal.open(settings.state_url, is_dead=process.is_dead, pool_size=pool_size, password=password)


def _guarded_backend(settings: Settings, clock: Clock, environ: Mapping[str, str], name: str) -> SecretBackend:
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
    return GuardedBackend(backend, name=name, clock=clock, limits=limits, thresholds=NEVER if alone else DEFAULT)


def _guarded_provider(
    settings: Settings, clock: Clock, secret: Callable[[SecretRef], SecretValue], name: str
) -> KeyProvider:
    one = settings.providers[name]
    limits = _limits(one.limits, settings)
    with _credentials(f"provider {name}", ProviderUnavailable):
        if isinstance(one, PluggedProviderSettings):
            from rotator.adapters.plugged import PluggedProvider  # noqa: PLC0415 - see _backend

            context = Context(name=name, connections=limits.concurrency, now=clock.now)
            provider: KeyProvider = PluggedProvider(one.type, lambda: one.plugin.make(one.resolved(secret), context))
        else:
            provider = _together(one, secret, limits.concurrency, clock)
    return GuardedProvider(provider, name=name, clock=clock, limits=limits)


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
            return _aws(settings, secret, connections, clock)
        case _:
            from rotator.adapters.backends.dotenv import DotenvBackend  # noqa: PLC0415

            return DotenvBackend()


def _aws(
    settings: AwsSettings, secret: Callable[[SecretRef], SecretValue], connections: int, clock: Clock
) -> SecretBackend:
    from rotator.adapters.backends.aws_secrets_manager import (  # noqa: PLC0415 - see _backend
        AssumeRole,
        AwsAccess,
        AwsSecretsManagerBackend,
        WebIdentity,
    )

    role, web = settings.assume_role, settings.web_identity
    access = AwsAccess(
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        sts_endpoint_url=settings.sts_endpoint_url,
        profile=settings.profile,
        assume_role=AssumeRole(
            arn=role.arn,
            external_id=_text_or_secret(role.external_id, secret),
            session_name=role.session_name,
            duration=int(role.duration.total_seconds()) if role.duration else None,
        )
        if role
        else None,
        web_identity=WebIdentity(role_arn=web.role_arn, token_file=web.token_file, session_name=web.session_name)
        if web
        else None,
        use_fips=settings.use_fips,
        use_dualstack=settings.use_dualstack,
        timeout=settings.timeout.total_seconds(),
        pool_size=connections,
    )
    return AwsSecretsManagerBackend(access, pause=clock.sleep)


def _text_or_secret(given: str | SecretRef | None, secret: Callable[[SecretRef], SecretValue]) -> SecretValue | None:
    return SecretValue(given) if isinstance(given, str) else secret(given) if given else None


def _together(
    settings: TogetherSettings, secret: Callable[[SecretRef], SecretValue], connections: int, clock: Clock
) -> KeyProvider:
    from rotator.adapters.providers.together import TogetherPaths, TogetherProvider  # noqa: PLC0415 - see _backend

    return TogetherProvider(
        base_url=settings.base_url,
        management_key=secret(settings.management_key),
        paths=TogetherPaths(**settings.paths),
        timeout=settings.timeout.total_seconds(),
        max_connections=connections,
        now=clock.now,
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
