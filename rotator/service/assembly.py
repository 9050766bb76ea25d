"""Everything of the service over its ports, put together: the one place that knows which part needs which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rotator.domain.model import Policy
from rotator.ports import Clock, HookRunner, Journal, KeyProvider, Observer, SecretBackend
from rotator.service.apply import Executor
from rotator.service.budget import Budget
from rotator.service.desk import Desk
from rotator.service.gather import Gatherer
from rotator.service.handover import Acceptor
from rotator.service.hooks import Teller
from rotator.service.issue import Issuer
from rotator.service.observe import SILENT
from rotator.service.people import People
from rotator.service.publish import Publisher
from rotator.service.put_back import PutBack
from rotator.service.reconcile import Reconciler
from rotator.service.session import RetiredSecrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What looks at policies, and what takes keys from people."""

    reconciler: Reconciler
    desk: Desk


def assemble(
    *,
    providers: Callable[[str], KeyProvider],
    backends: Callable[[str], SecretBackend],
    journal: Journal,
    policies: Sequence[Policy],
    budget: Budget,
    runner: HookRunner,
    retired: RetiredSecrets,
    clock: Clock,
    holder: str,
    lease_ttl: timedelta,
    draw: Callable[[], float],
    observer: Observer = SILENT,
) -> Assembled:
    """Make all parts.

    :param holder: of leases; unique in all processes.
    :param draw: a random number in [0, 1), for a new key's jitter.
    """
    publisher = Publisher(backends=backends, retired=retired)
    put_back = PutBack(providers=providers, backends=backends, retired=retired)
    acceptor = Acceptor(providers=providers, backends=backends, publisher=publisher, retired=retired, draw=draw)
    reconciler = Reconciler(
        gatherer=Gatherer(
            providers=providers, backends=backends, journal=journal, policies=policies, began_at=clock.now()
        ),
        executor=Executor(
            providers=providers,
            backends=backends,
            issuer=Issuer(providers=providers, backends=backends, publisher=publisher, budget=budget, draw=draw),
            publisher=publisher,
            put_back=put_back,
            teller=Teller(runner=runner),
            people=People(
                providers=providers,
                backends=backends,
                acceptor=acceptor,
                budget=budget,
                put_back=put_back,
                retired=retired,
            ),
            retired=retired,
            draw=draw,
        ),
        journal=journal,
        clock=clock,
        holder=holder,
        lease_ttl=lease_ttl,
        draw=draw,
        observer=observer,
    )
    return Assembled(reconciler=reconciler, desk=Desk(reconciler=reconciler, acceptor=acceptor))
