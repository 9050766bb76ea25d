"""Faults in how keys end: grace, orphans, revocation. They need the journal. Read ``KEY_ENDS`` at the end first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from rotator.domain.audit.finding import Finding, Rule, Severity
from rotator.domain.audit.seen import Seen
from rotator.domain.audit.standards import (
    COMPROMISE,
    KEY_REVOCATION,
    LONG_LIVED,
    OFFBOARDING,
    REVOKING,
)
from rotator.domain.model import Identity, KeyKind, Policy
from rotator.domain.naming import is_name_of
from rotator.domain.record import KeyRecord, KeyState
from rotator.domain.text import text

PROPAGATION = timedelta(minutes=5)
"""How long a revocation may take until it is effective everywhere."""

ORPHAN = Rule(
    id="ROT-K07",
    severity=Severity.MEDIUM,
    title="Orphan: created by us and held by nobody",
    why="It works, no consumer needs it, and its secret can be nowhere but where it should not be.",
    todo="A running rotator revokes a proven one. Where it does not: see whether it runs, or revoke it by hand.",
    references=(OFFBOARDING, KEY_REVOCATION),
)


def orphan(seen: Seen) -> Iterator[Finding]:
    """The journal proves it, or a name of ours without any record and holder makes it likely."""
    for policy, facts in seen.managed():
        record = seen.record_of(facts.key_id, policy)
        if record and record.state is KeyState.ORPHAN:
            told = "the journal says that it was never published"
        elif record is None and seen.records is not None and not seen.holders(facts.key_id):
            ours = is_name_of(facts.name, policy.instance, policy.name)
            in_work = seen.records.get(policy.name)
            hidden = not seen.project_of(policy).complete  # a destination that nobody could look at may hold it
            if hidden or not ours or (in_work and in_work.in_flight and in_work.in_flight.key_name == facts.name):
                continue
            told = f"named '{facts.name}', and neither the journal nor a destination knows it"
        else:
            continue
        yield ORPHAN.found(facts.key_id, told, policy=policy.name, project=facts.project, key_id=facts.key_id)


GRACE_OVERDUE = Rule(
    id="ROT-K08",
    severity=Severity.HIGH,
    title="In grace beyond its deadline",
    why="The replaced key should be gone: it still works, and nobody expects that.",
    todo="'rotator status POLICY' and the log say what holds the revocation back (a holder, use, a hook, the clock).",
    references=(LONG_LIVED, KEY_REVOCATION, REVOKING),
)


def grace_overdue(seen: Seen) -> Iterator[Finding]:
    """A retiring key that is still listed, a look later than its deadline."""
    for policy, key in _keys(seen, KeyState.RETIRING):
        until = key.grace_until
        if until is None or until + policy.check_every > seen.now or not _lives(seen, policy, key):
            continue
        past = key.grace_limit is not None and key.grace_limit < seen.now
        told = f"its grace ended at {text(until)}" + (", even the longest one is over" if past else "")
        yield GRACE_OVERDUE.found(key.key_id, told, policy=policy.name, project=policy.project, key_id=key.key_id)


STILL_ACCEPTED = Rule(
    id="ROT-K09",
    severity=Severity.CRITICAL,
    title="Revoked here but still accepted",
    why="Everybody believes that the key is dead, and it is not.",
    todo="Revoke it in the console, and see it refused; tell the provider.",
    references=(KEY_REVOCATION, REVOKING, OFFBOARDING),
)


def still_accepted(seen: Seen) -> Iterator[Finding]:
    """The journal has it as revoked or closed, and the provider lists it as alive."""
    for policy, record in seen.remembered():
        project = seen.project_of(policy)
        for key in record.in_state(KeyState.REVOKED):
            late = key.revoked_at is None or seen.now - key.revoked_at > PROPAGATION
            if late and project.facts(key.key_id):
                when = f" at {text(key.revoked_at)}" if key.revoked_at else ""
                yield STILL_ACCEPTED.found(
                    key.key_id,
                    f"revoked{when}, and the provider lists it",
                    policy=policy.name,
                    project=policy.project,
                    key_id=key.key_id,
                )
        for key_id in record.closed:
            if project.facts(key_id) and record.key(key_id) is None:
                told = "the journal has closed it as gone, and the provider lists it"
                yield STILL_ACCEPTED.found(key_id, told, policy=policy.name, project=policy.project, key_id=key_id)


LEGACY = Rule(
    id="ROT-K10",
    severity=Severity.CRITICAL,
    title="Legacy organisation key in use",
    why="It opens every project of the organisation, and can't be revoked, only regenerated.",
    todo="Let rotator replace it by a project key ('rotator rotate POLICY'), then have its owner regenerate it.",
    references=(OFFBOARDING, LONG_LIVED, KEY_REVOCATION),
)


def legacy_key(seen: Seen) -> Iterator[Finding]:
    """A destination holds it."""
    for place in seen.asked_for():
        if isinstance(place.answer, Identity) and place.answer.kind is KeyKind.LEGACY:
            yield LEGACY.found(
                place.name,
                f"holds {place.answer.key_id}, the organisation's legacy key",
                policy=place.policy.name,
                project=place.policy.project,
                key_id=place.answer.key_id,
            )


USED_IN_GRACE = Rule(
    id="ROT-K12",
    severity=Severity.MEDIUM,
    title="Old key still in use in its grace",
    why="A consumer has not read the new key. When the grace ends, it stops working.",
    todo="Find the consumer and let it read its key anew; 'rotator extend-grace POLICY' buys time.",
    references=(OFFBOARDING,),
)


def used_in_grace(seen: Seen) -> Iterator[Finding]:
    """A retiring key was used after its replacement was published."""
    for policy, key in _keys(seen, KeyState.RETIRING):
        facts = seen.project_of(policy).facts(key.key_id)
        began = key.retired_at
        if facts and began and (used := seen.used_after(facts, began)):
            told = f"last used at {text(used)}; its replacement was published at {text(began)}"
            yield USED_IN_GRACE.found(key.key_id, told, policy=policy.name, project=policy.project, key_id=key.key_id)


LEAKED = Rule(
    id="ROT-K15",
    severity=Severity.CRITICAL,
    title="Reported as leaked and still accepted",
    why="Somebody said that the key has leaked; until it is revoked, whoever found it can use it.",
    todo="See what holds the rotation up ('rotator status POLICY'); revoke it in the console where that takes long.",
    references=(COMPROMISE, KEY_REVOCATION),
)


def leaked(seen: Seen) -> Iterator[Finding]:
    """An operator rotated because of a leak, and a key from before is still listed."""
    for policy, record in seen.remembered():
        for key in record.keys:
            old = key.leaked or (record.compromised and key.state is not KeyState.CANDIDATE)
            if old and _lives(seen, policy, key):
                told = f"{key.state}; reported as leaked"
                yield LEAKED.found(key.key_id, told, policy=policy.name, project=policy.project, key_id=key.key_id)


def _keys(seen: Seen, state: KeyState) -> Iterator[tuple[Policy, KeyRecord]]:
    for policy, record in seen.remembered():
        for key in record.in_state(state):
            yield policy, key


def _lives(seen: Seen, policy: Policy, key: KeyRecord) -> bool:
    """Whether it is alive, as far as is known: where there is no list, the journal counts. What has ended is not."""
    project = seen.project_of(policy)
    facts = project.facts(key.key_id)
    ends = facts.expires_at if facts else key.expires_at
    return (project.listed is None or facts is not None) and (ends is None or ends > seen.now)


KEY_ENDS: tuple[tuple[Rule, Callable[[Seen], Iterator[Finding]]], ...] = (
    (ORPHAN, orphan),
    (GRACE_OVERDUE, grace_overdue),
    (STILL_ACCEPTED, still_accepted),
    (LEGACY, legacy_key),
    (USED_IN_GRACE, used_in_grace),
    (LEAKED, leaked),
)
"""How keys end, and how they do not."""
