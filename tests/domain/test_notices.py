"""What is told of what: events, conditions that last, and how often."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

import rotator.domain
from rotator.adapters.journal.codec import event_to_json
from rotator.config.shapes.notifications import EventName
from rotator.domain import channel as ch
from rotator.domain import events as ev
from rotator.domain import request_events as rev
from rotator.domain.channel import ChannelState, Fate, Rules
from rotator.domain.conditions import NEEDS, conditions, is_certain
from rotator.domain.notices import TABLE, Entry, Kind, Level, body, notice_of, title
from rotator.domain.record import Level as PersonLevel
from rotator.domain.record import Phase
from rotator.domain.standing import after_telling, begun, is_to_be_told, level_now
from rotator.ports import Look
from rotator.service import reconcile
from tests.domain.build import DAY, HOUR, MINUTE, NOW, POLICY, key, record, retiring, rotation

ASKED = {"key_name": "rotator_x", "project": "proj_a", "deadline": NOW + DAY}
EVENTS = [
    ev.GraceStarted(rotation_id="r1", grace_until=NOW + DAY, grace_limit=NOW + 2 * DAY),
    ev.RotationAbandoned(rotation_id="r1", why="the destination has changed"),
    ev.RolledBack(key_id="key_a", grace_until=NOW, grace_limit=NOW, rest_until=NOW + DAY),
    ev.RollbackDropped(why="the former key is gone"),
    ev.GraceExtended(key_id="key_old", grace_until=NOW + DAY, why="used a moment ago"),
    ev.KeyRevoked(key_id="key_old", revoked_at=NOW),
    ev.KeyAdopted(key=key("old"), grace_until=NOW, grace_limit=NOW),
    ev.DestinationRestored(key_id="key_a", destination="vault:a", was="another value"),
    ev.StrayFound(key=key("lost")),
    ev.RotationRequested(reason="it leaked", compromised=True),
    rev.KeyRequested(rotation=rotation(Phase.AWAITING), **ASKED, expires_at=NOW + DAY, hand_over=("one", "two")),
    rev.KeyRequestChanged(
        rotation_id="r1", **ASKED, expires_at=NOW + DAY, hand_over=("one",), reason="Compromised", at=NOW
    ),
    rev.KeyRequestWithdrawn(rotation_id="r1", key_name="rotator_x", why="nothing is due"),
    rev.PersonReminded(at=NOW, level=PersonLevel.ASKED, **ASKED, rotation_id="r1"),
    rev.HandoverRefused(why="it is the legacy organisation key", by="ada", via="submit"),
    rev.HandoverInterrupted(rotation_id="r1", why="the process ended", revoke_after=NOW + HOUR),
    rev.RevocationRequested(key_id="key_old", **ASKED, why="its grace is over", at=NOW, expires_at=None),
    rev.RevocationWithdrawn(key_id="key_old", why="it is held somewhere"),
]
RECORD = record(key("new", rotation_id="r1"), retiring("old"))


def entry(event, seq=7):
    return Entry(seq=seq, at=NOW, policy="chat", kind=type(event).__name__, body=json.loads(event_to_json(event)))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_of_the_table_is_told_in_whole_sentences(event):
    notice = notice_of(entry(event), POLICY, RECORD)
    told = body(notice)
    assert re.search(r"  |\(\)|: \.|[{}]|None| ,", told) is None
    assert (notice.policy, notice.project) == ("chat", "proj_a")
    assert notice.key_ids or not re.search("key_", notice.what)


def test_every_name_in_the_table_is_tried_above():
    assert TABLE.keys() == {type(event).__name__ for event in EVENTS}


def test_however_long_an_error_is_what_to_do_is_told():
    told = body(replace(notice(), what="vault:a can't be read; " * 500))
    assert len(told) < 2000, "what the smallest chats take"
    assert "; vaul…\nWhat to do: Nothing is to be done.\n" in told
    assert "policy chat" in told


def test_a_rotation_is_told_with_the_new_key_and_the_one_that_still_works():
    notice = notice_of(entry(EVENTS[0]), POLICY, RECORD)
    assert notice.what == (
        "Every destination holds the new key key_new. The replaced one stays valid until 2026-11-24T12:00:00Z: key_old."
    )
    assert (title(notice, "prod"), notice.level) == ("rotator prod: chat: rotated", Level.INFO)
    assert "policy chat, project proj_a; keys: key_new" in body(notice)


@pytest.mark.parametrize(
    ("level", "told"),
    [("asked", Level.WARNING), ("escalated", Level.CRITICAL), ("overdue", Level.CRITICAL)],
)
def test_a_person_is_reminded_ever_louder_of_what_they_are_asked_for(level, told):
    create = rev.PersonReminded(at=NOW, level=PersonLevel(level), **ASKED, rotation_id="r1")
    notice = notice_of(entry(create), POLICY, RECORD)
    assert (notice.level, notice.kind) == (told, Kind.NEEDS_PERSON)
    assert notice.what.endswith(f"by 2026-11-24T12:00:00Z ({level}): make the key rotator_x.")
    revoke = replace(create, rotation_id="", key_id="key_old")
    assert notice_of(entry(revoke), POLICY, RECORD).what.endswith(": revoke the key key_old.")


def test_steps_orders_and_what_another_version_writes_are_no_news():
    assert notice_of(entry(ev.KeyVerified(rotation_id="r1")), POLICY, RECORD) is None
    assert notice_of(entry(ev.RotationRequested(reason="monthly")), POLICY, RECORD) is None
    of_tomorrow = Entry(seq=1, at=NOW, policy="chat", kind="MoonRose", body={"key_id": "key_a"})
    assert notice_of(of_tomorrow, POLICY, RECORD) is None


def test_an_event_that_an_older_version_wrote_is_told_as_far_as_it_goes():
    old = Entry(seq=1, at=NOW, policy="gone", kind="KeyRevoked", body={"key_id": "key_old"})
    assert notice_of(old, None, record()).what == "The replaced key key_old was revoked."
    none_left = Entry(seq=1, at=NOW, policy="chat", kind="GraceStarted", body={"rotation_id": "r0"})
    assert notice_of(none_left, POLICY, record()).key_ids == ()


def test_an_event_may_say_its_own_level():
    own = Entry(seq=1, at=NOW, policy="chat", kind="KeyRevoked", body={"key_id": "key_old", "level": "critical"})
    assert notice_of(own, POLICY, RECORD).level is Level.CRITICAL
    other = Entry(seq=1, at=NOW, policy="chat", kind="KeyRevoked", body={"key_id": "key_old", "level": 3})
    assert notice_of(other, POLICY, RECORD).level is Level.INFO


def test_the_configuration_knows_every_kind_and_every_check_that_needs_a_person_exists():
    assert set(get_args(EventName)) == set(Kind)
    paths = [*Path(rotator.domain.__file__).parent.glob("*_checks.py"), Path(reconcile.__file__)]
    sources = "".join(path.read_text() for path in paths)
    named = set(re.findall(r'(?:check=|_kept\(context, )"(\w+)"', sources))
    assert named >= NEEDS.keys()


# --- conditions -------------------------------------------------------------------------------------------


def look(**changes):
    return replace(Look(next_at=NOW + HOUR, digest="d1"), **changes)


def found(remembered, seen=None, now=NOW, policy=POLICY, failed_after=3):
    return {one.key: one for one in conditions(policy, remembered, seen or look(), now, failed_after)}


def test_a_healthy_policy_has_nothing_to_tell():
    assert found(record(key("a"))) == {}
    assert conditions(POLICY, record(), None, NOW, 3) == []


def test_failures_are_told_from_the_number_on_that_the_channel_wants():
    assert found(record(key("a")), look(failures=2, problem="sealed")) == {}
    failed = found(record(key("a")), look(failures=3, problem="vault is sealed"))["failed"]
    assert (failed.kind, failed.level) == (Kind.FAILED, Level.WARNING)
    assert failed.what == "It failed 3 times in a row: vault is sealed"
    assert "failed" in found(record(key("a")), look(failures=1, problem="sealed"), failed_after=1)


def test_a_key_that_ends_without_a_successor_is_critical_on_hold_too():
    near = record(key("a", expires_at=NOW + 3 * DAY), hold="incident")
    assert found(near)["ending"].level is Level.CRITICAL
    assert "ends at 2026-11-26T12:00:00Z" in found(near)["ending"].what
    assert "has ended at" in found(near, now=NOW + 4 * DAY)["ending"].what
    assert "ending" not in found(record(key("a", expires_at=NOW + 5 * DAY)))


def test_a_rotation_that_did_not_come_is_overdue_unless_its_window_is_still_to_come():
    class Windows:
        def opens(self, now):
            return now + 9 * DAY

    old = record(key("a", created_at=NOW - 24 * DAY, expires_at=None))
    assert "overdue" in found(old)
    assert "overdue" not in found(old, policy=replace(POLICY, windows=Windows()))
    assert "overdue" not in found(old, now=NOW - DAY + HOUR)
    assert found(replace(old, hold="incident")) == {}


def test_a_look_that_did_not_come_is_told():
    assert "unseen" in found(record(key("a")), look(next_at=NOW - 61 * MINUTE))
    assert "unseen" not in found(record(key("a")), look(next_at=NOW - 59 * MINUTE))


def test_a_person_is_called_for_alerts_that_only_a_person_can_mend():
    alerts = (("WrongDestination", "vault:a is in another namespace"), ("DestinationsDiffer", "it mends itself"),
              ("HeldSomewhere", "key_old is still held by vault:b"))  # fmt: skip
    called = found(record(key("a"), retiring("old", grace_until=NOW + DAY)), look(alerts=alerts))
    assert called.keys() == {"needs-person:WrongDestination", "needs-person:HeldSomewhere:key_old"}
    assert called["needs-person:HeldSomewhere:key_old"].key_ids == ("key_old",)


def test_a_revocation_is_told_a_quarter_of_the_grace_before_and_not_of_a_leaked_key():
    soon = record(key("a"), retiring("old", grace_until=NOW + 6 * HOUR))
    (one,) = found(soon).values()
    assert (one.kind, one.key_ids) == (Kind.ABOUT_TO_REVOKE, ("key_old",))
    assert (one.level, one.lasts) == (Level.INFO, False)
    assert not is_certain(one.key, soon, None, NOW), "it is not over where another process has a longer grace"
    assert is_certain(one.key, record(key("a")), None, NOW)
    assert found(soon, now=NOW - MINUTE) == {}
    assert found(record(key("a"), retiring("old", leaked=True))) == {}


def test_what_is_out_of_sight_is_not_over():
    held, failing = record(hold="incident"), look(failures=1)
    assert not is_certain("failed", held, look(), NOW)
    assert not is_certain("needs-person:Drifted", record(), failing, NOW)
    assert is_certain("failed", record(), look(), NOW)
    assert is_certain("ending", held, failing, NOW)


def test_a_condition_is_told_once_then_ever_more_rarely_and_at_once_when_it_gets_worse():
    one = found(record(key("a")), look(failures=3, problem="sealed"))["failed"]
    standing, told, now = begun(one, "chat", NOW), [], NOW
    while now < NOW + 5 * DAY:
        if is_to_be_told(standing, one, now):
            told.append(((now - NOW) / HOUR, level_now(standing, one, now)))
            standing = after_telling(standing, one, now)
        now += HOUR
    assert [hour for hour, level in told if level is Level.WARNING] == [0, 6, 18]
    assert [hour for hour, level in told if level is Level.CRITICAL] == [24, 25, 27, 31, 39, 55, 79, 103]


def test_what_passes_within_its_patience_is_not_told():
    alert = look(alerts=(("ReplacementNotProven", "vault:a can't be read"),))
    (one,) = found(record(key("a")), alert).values()
    standing = begun(one, "chat", NOW)
    assert not is_to_be_told(standing, one, NOW + 59 * MINUTE)
    assert is_to_be_told(standing, one, NOW + HOUR)


# --- a channel --------------------------------------------------------------------------------------------

RULES = Rules(
    name="ops", events=frozenset(map(str, Kind)), policies=("*",), level=Level.INFO, per_hour=2, failed_after=3
)


def notice(kind=Kind.ROTATED, level=Level.INFO, policy="chat"):
    made = notice_of(entry(EVENTS[5]), POLICY, RECORD)
    return replace(made, kind=kind, level=level, policy=policy)


def test_a_channel_hears_what_it_wants_of_the_policies_that_it_wants():
    prod = replace(RULES, policies=("prod-*", "chat"), level=Level.WARNING, events=frozenset({"failed", "rotated"}))
    assert not prod.want(notice(), POLICY)
    assert prod.want(notice(Kind.FAILED, Level.WARNING), POLICY)
    assert not prod.want(notice(Kind.FAILED, Level.WARNING, "test-a"), POLICY)
    assert prod.want(notice(Kind.FAILED, Level.WARNING, "prod-a"), None)
    assert not prod.want(notice(Kind.OVERDUE, Level.CRITICAL), POLICY)


def test_a_policy_names_who_hears_of_it_and_who_hears_what_is_critical():
    owned = replace(POLICY, notify=("team",), escalate=("pager",))
    team, pager = replace(RULES, name="team"), replace(RULES, name="pager")
    assert [one.want(notice(), owned) for one in (RULES, team, pager)] == [False, True, False]
    worst = notice(Kind.FAILED, Level.CRITICAL)
    assert [one.want(worst, owned) for one in (RULES, team, pager)] == [False, True, True]
    assert RULES.want(notice(), POLICY)


def test_so_many_an_hour_then_one_message_says_how_many_were_left_out():
    state, sent = ChannelState(cursor=0), 0
    for minute in range(10):
        now = NOW + minute * MINUTE
        if ch.fates(state, [notice(policy=f"p{minute}")], 2, now) == [Fate.SENT]:
            state, sent = ch.after_sending(state, Level.INFO, now), sent + 1
        else:
            state = ch.after_leaving_out(state, notice(policy=f"p{minute}"), now)
    assert sent == 2
    worst = notice(level=Level.CRITICAL)
    assert ch.fates(state, [worst], 2, NOW + 30 * MINUTE) == [Fate.SENT], "news keep nothing back that is critical"
    assert not ch.is_digest_due(state, NOW + 59 * MINUTE)
    assert ch.is_digest_due(state, NOW + HOUR)
    digest = ch.digest(state, NOW + HOUR)
    assert digest.what == (
        "8 messages since 2026-11-23T12:02:00Z were left out (rotated 8); policies: p2, p3, p4, p5, p6, p7, p8, p9."
    )
    assert not ch.after_digest(state).left_out


def test_of_more_than_fit_into_an_hour_the_newest_are_sent_and_what_is_late_leaves_half_of_it():
    late, fresh = (replace(notice(), at=NOW - hours * HOUR) for hours in (2, 0))
    left_out, sent = Fate.LEFT_OUT, Fate.SENT
    state = ChannelState(cursor=0)
    assert ch.fates(state, [fresh] * 6, 4, NOW) == [left_out] * 2 + [sent] * 4
    assert ch.fates(state, [late] * 6, 4, NOW) == [left_out] * 4 + [sent] * 2
    assert ch.fates(state, [late, late, fresh], 4, NOW) == [left_out, sent, sent]
    assert ch.fates(state, [late, late], 1, NOW) == [left_out, sent]
    failing = replace(state, failing_since=NOW - 4 * DAY)
    ancient = replace(late, at=NOW - 3 * DAY - HOUR)
    assert ch.fates(failing, [ancient, ancient, late], 1, NOW) == [Fate.GIVEN_UP, Fate.GIVEN_UP, sent]
    assert ch.fates(state, [ancient], 1, NOW) == [sent], "it was not tried for three days"


def test_a_channel_that_fails_is_tried_ever_more_rarely_and_at_last_gives_up_a_message():
    state, pauses = ChannelState(cursor=0), []
    for _ in range(9):
        state = ch.after_failing(state, "503", NOW, None)
        pauses.append((state.retry_at - NOW).total_seconds())
    assert pauses == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert not ch.is_given_up(state, notice(), NOW + 3 * DAY)
    assert ch.is_given_up(state, notice(), NOW + 3 * DAY + MINUTE)
    assert not ch.is_given_up(state, replace(notice(), at=NOW + HOUR), NOW + 3 * DAY + MINUTE)
    assert ch.is_paused(state, NOW + MINUTE)
    assert not ch.is_paused(state, NOW - DAY), "set before the clock stepped back"
    asked = ch.after_failing(ChannelState(cursor=0), "429", NOW, timedelta(days=9))
    assert asked.retry_at == NOW + HOUR
    assert ch.after_sending(state, Level.INFO, NOW) == replace(ChannelState(cursor=0), window_from=NOW, sent=1)
