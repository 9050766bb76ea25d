"""The model's rules: what a holder, time, a person or a fault can do next."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rotator.domain.events import Held, RollbackRequested, RotationRequested
from rotator.domain.model import Destination, Drift
from tests.model.calm import calm_down
from tests.model.faults import KINDS, MOMENTS, Trouble, What
from tests.model.history import EMPTY, GARBAGE
from tests.model.world import BACKENDS, DAY, GRACES, HOUR, PROJECTS, World, policy_of, scratch

MINUTE = timedelta(minutes=1)
seats = st.sampled_from(("A", "B"))
names = st.sampled_from(("chat", "search", "chat", "search", "mail", "batch"))  # most of what can happen takes two
where = st.sampled_from(("all", "first", "last"))
durations = st.sampled_from((MINUTE, 6 * MINUTE, 16 * MINUTE, HOUR, 7 * HOUR, DAY, 5 * DAY, 16 * DAY, 24 * DAY))
recent = st.integers(0, 7)
one_trouble = st.builds(
    lambda kind, nth: Trouble(kind[0], kind[1], after=kind[2], nth=nth), st.sampled_from(KINDS), st.integers(1, 4)
)
troubles = st.lists(one_trouble, max_size=2).map(tuple)
blocked = st.sampled_from((Trouble("create_key", What.UNAVAILABLE), Trouble("check_writable", What.UNAVAILABLE)))
troubles_in_a_row = st.one_of(troubles, blocked.map(lambda trouble: (trouble,)))
meddling = st.sampled_from(("nothing", "empty", "garbage", "restore", "new key"))


class Machine(RuleBasedStateMachine):
    """:cvar only: kinds of faults to fail on; empty means all. For a survey of a core that has known holes."""

    only: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.folder = scratch()
        self.world: World | None = None
        self.calms = self.losses = 0

    @initialize(
        skew=st.sampled_from((0, 30, -30, 180, -180)), lag=st.sampled_from((0, 3)), by_hand=st.lists(names, unique=True)
    )
    def begin(self, skew: int, lag: int, by_hand: list[str]) -> None:
        self.start(skew, lag, by_hand)

    def start(self, skew: int, lag: int, by_hand: list[str], by_people: frozenset[str] = frozenset()) -> None:
        """The first day: some policies have keys that people had pasted, and each is looked at."""
        self.world = World(self.folder, skew=timedelta(seconds=skew), lag=timedelta(seconds=lag), by_people=by_people)
        for name in by_hand:
            self._paste(name, "all", self._new_key(name, None))
        for name, project in PROJECTS.items():
            # Another instance's: nobody may ever touch it.
            self.world.provider.create_by_hand(project, f"rotator_stage_{name}_20261101_abcdefgh")
            self.world.look("A", name)

    # --- holders and time -------------------------------------------------------------------------------------

    @rule(seat=seats, name=names, troubles=troubles, known=st.booleans())
    def look(self, seat: str, name: str, troubles: tuple[Trouble, ...], *, known: bool) -> None:
        self.world.look(seat, name, troubles, known=known)

    @rule(seat=seats, name=names, compromised=st.booleans(), troubles=troubles, known=st.booleans())
    def rotate(self, seat: str, name: str, troubles: tuple[Trouble, ...], *, compromised: bool, known: bool) -> None:
        if name in self.world.truth.policies:
            self.world.request(name, RotationRequested(reason="test", compromised=compromised))
            self.world.look(seat, name, troubles, known=known)

    @rule(seat=seats, name=names, troubles=troubles, known=st.booleans(), wait=durations)
    def roll_back(self, seat: str, name: str, troubles: tuple[Trouble, ...], wait: timedelta, *, known: bool) -> None:
        """An operator takes a rotation back, soon after it or not."""
        if name in self.world.truth.policies:
            self.rotate(seat, name, (), compromised=False, known=known)
            self.world.advance(wait)
            self.world.request(name, RollbackRequested(reason="test"))
            self.world.look(seat, name, troubles, known=known)

    @rule(
        name=names,
        pause=st.builds(Trouble, st.sampled_from(MOMENTS), st.just(What.PAUSE), st.booleans(), st.integers(1, 6)),
        waits=st.tuples(durations, durations),
        troubles=st.tuples(troubles_in_a_row, troubles_in_a_row),
        meddling=meddling,
    )
    def overtake(
        self,
        name: str,
        pause: Trouble,
        waits: tuple[timedelta, ...],
        troubles: tuple[tuple[Trouble, ...], ...],
        meddling: str,
    ) -> None:
        """A holder is paused in a rotation, another one takes over, and the first goes on."""
        before = self._first_key(name)
        self.rotate("A", name, (pause,), compromised=False, known=False)
        for duration, some in zip(waits, troubles, strict=True):
            self.world.advance(duration)
            self.world.look("B", name, some)
        self._meddle(name, meddling, before)
        self.world.resume("A")
        self.world.look("B", name)

    @rule(
        name=names,
        troubles=st.lists(one_trouble, min_size=1, max_size=2).map(tuple),
        duration=durations,
        meddling=meddling,
        compromised=st.booleans(),
    )
    def stumble(
        self, name: str, troubles: tuple[Trouble, ...], duration: timedelta, meddling: str, *, compromised: bool
    ) -> None:
        """A rotation goes wrong somewhere, a person does something, and the next look comes after a while."""
        before = self._first_key(name)
        self.rotate("A", name, troubles, compromised=compromised, known=True)
        self._meddle(name, meddling, before)
        self.world.advance(duration)
        self.world.resume("A")
        self.world.look("A", name)

    @rule(duration=durations)
    def wait(self, duration: timedelta) -> None:
        self.world.advance(duration)

    @rule(seat=seats, duration=durations)
    def serve(self, seat: str, duration: timedelta) -> None:
        """The service does its work."""
        end = self.world.now() + duration
        for _ in range(8):
            self.world.look_at_due(seat)
            due = self.world.next_due(seat)
            if due > end:
                break
            self.world.advance(due - self.world.now())
        self.world.advance(max(timedelta(0), end - self.world.now()))

    @rule(seat=seats, known=st.booleans())
    def restart(self, seat: str, *, known: bool) -> None:
        self.world.restart(seat, known=known)

    @precondition(lambda self: self.world and any(holder.is_paused for holder in self.world.holders.values()))
    @rule()
    def go_on(self) -> None:
        for seat in self.world.holders:
            self.world.resume(seat)

    @precondition(lambda self: self.world and self.losses == 0)
    @rule()
    def lose_journal(self) -> None:
        self.losses += 1
        self.world.lose_journal()

    @rule()
    def copy_journal(self) -> None:
        self.world.copy_journal()

    @precondition(lambda self: self.world and self.world.copy and self.losses == 0)
    @rule()
    def restore_journal(self) -> None:
        self.losses += 1
        self.world.restore_journal()

    @precondition(lambda self: self.world and self.calms == 0)
    @rule()
    def calm(self) -> None:
        self.calms += 1
        if not self.world.truth.faults:
            calm_down(self.world)

    # --- persons ----------------------------------------------------------------------------------------------------

    @rule(name=names, where=where, days=st.sampled_from((None, 40, 9, 2)))
    def paste_a_new_key(self, name: str, where: str, days: int | None) -> None:
        self._paste(name, where, self._new_key(name, days))

    @rule(name=names, where=where, which=recent)
    def paste_a_known_key(self, name: str, where: str, which: int) -> None:
        """Copy another policy's, or restore an older one."""
        known = list(self.world.truth.secrets)
        if known:
            self._paste(name, where, known[-1 - which % len(known)])

    @rule(name=names, source=names, where=where)
    def copy_the_key_of(self, name: str, source: str, where: str) -> None:
        held = self._first_key(source)
        if held not in {EMPTY, GARBAGE}:
            self._paste(name, where, held)

    @rule(name=names, where=where, what=st.sampled_from((EMPTY, GARBAGE)))
    def spoil(self, name: str, where: str, what: str) -> None:
        self._paste(name, where, what)

    @rule(project=st.sampled_from(("proj_a", "proj_b")), which=recent)
    def revoke_by_hand(self, project: str, which: int) -> None:
        live = self.world.provider.live(project)
        if live:
            self.world.revoke_by_hand(live[-1 - which % len(live)])

    @rule(name=names)
    def hold_or_release(self, name: str) -> None:
        self.world.request(name, Held(reason="" if name in self.world.truth.on_hold else "test"))

    @rule(
        name=names,
        grace=st.sampled_from(GRACES),
        backends=st.lists(st.sampled_from(BACKENDS), min_size=1, unique=True).map(sorted),
        drift=st.sampled_from(Drift),
    )
    def configure(self, name: str, grace: timedelta, backends: list[str], drift: Drift) -> None:
        policies = self.world.truth.policies
        if name not in policies:
            return
        people = policies[name].assistance
        changed = policy_of(name, grace=grace, backends=tuple(backends), drift=drift, assistance=people)
        if changed != policies[name]:
            self.world.configure({**policies, name: changed})

    @rule(name=names)
    def remove_or_add_a_policy(self, name: str) -> None:
        world, policies = self.world, dict(self.world.truth.policies)
        if name in policies:
            world.removed[name] = policies.pop(name)
        else:
            policies[name] = world.removed.pop(name)
        world.configure(policies)

    # --- after each step ------------------------------------------------------------------------------------------

    @invariant()
    def no_promise_is_broken(self) -> None:
        if self.world is None:
            return
        faults = [f"{kind}: {sentence}" for kind, sentence in self.world.truth.faults if self._counts(kind)]
        assert not faults, "\n".join([*faults, "what happened:", *self.world.truth.story])

    def teardown(self) -> None:
        try:
            if self.world is not None:
                if not self.world.truth.faults:
                    calm_down(self.world)
                self.no_promise_is_broken()
        finally:
            if self.world is not None:
                self.world.close()
            self.clean()

    def clean(self) -> None:
        """Remove the journals."""
        shutil.rmtree(self.folder)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _counts(self, kind: str) -> bool:
        return not self.only or kind in self.only

    def _new_key(self, name: str, days: int | None) -> str:
        return self.world.new_key(name, self.world.now() + days * DAY if days else None)

    def _paste(self, name: str, where: str, what: str) -> None:
        for destination in self._places(name, where):
            self.world.put(destination, what)

    def _first_key(self, name: str) -> str:
        policy = self.world.truth.policies.get(name)
        return self.world.truth.holds(policy.destinations[0]) if policy else EMPTY

    def _meddle(self, name: str, what: str, before: str) -> None:
        """A person writes the first destination."""
        if what == "empty":
            self._paste(name, "first", EMPTY)
        elif what == "garbage":
            self._paste(name, "first", GARBAGE)
        elif what == "restore" and before in self.world.truth.secrets:
            self._paste(name, "first", before)
        elif what == "new key":
            self._paste(name, "first", self._new_key(name, None))

    def _places(self, name: str, where: str) -> Iterable[Destination]:
        policy = self.world.truth.policies.get(name)
        if policy is None:
            return ()
        picks = {"all": policy.destinations, "first": policy.destinations[:1], "last": policy.destinations[-1:]}
        return picks[where]
