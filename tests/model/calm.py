"""The calm after it all: no more faults, nobody paused or on hold, and the service left to itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.domain.events import Held
from rotator.domain.model import Drift
from tests.model.history import EMPTY, GARBAGE
from tests.model.holder import LEASE
from tests.model.world import DAY, SETTLE, World

SEAT = "A"
LONGEST = 3 * DAY
"""Longer than every grace, with time for what went wrong; shorter than the limit at which a key ends by itself."""


def calm_down(world: World) -> None:
    """Leave the service alone until nothing is due, and the settle time after it; then judge the end state."""
    truth = world.truth
    for seat in list(world.holders):
        world.holders[seat].gate.disarm()
        world.resume(seat)
        world.restart(seat)
    for name in list(truth.on_hold):
        world.request(name, Held(reason=""))
    _take_foreign_keys_out(world)
    # What was left alone, as the policy said, is adopted.
    world.configure({name: replace(policy, drift=Drift.ADOPT) for name, policy in truth.policies.items()})
    world.advance(LEASE + timedelta(seconds=1))
    for _ in range(2):
        if not _until_stable(world) or truth.faults:
            return
        world.advance(2 * SETTLE)
        for name in list(truth.policies):
            world.look(SEAT, name)


def _take_foreign_keys_out(world: World) -> None:
    """A key of another project is refused until a person takes it out."""
    truth = world.truth
    for policy in truth.policies.values():
        for destination in policy.destinations:
            held = truth.holds(destination)
            if held not in {EMPTY, GARBAGE} and truth.project_of(held) != policy.project:
                world.put(destination, EMPTY)


def _people_do_as_asked(world: World) -> None:
    """Everything, where people make and revoke keys."""
    for name in list(world.truth.policies):
        world.revoke_as_asked(name, tells=True)
        if any(task.kind == "create" for task in world.tasks(name)):
            key_id, told = world.make_as_asked(name)
            world.hand_over(SEAT, name, key_id, told=told)


def _until_stable(world: World) -> bool:
    end = world.now() + LONGEST
    while world.now() < end:
        world.look_at_due(SEAT)
        _people_do_as_asked(world)
        unrest = unrest_of(world)
        if not unrest:
            return True
        world.advance(world.next_due(SEAT) - world.now())
    for kind, sentence in unrest:
        world.truth.blame(kind, sentence)
    return False


def unrest_of(world: World) -> list[tuple[str, str]]:
    """What is still to be done, as (kind, sentence): one working key for each policy, and no other that is ours."""
    truth, found, good = world.truth, [], set()
    for policy in truth.policies.values():
        held = truth.holds_of(policy)
        good |= set(held)
        if len(set(held)) != 1 or not truth.is_accepted(held[0]):
            found.append(("4: no working key everywhere", f"{policy.name} holds {held}"))
            continue
        record = world.holders[SEAT].journal.load(policy.name)
        if record.current is None or record.current.key_id != held[0]:
            found.append(("4: the journal does not know the current key", f"{policy.name} holds {held[0]}"))
        if record.in_flight or (record.open_intents and not policy.assisted):  # without a list, that takes a lifetime
            found.append(("4: a rotation has no end", policy.name))
    live = {key for key in truth.maker if truth.is_accepted(key) and not truth.is_left_to_its_owner(key)}
    for key_id in sorted(live - good - truth.unseen):
        if truth.maker[key_id] in truth.policies:
            known = any(world.holders[SEAT].journal.load(name).key(key_id) for name in truth.policies)
            kind = "4: a key of ours lives on" if known else "4: a live key of ours is unrecorded"
            found.append((kind, f"{key_id}, made for {truth.maker[key_id]}"))
    for name, policy in truth.policies.items():
        left = sorted(truth.overwritten[name] - good - truth.maker.keys())
        alive = [key_id for key_id in left if truth.is_accepted(key_id)]
        found += [("4: a key that we replaced lives on", f"{key_id}, replaced in {policy.name}") for key_id in alive]
    return found
