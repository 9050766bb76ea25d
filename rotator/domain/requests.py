"""What waits for a person: how pressing it is, when it is told again, and what exactly is to be done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.model import Assistance, Policy
from rotator.domain.record import KeyRecord, KeyState, Level, Origin, PersonRequest, PolicyRecord, RotationRecord
from rotator.domain.text import text

DAILY = timedelta(days=1)


def escalated_at(request: PersonRequest, assistance: Assistance) -> datetime:
    """When others are told too: at once where it is urgent, and otherwise not before half of the time is over."""
    if request.urgent:
        return request.opened_at
    return request.deadline - min(assistance.escalate_before, (request.deadline - request.opened_at) / 2)


def level_of(request: PersonRequest, assistance: Assistance, now: datetime) -> Level:
    """How pressing it is at that moment."""
    if now >= request.deadline:
        return Level.OVERDUE
    return Level.ESCALATED if now >= escalated_at(request, assistance) else Level.ASKED


def told_next(request: PersonRequest, assistance: Assistance) -> datetime:
    """When it is announced again: by the first of these moments after the last announcement.

    ``remind_first`` after its opening, twice that, four times that, ...; from its escalation on every day; and at its
    deadline. Several that were missed are one.
    """
    last = request.told_at
    step = assistance.remind_first
    while request.opened_at + step <= last:
        step *= 2
    daily_from = escalated_at(request, assistance)
    daily = daily_from if last < daily_from else daily_from + ((last - daily_from) // DAILY + 1) * DAILY
    moments = [request.opened_at + step, daily]
    return min([*moments, request.deadline] if request.deadline > last else moments)


def open_request(policy: Policy, record: PolicyRecord, now: datetime) -> PersonRequest | None:
    """By which a person is asked for a new key; ``None`` where nobody is, or where it is on hold."""
    if policy.assistance is None or record.awaiting is None or record.held(now):
        return None
    return record.awaiting.request


def asked_in_time(policy: Policy, record: PolicyRecord, now: datetime, by: datetime) -> bool:
    """Whether a person was asked for a new key by then, and has time: the request itself tells when that is over."""
    request, assistance = open_request(policy, record, now), policy.assistance
    if request is None or assistance is None:
        return False
    return request.opened_at <= by and level_of(request, assistance, now) is Level.ASKED


def ways_to_hand_over(policy: Policy) -> tuple[str, ...]:
    """How a person gives a new key to the rotator."""
    ways, assistance = [f"rotator submit {policy.name}"], policy.assistance
    if assistance and assistance.inbox:
        ways.append(assistance.inbox.name)
    if assistance and assistance.page:
        ways.append(f"the page of a link (rotator requests link {policy.name})")
    return tuple(ways)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing that waits for a person.

    :param kind: ``create``, ``revoke``, or ``regenerate`` (the legacy organisation key).
    :param key_id: of the key to be revoked; empty for one that is to be created.
    :param key_name: of the key to be created; of one to be revoked as far as it is known.
    :param expires_at: which expiration to give it; or when the old one ends by itself, as far as it is known.
    :param deadline: ``None`` where nothing is lost by waiting.
    :param what: what to do exactly, a sentence each.
    """

    kind: str
    policy: str
    project: str
    link: str
    key_id: str
    key_name: str
    expires_at: datetime | None
    opened_at: datetime | None
    deadline: datetime | None
    level: Level
    owners: tuple[str, ...]
    what: tuple[str, ...]


def tasks_of(policy: Policy, record: PolicyRecord, now: datetime) -> tuple[Task, ...]:
    """All that waits for a person at this policy; what is on hold is not waited for."""
    assistance = policy.assistance
    if assistance is None or record.held(now):
        return ()
    tasks = []
    if record.awaiting and record.awaiting.request:
        tasks.append(_creation(policy, assistance, record.awaiting, record.awaiting.request, now))
    for key in record.keys:
        if key.revocation:
            tasks.append(_revocation(policy, assistance, key, key.revocation, now))
        elif key.origin is Origin.LEGACY and key.state is KeyState.RETIRING:
            tasks.append(_regeneration(policy, assistance, key))
    return tuple(tasks)


def _creation(
    policy: Policy, assistance: Assistance, rotation: RotationRecord, request: PersonRequest, now: datetime
) -> Task:
    ways = ways_to_hand_over(policy)
    return Task(
        kind="create",
        policy=policy.name,
        project=policy.project,
        link=assistance.console_url,
        key_id="",
        key_name=rotation.key_name,
        expires_at=rotation.expires_at,
        opened_at=request.opened_at,
        deadline=request.deadline,
        level=level_of(request, assistance, now),
        owners=assistance.owners,
        what=(
            f"create an API key named {rotation.key_name} in project {policy.project}",
            f"set its expiration to {rotation.expires_at:%Y-%m-%d}",
            f"hand it over: {' or '.join(ways)}",
        ),
    )


def _revocation(policy: Policy, assistance: Assistance, key: KeyRecord, request: PersonRequest, now: datetime) -> Task:
    named = f" ({key.name})" if key.name else ""
    ends = (f"it ends by itself at {text(key.expires_at)}",) if key.expires_at else ()
    # Whoever handed it over was not asked for it, and may have taken the wrong one.
    is_unasked = key.state is KeyState.ORPHAN and not key.rotation_id
    used = (f"where somebody uses it: 'rotator forget {policy.name} --key {key.key_id}'",) if is_unasked else ()
    told = (f"{request.done_by} says that this is done; it was not observed yet",) if request.done_by else ()
    return Task(
        kind="revoke",
        policy=policy.name,
        project=key.project,
        link=assistance.console_url,
        key_id=key.key_id,
        key_name=key.name,
        expires_at=key.expires_at,
        opened_at=request.opened_at,
        deadline=request.deadline,
        level=level_of(request, assistance, now),
        owners=assistance.owners,
        what=(f"revoke {key.key_id}{named} in project {key.project}, and no other", *used, *ends, *told),
    )


def _regeneration(policy: Policy, assistance: Assistance, key: KeyRecord) -> Task:
    return Task(
        kind="regenerate",
        policy=policy.name,
        project=key.project,
        link=assistance.console_url,
        key_id=key.key_id,
        key_name=key.name,
        expires_at=None,
        opened_at=None,
        deadline=None,
        level=Level.ASKED,
        owners=assistance.owners,
        what=(f"regenerate the legacy organisation key {key.key_id}: it can't be revoked",),
    )
