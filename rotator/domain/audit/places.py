"""Faults of destinations: what they hold, and who else can read it. Read ``PLACES`` at the end first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rotator.domain.audit.finding import Finding, Rule, Severity
from rotator.domain.audit.seen import PlaceSeen, Seen
from rotator.domain.audit.standards import (
    ACCESS_LISTS,
    HARD_CODED,
    ISOLATION,
    KEY_CHANGE,
    LEAKAGE,
    LONG_LIVED,
    OFFBOARDING,
    REUSE,
)
from rotator.domain.audit.surroundings import FileSeen, Git, Purpose
from rotator.domain.model import Identity, KeyKind, Refused
from rotator.domain.record import KeyState, Phase, PolicyRecord
from rotator.domain.snapshot import Reach
from rotator.domain.text import text

EXPIRED_HERE = Rule(
    id="ROT-K04",
    severity=Severity.HIGH,
    title="Expired and still in a destination",
    why="Consumers read a key that does not work (any more): the rotation came too late, or not at all.",
    todo="'rotator rotate POLICY --reason ...'; then see why it was not renewed in time.",
    references=(LONG_LIVED, KEY_CHANGE),
)


def expired_here(seen: Seen) -> Iterator[Finding]:
    """The journal or the list tells an end that is past."""
    for place in seen.asked_for():
        record = seen.record_of(place.key_id, place.policy)
        facts = seen.project_of(place.policy).facts(place.key_id)
        ends = facts.expires_at if facts else record.expires_at if record else None
        if ends and ends <= seen.now:
            yield _at(EXPIRED_HERE, place, f"holds {place.key_id}, which ended at {text(ends)}")


REJECTED = Rule(
    id="ROT-D01",
    severity=Severity.HIGH,
    title="The provider rejects the destination's key",
    why="Its consumers are without a working key, or somebody put a value there that is no key.",
    todo="'rotator rotate POLICY --reason ...' replaces it at once; find out who revoked the key, or wrote the value.",
    references=(OFFBOARDING,),
)


def rejected(seen: Seen) -> Iterator[Finding]:
    """The provider said that it does not accept the value."""
    for place in seen.asked_for():
        if isinstance(place.answer, Refused):
            which = f" ({place.key_id})" if place.key_id else ""
            yield _at(REJECTED, place, f"the provider refuses what it holds{which}: {place.answer.evidence}")


OTHER_PROJECT = Rule(
    id="ROT-D02",
    severity=Severity.HIGH,
    title="The destination holds a key of another project",
    why="Use is billed to and limited by the wrong project, and a leak there reaches further than expected.",
    todo="Put a key of the policy's project there, or correct the policy; rotator does not touch it until then.",
    references=(ISOLATION, REUSE),
)


def other_project(seen: Seen) -> Iterator[Finding]:
    """Accepted, of the same organisation as far as is known, and not of the policy's project."""
    for place, identity in _strangers(seen):
        if not _is_foreign(seen, place, identity):
            told = f"holds {identity.key_id} of {identity.project}, not of {place.policy.project}"
            yield _at(OTHER_PROJECT, place, told)


OTHER_ORGANIZATION = Rule(
    id="ROT-D03",
    severity=Severity.CRITICAL,
    title="The destination holds a key of another organisation",
    why="What consumers send goes to an account of somebody else.",
    todo="Take it out at once and ask who wrote it; check what was sent with it.",
    references=(ISOLATION, REUSE),
)


def other_organization(seen: Seen) -> Iterator[Finding]:
    """Accepted, and of an organisation that is not the one of the project's other keys."""
    for place, identity in _strangers(seen):
        if _is_foreign(seen, place, identity):
            told = f"holds {identity.key_id} of {identity.organization}, project {identity.project}"
            yield _at(OTHER_ORGANIZATION, place, told)


