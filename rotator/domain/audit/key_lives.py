"""Faults in how long keys live, and who has to do with them. Read ``KEY_LIVES`` at the end first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

from rotator.domain.audit.finding import Finding, Rule, Severity
from rotator.domain.audit.seen import Seen
from rotator.domain.audit.standards import (
    CHANGED_PERIODICALLY,
    CRYPTOPERIODS,
    DORMANT,
    HUMAN_USE,
    INACTIVE,
    INVENTORY,
    LEAVERS,
    LONG_LIVED,
    OFFBOARDING,
)
from rotator.domain.record import KeyState
from rotator.domain.text import duration, text

TOLERANCE = timedelta(days=1)
"""An expiration date may be a whole day: how much later than the policy says a key may end."""

_MEANINGLESS = re.compile(
    r"(?:(?:my|new|old|the|temp|tmp|test(?:ing)?|default|api|secret|key|token|untitled|unnamed|copy|foo|bar|asdf|abc|xxx)"
    r"|[\W_]|\d)*(?:\s*\(\d+\))?",
    re.IGNORECASE,
)

NO_EXPIRY = Rule(
    id="ROT-K01",
    severity=Severity.HIGH,
    title="Key without expiry",
    why="It works until somebody remembers to revoke it: whoever copies it has it for good.",
    todo="Let rotator replace it ('rotator rotate POLICY'), or give it an expiration date in the console.",
    references=(LONG_LIVED, CRYPTOPERIODS, CHANGED_PERIODICALLY),
)


def no_expiry(seen: Seen) -> Iterator[Finding]:
    """A live key never ends."""
    for policy, facts in seen.managed():
        if facts.expires_at is None:
            yield NO_EXPIRY.found(
                facts.key_id, _named(facts.name), policy=policy.name, project=facts.project, key_id=facts.key_id
            )
    for policy, key in seen.unlisted():
        if key.expires_at is None and key.expires_told_by:
            told = f"{_named(key.name)}; so {key.expires_told_by} said"
            yield NO_EXPIRY.found(key.key_id, told, policy=policy.name, project=key.project, key_id=key.key_id)


EXPIRES_LATE = Rule(
    id="ROT-K02",
    severity=Severity.MEDIUM,
    title="Expiry beyond the policy",
    why="The key outlives the lifetime that the policy promises.",
    todo="Rotate it, or bring its expiration date forward; ask who set it.",
    references=(LONG_LIVED, CRYPTOPERIODS),
)


def expires_late(seen: Seen) -> Iterator[Finding]:
    """A key of a policy ends later than the policy's lifetime after its creation."""
    for policy, facts in seen.managed():
        began = facts.created_at or seen.now
        if facts.expires_at and facts.expires_at > began + policy.lifetime + TOLERANCE:
            told = f"ends at {text(facts.expires_at)}; the policy allows {duration(policy.lifetime)} from {text(began)}"
            yield EXPIRES_LATE.found(facts.key_id, told, policy=policy.name, project=facts.project, key_id=facts.key_id)
    for policy, key in seen.unlisted():
        began = key.created_at or key.since
        if key.expires_at and key.expires_at > began + policy.lifetime + TOLERANCE:
            told = f"ends at {text(key.expires_at)}; the policy allows {duration(policy.lifetime)} from {text(began)}"
            yield EXPIRES_LATE.found(key.key_id, told, policy=policy.name, project=key.project, key_id=key.key_id)


TOO_OLD = Rule(
    id="ROT-K03",
    severity=Severity.HIGH,
    title="Older than its maximum age",
    why="The rotation that the policy promises did not happen; the longer a key is used, the more copies there are.",
    todo="See 'rotator status POLICY' for what holds it up, then 'rotator rotate POLICY --reason ...'.",
    references=(LONG_LIVED, CRYPTOPERIODS, CHANGED_PERIODICALLY),
)


def too_old(seen: Seen) -> Iterator[Finding]:
    """A key that a destination holds is older than the policy's lifetime."""
    for policy, facts in seen.managed():
        if facts.created_at and facts.created_at + policy.lifetime < seen.now and seen.holders(facts.key_id):
            told = f"created at {text(facts.created_at)}; the policy allows {duration(policy.lifetime)}"
            yield TOO_OLD.found(facts.key_id, told, policy=policy.name, project=facts.project, key_id=facts.key_id)
    for policy, key in seen.unlisted():
        began = key.created_at or key.since
        if began + policy.lifetime < seen.now and seen.holders(key.key_id):
            which = "created at" if key.created_at else "known since"
            told = f"{which} {text(began)}; the policy allows {duration(policy.lifetime)}"
            yield TOO_OLD.found(key.key_id, told, policy=policy.name, project=key.project, key_id=key.key_id)


SHADOW = Rule(
    id="ROT-K05",
    severity=Severity.HIGH,
    title="Shadow key: no policy manages it",
    why="Nobody rotates it, and nobody notices where it is used or when it leaks.",
    todo="Find its consumers; put their destination into a policy, which adopts it, or revoke it in the console.",
    references=(INVENTORY, OFFBOARDING, HUMAN_USE),
)


