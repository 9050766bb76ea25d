"""Where people make and revoke keys: the same chains, and what their verdicts ask of whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain import events as ev
from rotator.domain import request_events as rev
from rotator.domain.actions import Adopt, Close, ConfirmRefusal, ExtendGrace, ForwardExpiry, Issue, Revoke
from rotator.domain.handover import HANDOVER_CHAIN, Offer, Seen, comes_too_late, malformed, refusal, tidied
from rotator.domain.lifecycle import fold, fold_all
from rotator.domain.model import Assistance, Destination, Identity, KeyKind
from rotator.domain.planner import plan
from rotator.domain.record import KeyState, Level, PersonRequest, Phase, Rollback
from rotator.domain.request_actions import (
    AskForKey,
    AskForRevocation,
    ChangeRequest,
    CheckInbox,
    Remind,
    WithdrawRequest,
    WithdrawRevocation,
)
from rotator.domain.requests import level_of, tasks_of, told_next
from rotator.domain.secret import SecretValue
from rotator.domain.snapshot import Claim
from rotator.errors import IllegalMove, Overtaken
from tests.domain.build import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    POLICY,
    REFUSED,
    fingerprint,
    key,
    record,
    retiring,
    rotation,
    world,
)

INBOX = Destination(backend="vault", name="vault:secret/inbox/chat#key")
PEOPLE = Assistance(console_url="https://console.example/proj_a", owners=("ada",))
ASSISTED = replace(POLICY, assistance=PEOPLE)
WITH_INBOX = replace(POLICY, assistance=replace(PEOPLE, inbox=INBOX))
OPEN = PersonRequest(opened_at=NOW - HOUR, deadline=NOW + 4 * DAY, told_at=NOW - HOUR)
NEAR = {"expires_at": NOW + 6 * DAY}


def asked(**changes: object):
    request = replace(OPEN, **{name: changes.pop(name) for name in list(changes) if hasattr(OPEN, name)})
    made = rotation(Phase.AWAITING, key_id="", fingerprint=None, expected={}, replaces={}, request=request)
    return replace(made, **changes)


def planned(remembered, seen=None, policy=ASSISTED, now=NOW):
    return plan(policy, (seen or world("a", "a")).beside(remembered), now)


def kinds(remembered, seen=None, policy=ASSISTED, now=NOW):
    return [type(action) for action in planned(remembered, seen, policy, now).actions]


# --- reminders ---------------------------------------------------------------------------------------------


def announcements(request, days):
    """Hours after the opening at which it is told, looking every hour."""
    told, now = [], request.opened_at
    while now <= request.opened_at + days * DAY:
        if told_next(request, PEOPLE) <= now:
            told.append(((now - request.opened_at) // HOUR, level_of(request, PEOPLE, now)))
            request = replace(request, told_at=now)
        now += HOUR
    return told


def test_a_request_is_told_ever_more_rarely_then_daily_before_its_deadline_and_after_it():
    request = PersonRequest(opened_at=NOW, deadline=NOW + 10 * DAY, told_at=NOW)
    assert announcements(request, 12) == [
        *((hours, Level.ASKED) for hours in (24, 48, 96)),
        *((hours, Level.ESCALATED) for hours in (192, 216)),
        *((hours, Level.OVERDUE) for hours in (240, 264, 288)),
    ]


def test_what_is_urgent_is_escalated_at_once_and_a_short_request_not_before_half_of_its_time():
    short = PersonRequest(opened_at=NOW, deadline=NOW + DAY, told_at=NOW)
    assert level_of(replace(short, urgent=True), PEOPLE, NOW) is Level.ESCALATED
    assert level_of(short, PEOPLE, NOW + 12 * HOUR - MINUTE) is Level.ASKED
    assert level_of(short, PEOPLE, NOW + 12 * HOUR) is Level.ESCALATED


def test_announcements_that_were_missed_are_one():
    request = PersonRequest(opened_at=NOW, deadline=NOW + 10 * DAY, told_at=NOW)
    late = replace(request, told_at=NOW + 9 * DAY + HOUR)
    assert told_next(late, PEOPLE) == NOW + 10 * DAY


# --- a new key ---------------------------------------------------------------------------------------------


def test_a_key_that_ends_soon_is_asked_for_with_a_whole_day_as_expiration_and_time_to_repair_before_its_end():
    (action,) = planned(record(key("a", **NEAR))).actions
    assert isinstance(action, AskForKey)
    assert action.expires_at == datetime(2026, 12, 23, tzinfo=UTC)
    assert action.deadline == NOW + 6 * DAY - timedelta(days=7) / 4
    assert not action.pressing


@pytest.mark.parametrize(
    ("remembered", "seen"),
    [
        (record(key("a"), requested="leak", compromised=True), None),
        (record(key("a")), world("a", "a", identities={fingerprint("a"): REFUSED})),
        (record(key("a", expires_at=NOW + MINUTE, condemned=True)), None),
        (record(key("a")), world("a", None)),
    ],
)
def test_what_can_not_wait_is_asked_for_within_the_hour(remembered, seen):
    (action,) = [one for one in planned(remembered, seen).actions if isinstance(one, AskForKey)]
    assert action.deadline == NOW + HOUR
    assert action.pressing


def test_nothing_is_issued_revoked_or_given_another_end_by_us_in_any_state():
    old = retiring("old", expiry_forwarded=False)
    for remembered in (
        record(key("a", **NEAR), old),
        record(key("a")),
        record(key("a"), retiring("b", grace_until=NOW + DAY)),
    ):
        assert not {Issue, Revoke, ForwardExpiry} & set(kinds(remembered))


def test_an_open_request_stays_and_is_said_to_wait_while_it_is_needed():
    made = planned(record(key("a", **NEAR), rotations=(asked(),)))
    assert made.verdict.check == "AwaitingKey"
    assert not made.verdict.alert
    assert made.actions == ()
    assert made.next_look == NOW + 6 * HOUR


def test_an_inbox_is_looked_at_every_minute_while_a_key_is_asked_for_and_at_every_look_otherwise():
    made = planned(record(key("a", **NEAR), rotations=(asked(),)), policy=WITH_INBOX)
    assert made.actions == (CheckInbox(inbox=INBOX),)
    assert made.next_look == NOW + MINUTE
    assert kinds(record(key("a")), policy=WITH_INBOX) == [CheckInbox]


@pytest.mark.parametrize(
    ("changes", "level", "alert"),
    [
        ({"told_at": NOW - 2 * DAY, "opened_at": NOW - 2 * DAY}, Level.ASKED, False),
        ({"deadline": NOW + DAY, "opened_at": NOW - 5 * DAY, "told_at": NOW - DAY}, Level.ESCALATED, True),
        ({"deadline": NOW - DAY, "opened_at": NOW - 5 * DAY, "told_at": NOW - DAY}, Level.OVERDUE, True),
    ],
)
def test_a_reminder_grows_louder(changes, level, alert):
    made = planned(record(key("a", **NEAR), rotations=(asked(**changes),)))
    assert made.actions == (Remind(level=level, rotation_id="r1"),)
    assert made.verdict.alert is alert


def test_a_policy_on_hold_reminds_nobody_and_looks_into_no_inbox():
    late = asked(deadline=NOW - DAY, told_at=NOW - 3 * DAY, opened_at=NOW - 5 * DAY)
    remembered = record(key("a", **NEAR), retiring("old"), rotations=(late,), hold="incident")
    assert kinds(remembered, policy=WITH_INBOX) == []
    assert tasks_of(ASSISTED, remembered, NOW) == ()


def test_a_request_that_became_urgent_has_an_earlier_deadline_once():
    remembered = record(key("a", **NEAR), rotations=(asked(),), requested="leak", compromised=True)
    (action,) = planned(remembered).actions
    assert action == ChangeRequest(
        rotation_id="r1",
        reason="Compromised: compromised: leak",
        expires_at=NOW + 30 * DAY,
        deadline=NOW + HOUR,
        pressing=True,
    )
    later = replace(remembered, rotations=(asked(urgent=True, deadline=NOW + HOUR, told_at=NOW),))
    assert kinds(later, now=NOW + MINUTE) == []


def test_a_request_that_is_open_for_long_asks_for_a_later_expiration():
    old = asked(expires_at=NOW + 10 * DAY)
    (action,) = planned(record(key("a", **NEAR), rotations=(old,))).actions
    assert isinstance(action, ChangeRequest)
    assert action.expires_at == datetime(2026, 12, 23, tzinfo=UTC)
    assert action.deadline <= OPEN.deadline


def test_a_request_is_withdrawn_when_its_need_is_gone():
    """A person put a fresh key into the destinations by themselves."""
    assert kinds(record(key("old", **NEAR), rotations=(asked(),))) == [Adopt]
    assert kinds(record(key("a"), rotations=(asked(),))) == [WithdrawRequest]


def test_a_request_is_withdrawn_where_the_provider_makes_keys_by_itself_now():
    assert kinds(record(key("a", **NEAR), rotations=(asked(),)), policy=POLICY) == [WithdrawRequest, Issue]


class _Closed:
    def opens(self, now):
        return now + DAY


def test_an_open_request_outlives_the_end_of_its_window():
    policy = replace(ASSISTED, windows=_Closed())
    made = planned(record(key("a", **NEAR), rotations=(asked(),)), policy=policy)
    assert (made.verdict.check, made.actions) == ("AwaitingKey", ())


def test_a_rotation_that_is_asked_for_is_no_rotation_in_flight():
    remembered = record(key("a", **NEAR), rotations=(asked(),))
    assert remembered.in_flight is None
    assert remembered.awaiting.rotation_id == "r1"


# --- an old key --------------------------------------------------------------------------------------------

REVOKING = PersonRequest(opened_at=NOW - DAY, deadline=NOW + 6 * DAY, told_at=NOW)


def test_an_old_key_is_asked_to_be_revoked_when_its_grace_is_over_though_no_list_shows_it():
    made = planned(record(key("a"), retiring("old")))
    assert made.actions == (
        AskForRevocation(
            key_id="key_old",
            why="key_old was replaced, its grace is over",
            deadline=NOW + 7 * DAY,
            pressing=False,
        ),
    )


@pytest.mark.parametrize(
    ("old", "seen"),
    [
        (retiring("old", grace_until=NOW + HOUR), world("a", "a")),
        (retiring("old"), world("a", "a", used_until={"key_old": NOW - HOUR})),
        (retiring("old"), world("a", "a", held_by_others=None)),
        (retiring("old"), world("a", "a", others_unknown=("vault:x",))),
        (retiring("old"), world("a", None)),
        (retiring("old"), world("a", "a", claims={"key_old": (Claim(policy="batch", until=None),)})),
    ],
)
def test_every_gate_holds_for_a_request_as_for_a_revocation(old, seen):
    """Promise 2."""
    assert AskForRevocation not in kinds(record(key("a"), old), seen)


def test_a_use_that_billing_may_not_tell_yet_is_waited_for():
    just = world("a", "a", used_until={"key_old": NOW - 6 * HOUR - MINUTE})
    assert kinds(record(key("a"), retiring("old")), just) == [ExtendGrace]
    long_ago = world("a", "a", used_until={"key_old": NOW - 7 * HOUR})
    assert kinds(record(key("a"), retiring("old")), long_ago) == [AskForRevocation]


def test_a_key_that_is_to_be_revoked_is_watched_and_asked_for_again():
    remembered = record(key("a"), retiring("old", revocation=REVOKING))
    made = planned(remembered)
    assert made.actions == (ConfirmRefusal(key_id="key_old"),)
    assert made.next_look == NOW + HOUR
    late = retiring("old", revocation=replace(REVOKING, deadline=NOW - DAY, told_at=NOW - 2 * DAY))
    made = planned(record(key("a"), late))
    assert made.actions == (ConfirmRefusal(key_id="key_old"), Remind(level=Level.OVERDUE, key_id="key_old"))
    assert [alert.check for alert in made.alerts] == ["AwaitingRevocation"]


def test_a_revocation_is_taken_back_when_the_key_is_needed_again():
    seen = world("a", "a", held_by_others={fingerprint("old"): ("vault:x",)})
    assert kinds(record(key("a"), retiring("old", revocation=REVOKING)), seen) == [WithdrawRevocation]


def test_a_leaked_key_is_to_be_revoked_within_the_hour():
    (action,) = planned(record(key("a"), retiring("old", leaked=True))).actions
    assert (action.deadline, action.pressing) == (NOW + HOUR, True)


def test_a_key_that_got_nowhere_is_not_revoked_while_it_may_be_handed_over_again():
    lost = key("new", KeyState.ORPHAN, rotation_id="r1", revoke_after=NOW - HOUR)
    made = planned(record(key("a", **NEAR), lost, rotations=(asked(),)))
    assert [item.verdict.check for item in made.key_verdicts] == ["MayBeHandedOver"]
    assert kinds(record(key("a"), lost)) == [AskForRevocation]


def test_a_refused_current_key_is_closed_and_a_new_one_asked_for():
    seen = world("a", "a", identities={fingerprint("a"): REFUSED})
    assert kinds(record(key("a")), seen) == [Close, AskForKey]


# --- what was handed over ----------------------------------------------------------------------------------


def offer(**changes):
    remembered = changes.pop("record", record(key("a", **NEAR), retiring("old"), rotations=(asked(),)))
    base = Offer(
        policy=ASSISTED,
        record=remembered,
        identity=Identity(kind=KeyKind.PROJECT, key_id="key_new", project="proj_a", organization="org_1"),
        expires_at=NOW + 30 * DAY,
        records={"chat": remembered, "batch": record(key("theirs"), policy="batch", closed=("key_gone",))},
        organization="org_1",
        held_ids={"key_a"},
        began=Seen(rotation_id="r1", current="key_a"),
        now=NOW,
    )
    return replace(base, **changes)


def of_key(key_id="key_new", **changes):
    return replace(offer().identity, key_id=key_id, **changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"identity": Identity(kind=KeyKind.OTHER, key_id="", project=None)}, "no API key"),
        ({"identity": of_key(kind=KeyKind.LEGACY, project=None)}, "legacy organisation key"),
        ({"identity": of_key(project="proj_b")}, "of project proj_b, not of proj_a"),
        ({"identity": of_key(organization="org_2")}, "of organisation org_2, not of org_1"),
        ({"identity": of_key("key_a")}, "is the key that is in place"),
        ({"identity": of_key("key_a"), "held_ids": ()}, "is the current key, which somebody took out"),
        ({"identity": of_key("key_old")}, "known already"),
        ({"identity": of_key("key_theirs")}, "known already by batch"),
        ({"identity": of_key("key_gone")}, "known already by batch"),
        ({"expires_at": NOW + 7 * DAY}, "due for renewal already"),
        ({"expires_at": NOW - DAY}, "due for renewal already"),
    ],
)
def test_each_wrong_handover_has_a_reason_of_its_own(changes, why):
    assert why in refusal(offer(**changes))


def test_what_was_asked_for_is_taken_also_without_an_end_or_where_no_organisation_is_known():
    assert len(HANDOVER_CHAIN) == 7
    for changes in ({}, {"expires_at": None}, {"organization": None}, {"identity": of_key(organization=None)}):
        assert refusal(offer(**changes)) is None


def test_a_key_that_got_nowhere_may_be_handed_over_again():
    lost = key("new", KeyState.ORPHAN, rotation_id="r1")
    remembered = record(key("a", **NEAR), lost, rotations=(asked(),))
    assert refusal(offer(record=remembered, records={"chat": remembered})) is None


def test_of_two_people_the_second_comes_too_late():
    done = record(key("b"), retiring("a"))
    assert "already" in comes_too_late(offer(record=done))
    assert "no key is asked for" in comes_too_late(offer(record=done, began=None))
    assert comes_too_late(offer(record=done, began=Seen(rotation_id="", current="key_b"))) is None
    assert comes_too_late(offer()) is None


@pytest.mark.parametrize("text", ["", "  \n", "two words", "tgp_v1_a\ntgp_v1_b", "na\u00efve"])
def test_a_text_that_can_be_no_key_is_refused_before_it_is_sent(text):
    assert malformed(tidied(SecretValue(text)))


def test_what_pasting_leaves_around_a_key_is_taken_away():
    clean = tidied(SecretValue(" tgp_v1_abc\r\n"))
    assert clean.reveal() == "tgp_v1_abc"
    assert not malformed(clean)


# --- the lifecycle -----------------------------------------------------------------------------------------


def requested(**changes):
    made = asked(**changes)
    return rev.KeyRequested(
        rotation=made,
        key_name=made.key_name,
        project="proj_a",
        expires_at=made.expires_at,
        deadline=OPEN.deadline,
        hand_over=(),
    )


def test_a_second_request_can_not_be_opened_and_a_rollback_comes_first():
    with pytest.raises(IllegalMove):
        fold(requested(), record(key("a"), rotations=(asked(),)))
    with pytest.raises(Overtaken):
        fold(requested(), record(key("a"), rollback=Rollback(reason="x")))


def test_a_handover_that_got_nowhere_opens_the_request_again_and_keeps_its_deadline():
    begun = fold_all(
        record(key("a")),
        [
            requested(),
            rev.HandoverAccepted(rotation_id="r1", expected={"x": "1"}, replaces={}, grace=DAY, by="ada", via="submit"),
            ev.KeyIssued(rotation_id="r1", key=key("new", KeyState.CANDIDATE, rotation_id="r1")),
            ev.KeyVerified(rotation_id="r1"),
        ],
    )
    assert begun.in_flight.phase is Phase.VERIFIED
    again = fold(rev.HandoverInterrupted(rotation_id="r1", why="crash", revoke_after=NOW), begun)
    assert again.awaiting.request == OPEN
    assert again.awaiting.key_id == ""
    assert again.key("key_new").state is KeyState.ORPHAN
    taken = fold_all(
        again,
        [
            rev.HandoverAccepted(rotation_id="r1", expected={"x": "2"}, replaces={}, grace=DAY, by="ada", via="submit"),
            ev.KeyIssued(rotation_id="r1", key=key("new", KeyState.CANDIDATE, rotation_id="r1")),
        ],
    )
    assert [one.key_id for one in taken.keys] == ["key_a", "key_new"]
    assert taken.in_flight.expected == {"x": "2"}


def test_a_leak_that_was_told_before_the_handover_makes_it_the_answer():
    taken = fold(
        rev.HandoverAccepted(rotation_id="r1", expected={}, replaces={}, grace=DAY, by="ada", via="submit"),
        record(key("a"), rotations=(asked(),), compromised=True, requested="leak"),
    )
    assert taken.awaiting.compromised
    assert taken.awaiting.grace == timedelta(0)


def test_what_is_to_be_done_is_told_exactly():
    remembered = record(key("a"), retiring("old", revocation=REVOKING), rotations=(asked(),))
    create, revoke = tasks_of(WITH_INBOX, remembered, NOW)
    assert create.what == (
        "create an API key named rotator_prod_chat_20261123_new in project proj_a",
        "set its expiration to 2026-12-23",
        "hand it over: rotator submit chat or vault:secret/inbox/chat#key",
    )
    assert revoke.what[0] == "revoke key_old (rotator_prod_chat_20261122_old) in project proj_a, and no other"
    assert {task.link for task in (create, revoke)} == {"https://console.example/proj_a"}
