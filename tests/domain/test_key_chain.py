"""The chain of each key beside the current one, a sentence a row. Promise 2: no key is revoked unless ..."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.planner import plan
from rotator.domain.record import KeyState, Origin, Phase
from rotator.domain.snapshot import Claim, DestinationView, Reach
from rotator.domain.verdict import Decision
from tests.domain.build import (
    DAY,
    DOTENV,
    HOUR,
    NOW,
    POLICY,
    REFUSED,
    VAULT,
    facts,
    fingerprint,
    identity,
    key,
    record,
    retiring,
    rotation,
    world,
)

NEW, OLD = key("new"), retiring("old")
LISTED = (facts("new"), facts("old"))
BOTH_NEW = world("new", "new", listed=LISTED)
ORPHAN = key("orphan", KeyState.ORPHAN, revoke_after=NOW - HOUR)
PERHAPS_READ = replace(ORPHAN, grace_limit=NOW + HOUR)
LISTED_ORPHAN = (facts("new"), facts("orphan"))
UNREADABLE = DestinationView(destination=VAULT, reach=Reach.UNREADABLE, problem="sealed")
FINE = DestinationView(destination=DOTENV, fingerprint=fingerprint("new"), version="1")

CASES = {
    "an old key whose grace is over is revoked": (
        BOTH_NEW, record(NEW, OLD), "GraceOver", Decision.REVOKE),
    "a hold covers revocations": (
        BOTH_NEW, record(NEW, OLD, hold="x"), "OnHold", Decision.KEEP),
    "a key stays while its grace runs": (
        BOTH_NEW, record(NEW, retiring("old", grace_until=NOW + HOUR)), "GraceRunning", Decision.WAIT),
    "a key that one of our destinations holds again stays": (
        world("new", "old", listed=LISTED), record(NEW, OLD), "HeldSomewhere", Decision.KEEP),
    "a key that another policy's destination holds stays": (
        world("new", "new", listed=LISTED, held_by_others={fingerprint("old"): ("vault:x#KEY",)}),
        record(NEW, OLD), "HeldSomewhere", Decision.KEEP),
    "a key that was used a moment ago gets a longer grace": (
        world("new", "new", listed=(facts("new"), facts("old", last_used_at=NOW - HOUR))),
        record(NEW, OLD), "StillInUse", Decision.EXTEND),
    "a key that was used long ago is revoked": (
        world("new", "new", listed=(facts("new"), facts("old", last_used_at=NOW - 7 * HOUR))),
        record(NEW, OLD), "GraceOver", Decision.REVOKE),
    "a key still in use is revoked when its grace can't be extended further": (
        world("new", "new", listed=(facts("new"), facts("old", last_used_at=NOW - HOUR))),
        record(NEW, retiring("old", grace_limit=NOW)), "GraceOver", Decision.REVOKE),
    "a key stays while another policy's destination can't be looked at": (
        world("new", "new", listed=LISTED, others_unknown=("vault:x#KEY",)),
        record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key stays while one of our destinations can't be looked at": (
        world("new", "new", listed=LISTED, destinations=(UNREADABLE, FINE)),
        record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key stays while a destination holds neither it nor the new one": (
        world("new", "x", listed=LISTED), record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key stays while a destination is empty": (
        world("new", None, listed=LISTED), record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key stays while the provider refuses the new one": (
        world("new", "new", listed=LISTED, identities={fingerprint("new"): REFUSED}),
        record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key stays while the provider takes the new one for another": (
        world("new", "new", listed=LISTED, identities={fingerprint("new"): identity("other")}),
        record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key stays while the provider says that the new one is of another project": (
        world("new", "new", listed=LISTED, identities={fingerprint("new"): identity("new", project="proj_b")}),
        record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key stays while the provider's list can't be had": (
        world("new", "new", provider_problem="503"), record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key stays while the list is empty": (
        world("new", "new", listed=()), record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "a key that a list lacks is revoked all the same: only the provider's own answer to that ends it": (
        world("new", "new", listed=(facts("new"),)), record(NEW, OLD), "GraceOver", Decision.REVOKE),
    "a key that a list lacks keeps its grace": (
        world("new", "new", listed=(facts("new"),)), record(NEW, retiring("old", grace_until=NOW + HOUR)),
        "GraceRunning", Decision.WAIT),
    "an orphan that a list does not show is revoked all the same": (
        world("new", "new", listed=(facts("new"),)), record(NEW, ORPHAN), "OrphanProven", Decision.REVOKE),
    "the legacy organisation key is never revoked, and the finding stays": (
        BOTH_NEW, record(NEW, retiring("old", origin=Origin.LEGACY)), "CannotBeRevoked", Decision.WATCH),
    "a key found by its name is kept where the provider says that a destination holds it": (
        world("new", "old", listed=LISTED), record(NEW, retiring("old", fingerprint=None)),
        "HeldSomewhere", Decision.KEEP),
    "a key found by its name is kept where the provider says that another policy's destination holds it": (
        world("new", "new", listed=LISTED, ids_held_by_others={"key_old": ("vault:x#KEY",)}),
        record(NEW, retiring("old", fingerprint=None)), "HeldSomewhere", Decision.KEEP),
    "a key that is another policy's current one stays": (
        world("new", "new", listed=LISTED, claims={"key_old": (Claim(policy="batch", until=None),)}),
        record(NEW, OLD), "ClaimedElsewhere", Decision.KEEP),
    "a key stays while another policy's grace runs": (
        world("new", "new", listed=LISTED, claims={"key_old": (Claim(policy="batch", until=NOW + HOUR),)}),
        record(NEW, OLD), "ClaimedElsewhere", Decision.WAIT),
    "a key is revoked when another policy's grace is over too": (
        world("new", "new", listed=LISTED, claims={"key_old": (Claim(policy="batch", until=NOW - HOUR),)}),
        record(NEW, OLD), "GraceOver", Decision.REVOKE),
    "a key whose use was billed in the last hour gets a longer grace": (
        world("new", "new", listed=LISTED, used_until={"key_old": NOW - HOUR}),
        record(NEW, OLD), "StillInUse", Decision.EXTEND),
    "a key stays while its use can't be asked for": (
        world("new", "new", listed=LISTED, use_problem="503"), record(NEW, OLD), "UseUnknown", Decision.KEEP),
    "a key whose use can't be asked for is not kept beyond its grace's limit": (
        world("new", "new", listed=LISTED, use_problem="503"), record(NEW, retiring("old", grace_limit=NOW)),
        "GraceOver", Decision.REVOKE),
    "nothing is revoked while our clock is hours ahead": (
        world("new", "new", listed=LISTED, skew=-2 * HOUR), record(NEW, OLD), "ClockSkewed", Decision.KEEP),
    "nothing is revoked while our clock is hours behind": (
        world("new", "new", listed=LISTED_ORPHAN, skew=2 * HOUR), record(NEW, ORPHAN), "ClockSkewed", Decision.KEEP),
    "seconds between the clocks are no skew": (
        world("new", "new", listed=LISTED, skew=timedelta(seconds=30)), record(NEW, OLD), "GraceOver", Decision.REVOKE),
    "promise 7: a key that has not the name that we gave it is not revoked": (
        world("new", "new", listed=(facts("new"), facts("old", name="of somebody else"))), record(NEW, OLD),
        "NotTheKeyThatWeMade", Decision.KEEP),
    "promise 7: an adopted key has whatever name it has": (
        world("new", "new", listed=(facts("new"), facts("old", name="my first key"))),
        record(NEW, retiring("old", origin=Origin.ADOPTED)), "GraceOver", Decision.REVOKE),
    "a key that was handed over, before the provider had an endpoint, has whatever name it has": (
        world("new", "new", listed=(facts("new"), facts("old", name="my first key"))),
        record(NEW, retiring("old", created_at=None)), "GraceOver", Decision.REVOKE),
    "so has one that was known again by what lies beside it": (
        world("new", "new", listed=(facts("new"), facts("old", name="my first key"))),
        record(NEW, replace(OLD, name="")), "GraceOver", Decision.REVOKE),
    "a key of a provider that the policy does not name any more is revoked by hand": (
        BOTH_NEW, record(NEW, replace(OLD, provider="former")), "OfAnotherProvider", Decision.KEEP),
    "a key of another provider is kept for a day after its end: its zone is not known": (
        BOTH_NEW, record(NEW, replace(OLD, provider="former", expires_at=NOW - 23 * HOUR)),
        "OfAnotherProvider", Decision.KEEP),
    "a key of another provider is forgotten a day after its end": (
        BOTH_NEW, record(NEW, replace(OLD, provider="former", expires_at=NOW - DAY)),
        "OfAnotherProvider", Decision.CLOSE),
    "an orphan that a paused holder may still publish is kept": (
        world("k", "new", listed=LISTED_ORPHAN),
        record(NEW, replace(ORPHAN, lands_on={VAULT.name: fingerprint("k"), DOTENV.name: fingerprint("k")})),
        "MayStillLand", Decision.KEEP),
    "an orphan that a paused holder may still publish where nothing lies is kept": (
        world(None, "new", listed=LISTED_ORPHAN), record(NEW, replace(ORPHAN, lands_on={VAULT.name: ""})),
        "MayStillLand", Decision.KEEP),
    "an orphan that can land nowhere any more is revoked": (
        world("new", "new", listed=LISTED_ORPHAN),
        record(NEW, replace(ORPHAN, lands_on={VAULT.name: fingerprint("k"), DOTENV.name: ""})),
        "OrphanProven", Decision.REVOKE),
    "a revoked key is tried until it is refused": (
        BOTH_NEW, record(NEW, key("old", KeyState.REVOKED, revoked_at=NOW)), "AwaitingRefusal", Decision.CONFIRM),
    "a key stays while nobody has looked at other policies' destinations": (
        world("new", "new", listed=LISTED, held_by_others=None),
        record(NEW, OLD), "ReplacementNotProven", Decision.KEEP),
    "an orphan is revoked": (
        world("new", "new", listed=LISTED_ORPHAN), record(NEW, ORPHAN), "OrphanProven", Decision.REVOKE),
    "an orphan whose maker may be late is left alone": (
        world("new", "new", listed=LISTED_ORPHAN),
        record(NEW, key("orphan", KeyState.ORPHAN, revoke_after=NOW + HOUR)), "OrphanUnsettled", Decision.WAIT),
    "an orphan that may have been read has its grace": (
        world("new", "new", listed=LISTED_ORPHAN),
        record(NEW, replace(PERHAPS_READ, revoke_after=NOW + HOUR)), "OrphanUnsettled", Decision.WAIT),
    "an orphan that may have been read is revoked after its grace": (
        world("new", "new", listed=LISTED_ORPHAN), record(NEW, PERHAPS_READ), "GraceOver", Decision.REVOKE),
    "an orphan that may have been read stays while a destination is empty": (
        world("new", None, listed=LISTED_ORPHAN), record(NEW, PERHAPS_READ), "ReplacementNotProven", Decision.KEEP),
    "an orphan that was used a moment ago was read": (
        world("new", "new", listed=(facts("new"), facts("orphan", last_used_at=NOW - HOUR))),
        record(NEW, PERHAPS_READ), "StillInUse", Decision.KEEP),
    "an orphan that was used is revoked when its grace can't be longer": (
        world("new", "new", listed=(facts("new"), facts("orphan", last_used_at=NOW - HOUR))),
        record(NEW, replace(PERHAPS_READ, grace_limit=NOW)), "GraceOver", Decision.REVOKE),
    "an orphan that its late maker published is kept": (
        world("new", "orphan", listed=LISTED_ORPHAN), record(NEW, ORPHAN), "HeldSomewhere", Decision.KEEP),
    "an orphan stays while a place that may hold it can't be looked at": (
        world("new", "new", listed=LISTED_ORPHAN, others_unknown=("vault:x#KEY",)),
        record(NEW, ORPHAN), "ReplacementNotProven", Decision.KEEP),
    "an old key is revoked although the next rotation is in flight": (
        world("newer", "new", listed=(*LISTED, facts("newer"))),
        record(NEW, OLD, key("newer", KeyState.CANDIDATE), rotations=(rotation(Phase.PUBLISHING, "newer"),)),
        "GraceOver", Decision.REVOKE),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "remembered", "check", "decision"), CASES.values(), ids=CASES.keys())
def test_promise_2_the_first_fault_decides(seen, remembered, check, decision):
    (item,) = plan(POLICY, seen.beside(remembered), NOW).key_verdicts
    assert (item.verdict.check, item.verdict.decision) == (check, decision)


def test_a_grace_is_extended_by_the_quiet_time_and_never_over_its_limit():
    used = (facts("new"), facts("old", last_used_at=NOW - HOUR))
    limit = NOW + timedelta(minutes=30)
    for old, until in ((OLD, NOW + 5 * HOUR), (retiring("old", grace_limit=limit), limit)):
        decided = plan(POLICY, world("new", "new", listed=used).beside(record(NEW, old)), NOW)
        assert [action.until for action in decided.actions] == [until]


def test_a_replaced_key_is_given_an_end_of_its_own_soon_after_its_last_possible_grace():
    old = retiring("old", grace_until=NOW + HOUR, expiry_forwarded=False)
    (forward,) = plan(POLICY, BOTH_NEW.beside(record(NEW, old)), NOW).actions
    assert forward.expires_at == NOW + 3 * DAY + HOUR


def test_a_key_that_ends_sooner_by_itself_keeps_its_end():
    old = retiring("old", grace_until=NOW + HOUR, expires_at=NOW + DAY, expiry_forwarded=False)
    (forward,) = plan(POLICY, BOTH_NEW.beside(record(NEW, old)), NOW).actions
    assert forward.expires_at is None


def test_an_end_is_never_set_to_a_moment_that_is_past():
    late = retiring("old", grace_until=NOW - 9 * DAY, grace_limit=NOW - 5 * DAY, expiry_forwarded=False)
    seen = world("new", "new", listed=LISTED, others_unknown=())
    seen = replace(seen, identities={fingerprint("new"): identity("new")}, skew=None, use_problem="")
    decided = plan(POLICY, replace(seen, listed=()).beside(record(NEW, late)), NOW)
    assert [action.expires_at for action in decided.actions] == [NOW + HOUR]


@pytest.mark.parametrize("until", [None, NOW + HOUR, NOW - HOUR])
def test_a_key_that_another_policy_remembers_is_never_given_an_end(until):
    old = retiring("old", grace_until=NOW + HOUR, expiry_forwarded=False)
    seen = world("new", "new", listed=LISTED, claims={"key_old": (Claim(policy="batch", until=until),)})
    assert plan(POLICY, seen.beside(record(NEW, old)), NOW).actions == ()


def test_a_key_that_a_destination_holds_is_never_given_an_end():
    old = retiring("old", grace_until=NOW + HOUR, expiry_forwarded=False)
    decided = plan(POLICY, world("new", "old", listed=LISTED).beside(record(NEW, old)), NOW)
    assert not [action for action in decided.actions if type(action).__name__ == "ForwardExpiry"]


@pytest.mark.parametrize("value", [None, "spoilt"])
def test_promise_2_a_key_is_never_given_an_end_while_a_place_has_no_working_key(value):
    old = retiring("old", grace_until=NOW + HOUR, expiry_forwarded=False)
    seen = world("new", value, listed=LISTED)
    seen = replace(seen, identities={**seen.identities, **({fingerprint(value): REFUSED} if value else {})})
    decided = plan(POLICY, seen.beside(record(NEW, old)), NOW)
    assert not [action for action in decided.actions if type(action).__name__ == "ForwardExpiry"]
