"""The model where people make and revoke keys: of some policies always, of others since or until a while ago."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.model.faults import MOMENTS, Trouble, What
from tests.model.machine import Machine, durations, meddling, names, recent, seats, troubles
from tests.model.world import PEOPLE, PROJECTS, by_hands_of

HANDLED = tuple(
    moment for moment in MOMENTS if moment not in {"create_key", "revoke_key", "set_expiration", "list_keys"}
)
pauses = st.builds(Trouble, st.sampled_from(HANDLED), st.just(What.PAUSE), st.booleans(), st.integers(1, 6))


class AssistedMachine(Machine):
    """All rules of the other one, too."""

    @initialize(
        skew=st.sampled_from((0, 30, -30, 180, -180)),
        lag=st.sampled_from((0, 3)),
        by_hand=st.lists(names, unique=True),
        by_people=st.frozensets(st.sampled_from(tuple(PROJECTS)), min_size=1),
    )
    def begin(self, skew: int, lag: int, by_hand: list[str], by_people: frozenset[str]) -> None:
        self.start(skew, lag, by_hand, by_people)

    @rule(seat=seats, name=names, days=st.sampled_from((None, None, 40, 9)), troubles=troubles, known=st.booleans())
    def make_and_hand_over(
        self, seat: str, name: str, days: int | None, troubles: tuple[Trouble, ...], *, known: bool
    ) -> None:
        """As asked for, or with another expiration."""
        if self._is_by_people(name):
            key_id, told = self.world.make_as_asked(name) if days is None else (self._new_key(name, days), True)
            self.world.hand_over(seat, name, key_id, told=told, troubles=troubles, known=known)

    @rule(seat=seats, name=names, which=recent, troubles=troubles, known=st.booleans())
    def hand_over_a_known_key(
        self, seat: str, name: str, which: int, troubles: tuple[Trouble, ...], *, known: bool
    ) -> None:
        """Once more, or somebody else's."""
        secrets = list(self.world.truth.secrets)
        if self._is_by_people(name) and secrets:
            key_id = secrets[-1 - which % len(secrets)]
            self.world.hand_over(seat, name, key_id, told=True, troubles=troubles, known=known)

    @rule(
        name=names,
        pause=pauses,
        wait=durations,
        troubles=st.tuples(troubles, troubles),
        second=st.sampled_from(("none", "the same", "another")),
        meddling=meddling,
    )
    def overtake_a_handover(
        self,
        name: str,
        pause: Trouble,
        wait: timedelta,
        *,
        troubles: tuple[tuple[Trouble, ...], ...],
        second: str,
        meddling: str,
    ) -> None:
        """A process is paused with a key that was handed over; another one goes on, perhaps with the next key."""
        if not self._is_by_people(name):
            return
        before = self._first_key(name)
        key_id, told = self.world.make_as_asked(name)
        self.world.hand_over("A", name, key_id, told=told, troubles=(pause,), known=False)
        self.world.advance(wait)
        self.world.look("B", name, troubles[0])
        if second != "none":
            key_id, told = (key_id, True) if second == "the same" else self.world.make_as_asked(name)
            self.world.hand_over("B", name, key_id, told=told, troubles=troubles[1])
        self._meddle(name, meddling, before)
        self.world.resume("A")
        self.world.look("B", name)

    @rule(name=names, tells=st.booleans())
    def revoke_as_asked(self, name: str, *, tells: bool) -> None:
        self.world.revoke_as_asked(name, tells=tells)

    @rule(which=recent)
    def revoke_late(self, which: int) -> None:
        """Somebody acts on a request of which nobody knows whether it stands still."""
        asked = [key_id for key_id in self.world.truth.ever_asked if self.world.truth.is_accepted(key_id)]
        if asked:
            self.world.revoke_by_hand(asked[-1 - which % len(asked)])

    @rule(name=names)
    def change_who_makes_keys(self, name: str) -> None:
        """An endpoint was published, or did not do."""
        policies = self.world.truth.policies
        if name in policies:
            people = None if policies[name].assisted else PEOPLE
            self.world.configure({**policies, name: by_hands_of(policies[name], people)})

    def _is_by_people(self, name: str) -> bool:
        return name in self.world.truth.policies and self.world.truth.policies[name].assisted