NO_KEY = Rule(
    id="ROT-D04",
    severity=Severity.HIGH,
    title="The destination holds a credential that is no API key",
    why="A person's session or another credential gives consumers that person's rights.",
    todo="Put a project key there; end that session.",
    references=(REUSE,),
)


def no_key(seen: Seen) -> Iterator[Finding]:
    """The provider knows it as something else."""
    for place in seen.asked_for():
        if isinstance(place.answer, Identity) and place.answer.kind is KeyKind.OTHER:
            yield _at(NO_KEY, place, "holds a credential that the provider knows, and that is no API key")


DRIFT = Rule(
    id="ROT-D05",
    severity=Severity.MEDIUM,
    title="Drift: not the key that was published",
    why="Somebody else writes there, so nobody knows which key consumers use; or a rotation did not come through.",
    todo="Ask who wrote it. 'drift:' of the policy says what rotator does about it: tell, adopt, restore.",
    references=(KEY_CHANGE,),
)


def drift(seen: Seen) -> Iterator[Finding]:
    """A value that is not the recorded current key, while no rotation of ours explains it."""
    for place in seen.asked_for():
        record = (seen.records or {}).get(place.policy.name)
        key = record.current if record else None
        if record is None or key is None or place.view.reach is not Reach.OK or _in_work(record, place):
            continue
        if place.view.fingerprint not in {key.fingerprint, None}:
            what = place.key_id or "another value"
            told = f"holds {what} instead of {key.key_id}{_written(place)}"
            yield _at(DRIFT, place, told)


DIFFERENT = Rule(
    id="ROT-D06",
    severity=Severity.MEDIUM,
    title="The destinations of a policy hold different keys",
    why="Some consumers use another key than the others; one of the two is not rotated.",
    todo="'rotator --config F --dry-run' says what rotator will do; write to destinations through rotator alone.",
    references=(KEY_CHANGE, REUSE),
)


def different(seen: Seen) -> Iterator[Finding]:
    """More than one value, while no rotation is under way."""
    by_policy: dict[str, list[PlaceSeen]] = {}
    for place in seen.asked_for():
        record = (seen.records or {}).get(place.policy.name)
        if place.view.fingerprint and not (record and _in_work(record, place)):
            by_policy.setdefault(place.policy.name, []).append(place)
    for name, places in by_policy.items():
        if len({place.view.fingerprint for place in places}) > 1:
            told = "; ".join(f"{place.name}: {place.key_id or 'unknown'}" for place in places)
            yield DIFFERENT.found(name, told, policy=name, project=places[0].policy.project)


EMPTY = Rule(
    id="ROT-D07",
    severity=Severity.LOW,
    title="The destination holds no key",
    why="Its consumers have none, or the place is not used any more.",
    todo="'rotator --run-once' puts a first key there; take the destination out of the policy where nobody reads it.",
    references=(KEY_CHANGE,),
)


def empty(seen: Seen) -> Iterator[Finding]:
    """Readable, and nothing is there."""
    for place in seen.asked_for():
        if place.view.reach is Reach.OK and place.view.fingerprint is None:
            yield _at(EMPTY, place, "holds no key")


IN_MORE_PLACES = Rule(
    id="ROT-D08",
    severity=Severity.HIGH,
    title="The key lies in more places than the policy names",
    why="A copy is used and leaked where nobody looks for it; revoking it breaks consumers of another policy.",
    todo="Give each policy a key of its own ('rotator rotate POLICY'), or name all the places in one policy.",
    references=(REUSE, LEAKAGE),
)


def in_more_places(seen: Seen) -> Iterator[Finding]:
    """Destinations of several policies hold the same value."""
    by_value: dict[str, list[PlaceSeen]] = {}
    for place in seen.places:
        if place.view.fingerprint:
            by_value.setdefault(place.view.fingerprint, []).append(place)
    asked_for = {policy.name for policy in seen.policies}
    for places in by_value.values():
        for name in sorted({place.policy.name for place in places} & asked_for):
            others = [place.name for place in places if place.policy.name != name]
            if others:
                one = next(place for place in places if place.policy.name == name)
                told = f"{one.key_id or 'its value'} lies in {', '.join(others)} too"
                yield _at(IN_MORE_PLACES, one, told)


