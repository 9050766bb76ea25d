"""One process of ours: the real service over gated ports, with the configuration that it read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.model import Policy
from rotator.domain.record import Expiration
from rotator.domain.secret import SecretValue
from rotator.errors import JournalError
from rotator.service.assembly import assemble
from rotator.service.budget import Budget
from rotator.service.handover import Handed
from rotator.service.reconcile import Outcome
from rotator.service.session import RetiredSecrets
from tests.fakes.hooks import FakeHooks
from tests.model.faults import Crash, Gate, Trouble
from tests.model.history import Turn
from tests.model.ports import GatedBackend, GatedJournal, GatedProvider, Seat

if TYPE_CHECKING:
    from tests.model.world import World

LEASE = timedelta(minutes=5)


class Holder:
    """:param name: who takes the leases."""

    def __init__(self, world: World, name: str) -> None:
        self.name, self._world = name, world
        self.gate = Gate(later=world.later)
        self.journal = SqlJournal.open(world.url, is_dead=world.known_dead.__contains__, pool_size=2)
        self.crashed = self.is_stale = False
        self.outcome: Outcome | None = None
        self._seat = Seat(turn=None)  # type: ignore[arg-type]
        self._retired = RetiredSecrets()
        self._wire()

    @property
    def is_paused(self) -> bool:
        return self.gate.paused

    def configured(self) -> None:
        """The configuration changed; a paused look goes on with the one it knows."""
        if self.is_paused:
            self.is_stale = True
        else:
            self._wire()

    def look(self, policy: Policy, troubles: tuple[Trouble, ...]) -> None:
        """One look, to its end or to its pause."""
        self._begin(policy, troubles)
        self.gate.run(self._reconcile)
        self._end()

    def take(self, policy: Policy, key_id: str, expires: Expiration | None, troubles: tuple[Trouble, ...]) -> None:
        """A person hands a key over: one look with it in its middle, to its end or to its pause."""
        truth = self._world.truth
        truth.tell(f"a person hands {key_id} over for {policy.name}")
        handed = Handed(secret=SecretValue(truth.secrets[key_id]), expires=expires, by="ada", via="submit")
        self._begin(policy, troubles)
        self.gate.run(lambda: self._hand_over(handed))
        self._end()

    def resume(self, *, killed: bool = False) -> None:
        """Let the paused look go on, or end it where it is."""
        self._world.truth.tell(f"{self.name} goes on")
        self.gate.resume(killed=killed)
        self._end()

    def close(self) -> None:
        if self.is_paused:
            self.resume(killed=True)
        self.journal.close()

    def now(self) -> datetime:
        return self._world.now()

    def _begin(self, policy: Policy, troubles: tuple[Trouble, ...]) -> None:
        truth = self._world.truth
        self._seat.turn = Turn(self.name, policy, truth.tick, self._world.now())
        truth.began(self._seat.turn)
        self.outcome, self.crashed = None, False
        self.gate.arm(troubles)

    def _reconcile(self) -> None:
        try:
            self.outcome = self._parts.reconciler.reconcile(self._seat.turn.policy)
        except Crash:
            self.crashed = True

    def _hand_over(self, handed: Handed) -> None:
        turn, truth = self._seat.turn, self._world.truth
        try:
            answer = self._parts.desk.hand_over(turn.policy, handed, patience=timedelta(0))
        except Crash:
            self.crashed = True
        except JournalError as error:
            truth.tell(f"nothing was taken: {error}")
        else:
            self.outcome = answer.outcome
            truth.answered(turn, answer, handed.secret.fingerprint())

    def _end(self) -> None:
        truth, turn = self._world.truth, self._seat.turn
        if self.is_paused:
            truth.tell(f"{self.name} is paused in its look at {turn.policy.name}")
        elif self.crashed:
            truth.tell(f"{self.name} died in its look at {turn.policy.name}")
        elif self.outcome is not None:  # a handover that was not looked at has none
            truth.finished(turn, self.outcome, undisturbed=not self.gate.struck)
            truth.asks(turn, self.outcome, self.journal.load(turn.policy.name))

    def _wire(self) -> None:
        truth, gate, seat = self._world.truth, self.gate, self._seat
        provider = GatedProvider(fake=self._world.provider, gate=gate, truth=truth, seat=seat)
        backends = {
            name: GatedBackend(fake=fake, gate=gate, truth=truth, seat=seat)
            for name, fake in self._world.backends.items()
        }
        journal = GatedJournal(real=self.journal, gate=gate, truth=truth, seat=seat)
        budget = Budget(most=10**9, begins_at=lambda now: now, journal=journal, policies=tuple(truth.policies.values()))
        self._parts = assemble(
            providers=lambda _name: provider,
            backends=backends.__getitem__,
            journal=journal,
            policies=tuple(truth.policies.values()),
            budget=budget,
            runner=FakeHooks(),
            retired=self._retired,
            clock=self._world,
            holder=self.name,
            lease_ttl=LEASE,
            draw=lambda: 0.5,
        )