def shadow_key(seen: Seen) -> Iterator[Finding]:
    """A live key of a project that no policy's record, destination or name explains."""
    for project, facts in seen.listed():
        if project.complete and not seen.owner_of(project, facts):
            made = f", created at {text(facts.created_at)}" if facts.created_at else ""
            by = f" by {facts.created_by}" if facts.created_by else ""
            ends = f", ends at {text(facts.expires_at)}" if facts.expires_at else ", never ends"
            yield SHADOW.found(
                facts.key_id, f"{_named(facts.name)}{made}{by}{ends}", project=facts.project, key_id=facts.key_id
            )


SEVERAL = Rule(
    id="ROT-K06",
    severity=Severity.MEDIUM,
    title="Several live keys of one policy",
    why="Beside the current key and those in their grace, every further live key is one that nobody needs.",
    todo="'rotator --config F --dry-run' says what becomes of each; revoke by hand what rotator does not know.",
    references=(OFFBOARDING, INVENTORY),
)


def several_live(seen: Seen) -> Iterator[Finding]:
    """More live keys than one, not counting those in their grace."""
    live: dict[str, list[str]] = {}
    for policy, facts in seen.managed():
        record = seen.record_of(facts.key_id, policy)
        explained = record is not None and record.state in {KeyState.RETIRING, KeyState.ORPHAN, KeyState.REVOKED}
        if not explained and not (record and record.state is KeyState.CANDIDATE):
            live.setdefault(policy.name, []).append(facts.key_id)
    projects = {policy.name: policy.project for policy in seen.policies}
    for name, ids in live.items():
        if len(ids) > 1:
            unsure = "" if seen.records is not None else "; without the journal those in their grace are among them"
            told = f"{len(ids)} live keys: {', '.join(sorted(ids))}{unsure}"
            mild = None if seen.records is not None else Severity.INFO
            yield SEVERAL.found(name, told, policy=name, project=projects[name], severity=mild)


UNUSED = Rule(
    id="ROT-K11",
    severity=Severity.LOW,
    title="Key unused for long",
    why="A key that nobody uses serves only who should not have it.",
    todo="Ask the owner of the policy or project whether the consumer still exists; if not, end policy and key.",
    references=(OFFBOARDING, DORMANT, INACTIVE),
)


def unused(seen: Seen) -> Iterator[Finding]:
    """Neither the list nor the usage figures tell of any use since long."""
    for project, facts in seen.listed():
        used = seen.last_use(facts)
        since = used or facts.created_at
        if since is None or facts.key_id in seen.use_unknown or seen.now - since < seen.limits.unused_after:
            continue
        told = f"last used at {text(used)}" if used else f"never, as far as the provider tells; created {text(since)}"
        owner = seen.owner_of(project, facts)
        yield UNUSED.found(
            facts.key_id, f"{_named(facts.name)}: {told}", policy=owner, project=facts.project, key_id=facts.key_id
        )


CREATOR_LEFT = Rule(
    id="ROT-K13",
    severity=Severity.HIGH,
    title="The key's creator has left",
    why="Keys outlive the collaborator who made them, and that person may have kept a copy.",
    todo="Rotate it now ('rotator rotate POLICY --compromised --reason ...' where a copy is likely), or revoke it.",
    references=(OFFBOARDING, LEAVERS, HUMAN_USE),
)


def creator_left(seen: Seen) -> Iterator[Finding]:
    """The list says that whoever made the key is not in the organisation any more."""
    for project, facts in seen.listed():
        if facts.creator_left:
            owner = seen.owner_of(project, facts)
            told = f"{_named(facts.name)}, created by {facts.created_by or 'somebody'}, who has left"
            yield CREATOR_LEFT.found(facts.key_id, told, policy=owner, project=facts.project, key_id=facts.key_id)


NAMELESS = Rule(
    id="ROT-K14",
    severity=Severity.LOW,
    title="Name without meaning",
    why="Nobody can tell what the key is for, so nobody dares to revoke it. The platform asks for descriptive names.",
    todo="Rotate it: rotator names keys after instance, policy and day. Others get a name that says what for.",
    references=(INVENTORY,),
)


def name_without_meaning(seen: Seen) -> Iterator[Finding]:
    """An empty name, or one of words such as test, new, key."""
    for project, facts in seen.listed():
        if _MEANINGLESS.fullmatch(facts.name.strip()):
            owner = seen.owner_of(project, facts)
            yield NAMELESS.found(
                facts.key_id, _named(facts.name), policy=owner, project=facts.project, key_id=facts.key_id
            )


def _named(name: str) -> str:
    return f"named '{name}'" if name.strip() else "without a name"


KEY_LIVES: tuple[tuple[Rule, Callable[[Seen], Iterator[Finding]]], ...] = (
    (NO_EXPIRY, no_expiry),
    (EXPIRES_LATE, expires_late),
    (TOO_OLD, too_old),
    (SHADOW, shadow_key),
    (SEVERAL, several_live),
    (UNUSED, unused),
    (CREATOR_LEFT, creator_left),
    (NAMELESS, name_without_meaning),
)
"""How long keys live, and whose they are."""