FILE_READABLE = Rule(
    id="ROT-D09",
    severity=Severity.HIGH,
    title="Everybody on the machine can read the key's file",
    why="Any program of any user can copy the key.",
    todo="chmod 600 (or 640 with a group of the consumers alone); rotator keeps the stricter mode from then on.",
    references=(LEAKAGE, ACCESS_LISTS),
)


def file_readable(seen: Seen) -> Iterator[Finding]:
    """A dotenv file whose mode lets others read it, or a group that only its mode has chosen."""
    for file in _files(seen):
        if file.readable or (file.readable_by_group and file.mode & 0o007):
            told = f"mode {file.permissions}, owner {file.owner or 'unknown'}"
            yield FILE_READABLE.found(file.path, told, policy=file.policy)


IN_GIT = Rule(
    id="ROT-D10",
    severity=Severity.HIGH,
    title="The key's file is in a git work tree that does not ignore it",
    why="One 'git add .' puts the key into the history, where it stays and from where it is copied.",
    todo="Add it to .gitignore; where it is tracked already, remove it from the history and rotate with --compromised.",
    references=(LEAKAGE, HARD_CODED),
)


def in_git(seen: Seen) -> Iterator[Finding]:
    """A file that git would add, or has added."""
    for file in _files(seen):
        if file.git in {Git.TRACKED, Git.NOT_IGNORED}:
            worse = Severity.CRITICAL if file.git is Git.TRACKED else None
            told = "git tracks it" if worse else "git does not ignore it"
            yield IN_GIT.found(file.path, told, policy=file.policy, severity=worse)


def _files(seen: Seen) -> Iterator[FileSeen]:
    return (file for file in seen.surroundings.files if file.purpose is Purpose.DESTINATION)


def _at(rule: Rule, place: PlaceSeen, seen: str) -> Finding:
    policy = place.policy
    return rule.found(place.name, seen, policy=policy.name, project=policy.project, key_id=place.key_id)


def _strangers(seen: Seen) -> Iterator[tuple[PlaceSeen, Identity]]:
    for place in seen.asked_for():
        answer = place.answer
        if isinstance(answer, Identity) and answer.kind is KeyKind.PROJECT and answer.project != place.policy.project:
            yield place, answer


def _is_foreign(seen: Seen, place: PlaceSeen, identity: Identity) -> bool:
    ours = seen.organizations.get(place.policy.project)
    return bool(ours and identity.organization and identity.organization != ours)


def _in_work(record: PolicyRecord, place: PlaceSeen) -> bool:
    """A rotation or rollback of ours explains what lies there."""
    rotation = record.in_flight
    begun = rotation is not None and rotation.phase is Phase.PUBLISHING
    explained = {key.fingerprint for key in record.in_state(KeyState.CANDIDATE)} | {
        *(rotation.replaces.values() if rotation else ())
    }
    return record.rollback is not None or (begun and place.view.fingerprint in explained)


def _written(place: PlaceSeen) -> str:
    return f" ({place.view.written})" if place.view.written else ""


PLACES: tuple[tuple[Rule, Callable[[Seen], Iterator[Finding]]], ...] = (
    (EXPIRED_HERE, expired_here),
    (REJECTED, rejected),
    (OTHER_PROJECT, other_project),
    (OTHER_ORGANIZATION, other_organization),
    (NO_KEY, no_key),
    (DRIFT, drift),
    (DIFFERENT, different),
    (EMPTY, empty),
    (IN_MORE_PLACES, in_more_places),
    (FILE_READABLE, file_readable),
    (IN_GIT, in_git),
)
"""What destinations hold, and who can read it."""
