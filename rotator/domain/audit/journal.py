"""What the journal tells of a rotator that is in trouble; and places that could not be looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from rotator.domain.audit.finding import Finding, Rule, Severity
from rotator.domain.audit.seen import Seen
from rotator.domain.audit.standards import CHANGED_PERIODICALLY, INVENTORY, KEY_CHANGE, LOG_INTEGRITY, TIME
from rotator.domain.key_checks import LARGEST_SKEW
from rotator.domain.snapshot import Reach
from rotator.domain.text import duration, text

EXHAUSTED = 6
"""So many failures in a row: the pauses between attempts have reached their longest."""

OVERDUE = timedelta(hours=1)
"""How late a look may be: a cron job runs rarely."""

CHAIN = Rule(
    id="ROT-J01",
    severity=Severity.CRITICAL,
    title="The journal's chain of events is broken",
    why="An event was changed, taken out or cut off: the journal is no evidence any more.",
    todo="Compare with the anchored heads and with backups; find out who can write the journal.",
    references=(LOG_INTEGRITY,),
)


def chain(seen: Seen) -> Iterator[Finding]:
    """What the verification of the chain has found; each is a subject of its own, so that none is taken for another."""
    for problem in seen.chain or ():
        yield CHAIN.found(f"journal: {problem}", problem)


STUCK = Rule(
    id="ROT-J02",
    severity=Severity.HIGH,
    title="A rotation is stuck",
    why="It was begun and did not come through; consumers may hold different keys.",
    todo="'rotator status POLICY' names the phase and the last problem; a running rotator finishes it by itself.",
    references=(KEY_CHANGE,),
)


def stuck(seen: Seen) -> Iterator[Finding]:
    """In flight for longer than its late effects may take, and than a pause between attempts."""
    for policy, record in seen.remembered():
        rotation = record.in_flight
        if rotation and seen.now - rotation.started_at > max(policy.settle, OVERDUE):
            told = f"rotation {rotation.rotation_id} is {rotation.phase} since {text(rotation.started_at)}"
            yield STUCK.found(policy.name, told, policy=policy.name, project=policy.project, key_id=rotation.key_id)


BACKOFF = Rule(
    id="ROT-J03",
    severity=Severity.HIGH,
    title="Backoff exhausted: every attempt fails",
    why="The pauses have reached their longest; time alone does not help any more.",
    todo="The problem that is shown names what a person must repair.",
    references=(KEY_CHANGE, CHANGED_PERIODICALLY),
)


def backoff(seen: Seen) -> Iterator[Finding]:
    """Many failed looks in a row."""
    for policy in seen.policies:
        look = seen.schedules.get(policy.name)
        if look and look.failures >= EXHAUSTED:
            told = f"{look.failures} failures in a row: {look.problem or 'no reason was recorded'}"
            yield BACKOFF.found(policy.name, told, policy=policy.name, project=policy.project)


SKEW = Rule(
    id="ROT-J04",
    severity=Severity.HIGH,
    title="Clock skew",
    why="Nobody knows which graces are over: while clocks disagree, rotator revokes nothing.",
    todo="Synchronise this machine's clock (chrony, systemd-timesyncd); else tell the provider.",
    references=(TIME,),
)


def clock_skew(seen: Seen) -> Iterator[Finding]:
    """Our clock and the provider's are far apart."""
    for provider, skew in sorted(seen.skew.items()):
        if abs(skew) > LARGEST_SKEW:
            way = "behind" if skew > timedelta(0) else "ahead of"
            rounded = timedelta(seconds=round(abs(skew).total_seconds()))
            yield SKEW.found(
                f"provider {provider}", f"this machine's clock is {duration(rounded)} {way} the provider's"
            )


NOT_RUNNING = Rule(
    id="ROT-J05",
    severity=Severity.HIGH,
    title="Nobody looks at the policy",
    why="Its next look is long past: the rotator does not run, or does not come through.",
    todo="See whether the service or the cron job runs, with this configuration and journal.",
    references=(CHANGED_PERIODICALLY,),
)


def not_running(seen: Seen) -> Iterator[Finding]:
    """The moment of the next look is past, or there was never one."""
    for policy in seen.policies if seen.records is not None else ():
        look = seen.schedules.get(policy.name)
        if look is None:
            yield NOT_RUNNING.found(policy.name, "it was never looked at", policy=policy.name, project=policy.project)
        elif seen.now - look.next_at > OVERDUE:
            told = f"the next look was due at {text(look.next_at)}"
            yield NOT_RUNNING.found(policy.name, told, policy=policy.name, project=policy.project)


