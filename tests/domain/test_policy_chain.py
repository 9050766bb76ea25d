"""The policy's whole chain, a sentence a row."""

from dataclasses import replace

import pytest

from rotator.domain.model import KeyKind
from rotator.domain.planner import plan
from rotator.domain.record import KeyState, Origin, Phase
from rotator.domain.snapshot import DestinationView, Reach
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
    rotation,
    world,
)

UNREADABLE = DestinationView(destination=VAULT, reach=Reach.UNREADABLE, problem="sealed")
WRONG = DestinationView(destination=VAULT, reach=Reach.WRONG, problem="no KV engine")
FINE = DestinationView(destination=DOTENV, fingerprint=fingerprint("k"), version="1")
HEALTHY = record(key("k"))
OURS = facts("new", name="rotator_prod_chat_20261123_abcd2345", created_at=NOW - HOUR)
OLDER = facts("old", created_at=NOW - DAY)
ADOPTED = key("k", origin=Origin.ADOPTED, since=NOW, created_at=NOW - 200 * DAY, expires_at=None)
LATE = key("late", KeyState.ORPHAN, revoke_after=NOW - HOUR, lands_on={VAULT.name: fingerprint("k")})

CASES = {
    "a policy on hold is left alone": (
        world("k", "k"), record(key("k"), hold="incident 7"), "OnHold", Decision.SKIP),
    "a policy on hold is left alone even when its key was rejected": (
        world("k", "k", identities={fingerprint("k"): REFUSED}), record(key("k"), hold="x"), "OnHold", Decision.SKIP),
    "a sealed vault blocks": (
        world("k", "k", destinations=(UNREADABLE, FINE)), HEALTHY, "DestinationUnreadable", Decision.BLOCKED),
    "a provider that does not answer blocks": (
        world("k", "k", identities={}, provider_problem="503"), HEALTHY, "ProviderUnreadable", Decision.BLOCKED),
    "a wrong destination is refused": (
        world("k", "k", destinations=(WRONG, FINE)), HEALTHY, "WrongDestination", Decision.REFUSED),
    "a rotation in flight is resumed before anything new begins": (
        world("new", "old"),
        record(key("old"), key("new", KeyState.CANDIDATE), rotations=(rotation(Phase.PUBLISHING),), requested="x"),
        "RotationInFlight", Decision.RESUME),
    "a compromised key is replaced at once": (
        world("k", "k"), record(key("k"), requested="leak", compromised=True), "Compromised", Decision.ISSUE),
    "empty destinations get a first key": (
        world(None, None), record(), "DestinationEmpty", Decision.ISSUE),
    "a destination that was added later gets a key with the others": (
        world("k", None), HEALTHY, "DestinationEmpty", Decision.ISSUE),
    "a key of ours that the journal has lost is published to the other destinations": (
        world("new", "old", listed=(OURS, OLDER)),
        record(), "PublicationUnfinished", Decision.REBUILD),
    "a key of ours that the journal has lost is published where nothing lies": (
        world("new", None, listed=(OURS,)),
        record(), "PublicationUnfinished", Decision.REBUILD),
    "a key of ours that the journal knew as an orphan is published to the other destinations": (
        world("new", "old", listed=(OURS, OLDER)),
        record(key("old"), key("new", KeyState.ORPHAN, fingerprint=None)), "PublicationUnfinished", Decision.REBUILD),
    "promise 1: one that lands late, after its revocation was decided, is spread no further": (
        world("new", "old", listed=(OURS, OLDER)),
        record(key("old"), key("new", KeyState.ORPHAN, fingerprint=None, condemned=True)),
        "DestinationsDiffer", Decision.ISSUE),
    "a key of ours beside a newer one explains nothing": (
        world("new", "old", listed=(OURS, replace(OLDER, created_at=NOW))),
        record(), "DestinationsDiffer", Decision.ISSUE),
    "a key with another instance's name explains nothing": (
        world("new", "old", listed=(replace(OURS, name=OURS.name.replace("prod", "dev")), OLDER)),
        record(), "DestinationsDiffer", Decision.ISSUE),
    "a key of another project is refused": (
        world("k", "k", identities={fingerprint("k"): identity("k", project="proj_b")}), record(),
        "KeyFromOtherProject", Decision.REFUSED),
    "a person's session is refused": (
        world("k", "k", identities={fingerprint("k"): identity("k", kind=KeyKind.OTHER)}), record(),
        "KeyFromOtherProject", Decision.REFUSED),
    "a refusal that the list contradicts is not believed": (
        world("k", "k", identities={fingerprint("k"): REFUSED}, listed=(facts("k"),)), HEALTHY,
        "RejectionContradicted", Decision.BLOCKED),
    "a key that was revoked by hand is replaced": (
        world("k", "k", identities={fingerprint("k"): REFUSED}, listed=()), HEALTHY, "KeyRejected", Decision.ISSUE),
    "a key that expired is replaced, although the list still has it": (
        world("k", "k", identities={fingerprint("k"): REFUSED}, listed=(facts("k", expires_at=NOW - HOUR),)), HEALTHY,
        "KeyRejected", Decision.ISSUE),
    "a value that never was a key is replaced": (
        world("junk", "junk", identities={fingerprint("junk"): REFUSED}), record(), "KeyRejected", Decision.ISSUE),
    "different keys in the destinations converge on a new one": (
        world("k", "l"), HEALTHY, "DestinationsDiffer", Decision.ISSUE),
    "a key that a person put there is adopted": (
        world("k", "k"), record(), "KeyUnmanaged", Decision.ADOPT),
    "the legacy organisation key is adopted too": (
        world("k", "k", identities={fingerprint("k"): identity("k", kind=KeyKind.LEGACY, project=None)}), record(),
        "KeyUnmanaged", Decision.ADOPT),
    "a key that replaced ours by hand is adopted": (
        world("l", "l"), HEALTHY, "KeyUnmanaged", Decision.ADOPT),
    "a value that the provider now takes for another key is adopted as that": (
        world("k", "k", identities={fingerprint("k"): identity("other")}), HEALTHY, "KeyUnmanaged", Decision.ADOPT),
    "a requested rotation begins": (
        world("k", "k"), record(key("k"), requested="quarterly"), "RotateRequested", Decision.ISSUE),
    "a key near its expiry is replaced": (
        world("k", "k"), record(key("k", expires_at=NOW + 6 * DAY)), "ExpiryNear", Decision.ISSUE),
    "a key older than the policy allows is replaced": (
        world("k", "k"), record(key("k", created_at=NOW - 24 * DAY, expires_at=None)), "TooOld", Decision.ISSUE),
    "a leaked key that somebody has put back is replaced at once": (
        world("k", "k"), record(key("k", leaked=True)), "LeakedKeyIsBack", Decision.ISSUE),
    "a key that was given up is followed by another one, where it may still be published late": (
        world("k", "k"), record(key("k"), LATE), "LateWritePossible", Decision.ISSUE),
    "a key that was given up waits first for what its maker may still do": (
        world("k", "k"), record(key("k"), replace(LATE, revoke_after=NOW + HOUR)), "NothingDue", Decision.WAIT),
    "a key that was given up, and that can't be published any more, asks for nothing": (
        world("k", "k"), record(key("k"), replace(LATE, lands_on={VAULT.name: "fp-old"})), "NothingDue", Decision.WAIT),
    "a fresh key waits": (
        world("k", "k"), HEALTHY, "NothingDue", Decision.WAIT),
    "an old key is not replaced merely because it was adopted just now": (
        world("k", "k"), record(replace(ADOPTED, jitter=0.5)), "NothingDue", Decision.WAIT),
    "an adopted key near its expiry does not wait for its turn": (
        world("k", "k"), record(replace(ADOPTED, jitter=0.5, expires_at=NOW + DAY)), "ExpiryNear", Decision.ISSUE),
    "an adopted key that was too old is replaced when its turn has come": (
        world("k", "k"), record(replace(ADOPTED, jitter=0.5, since=NOW - 4 * DAY)), "TooOld", Decision.ISSUE),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "remembered", "check", "decision"), CASES.values(), ids=CASES.keys())
def test_the_first_fault_decides(seen, remembered, check, decision):
    verdict = plan(POLICY, seen.beside(remembered), NOW).verdict
    assert (verdict.check, verdict.decision) == (check, decision)
    assert verdict.reason


def test_a_compromised_key_gets_no_grace():
    (issue,) = plan(POLICY, world("k", "k").beside(record(key("k"), requested="leak", compromised=True)), NOW).actions
    assert not issue.grace


def test_a_rejected_current_key_is_closed_before_its_replacement_is_issued():
    seen = world("k", "k", identities={fingerprint("k"): REFUSED}, listed=())
    assert [type(a).__name__ for a in plan(POLICY, seen.beside(HEALTHY), NOW).actions] == ["Close", "Issue"]


def test_the_next_look_is_at_the_renewal_when_that_comes_before_the_next_check():
    remembered = record(key("k", expires_at=NOW + 7 * DAY + HOUR))
    assert plan(POLICY, world("k", "k").beside(remembered), NOW).next_look == NOW + HOUR


def test_jitter_only_ever_brings_a_renewal_forward():
    late, early = (
        plan(POLICY, world("k", "k").beside(record(key("k", jitter=j))), NOW).verdict.until for j in (0.0, 0.9)
    )
    assert early < late