ON_HOLD = Rule(
    id="ROT-J06",
    severity=Severity.LOW,
    title="On hold",
    why="Neither rotations nor revocations happen while a policy is on hold.",
    todo="'rotator release POLICY' when the reason is gone; a hold with '--until' ends by itself.",
    references=(CHANGED_PERIODICALLY,),
)


def on_hold(seen: Seen) -> Iterator[Finding]:
    """An operator's hold is in force; worse where it has no end."""
    for policy, record in seen.remembered():
        if reason := record.held(seen.now):
            until = record.hold_until
            told = f"{reason}; {f'until {text(until)}' if until else 'without an end'}"
            worse = None if until else Severity.MEDIUM
            yield ON_HOLD.found(policy.name, told, policy=policy.name, project=policy.project, severity=worse)


LEFT_BEHIND = Rule(
    id="ROT-J07",
    severity=Severity.MEDIUM,
    title="Keys of a policy that is not configured any more",
    why="The policy was taken out of the configuration; its keys live on, and nobody rotates or revokes them.",
    todo="Revoke them in the console when no consumer needs them, or put the policy back.",
    references=(INVENTORY,),
)


def left_behind(seen: Seen) -> Iterator[Finding]:
    """The journal has live keys under a name that no policy has."""
    for name in sorted(set(seen.abandoned)):
        record = (seen.records or {}).get(name)
        if record and record.keys:
            ids = ", ".join(key.key_id for key in record.keys)
            yield LEFT_BEHIND.found(name, f"the journal knows {ids}", policy=name, project=record.keys[0].project)


UNREADABLE = Rule(
    id="ROT-A01",
    severity=Severity.HIGH,
    title="The destination could not be looked at",
    why="Nobody knows which key it holds; what is said of its policy is incomplete.",
    todo="Give the audit's credential the right to read it, or repair what is named; then audit again.",
    references=(INVENTORY,),
)


def unreadable(seen: Seen) -> Iterator[Finding]:
    """It did not answer, refused, or is another place than the policy means."""
    for place in seen.asked_for():
        if place.view.reach is not Reach.OK:
            told = place.view.problem or "it can't be read"
            policy = place.policy
            yield UNREADABLE.found(place.name, told, policy=policy.name, project=policy.project)


NOT_ASKED = Rule(
    id="ROT-A02",
    severity=Severity.HIGH,
    title="The provider could not be asked",
    why="Nobody knows which keys live; shadow keys and late revocations can't be found.",
    todo="Give the audit a credential that may list keys, or repair what is named; then audit again.",
    references=(INVENTORY,),
)


def not_asked(seen: Seen) -> Iterator[Finding]:
    """A project's list could not be read, or a value could not be asked about."""
    for project in seen.projects:
        if project.problem:
            yield NOT_ASKED.found(project.project, project.problem, project=project.project)
    for place in seen.asked_for():
        if place.problem:
            policy = place.policy
            yield NOT_ASKED.found(place.name, place.problem, policy=policy.name, project=policy.project)


NO_JOURNAL = Rule(
    id="ROT-A03",
    severity=Severity.HIGH,
    title="The journal could not be read",
    why="Nobody knows which keys are in their grace, orphans, or revoked; and whether the rotator comes through.",
    todo="Repair what is named, or say '--no-journal' where this machine is to have none.",
    references=(INVENTORY,),
)


def no_journal(seen: Seen) -> Iterator[Finding]:
    """It did not let itself be read, or there is none."""
    if seen.journal_problem:
        yield NO_JOURNAL.found("journal", seen.journal_problem)


JOURNAL: tuple[tuple[Rule, Callable[[Seen], Iterator[Finding]]], ...] = (
    (CHAIN, chain),
    (STUCK, stuck),
    (BACKOFF, backoff),
    (SKEW, clock_skew),
    (NOT_RUNNING, not_running),
    (ON_HOLD, on_hold),
    (LEFT_BEHIND, left_behind),
    (UNREADABLE, unreadable),
    (NOT_ASKED, not_asked),
    (NO_JOURNAL, no_journal),
)
"""What the journal tells, and what could not be seen."""
