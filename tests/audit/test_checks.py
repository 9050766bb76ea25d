"""Every rule finds its fault, and is silent about what is nearly one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.audit.checks import CHECKS, RULES, examine
from rotator.domain.audit.seen import Schedule
from rotator.domain.audit.surroundings import Connection, Credential, FileSeen, Git, Grant, Granted, Purpose
from rotator.domain.model import Destination, KeyKind, Refused
from rotator.domain.record import KeyState, Phase
from rotator.domain.snapshot import DestinationView, Reach
from tests.audit.build import CURRENT, around, place, project, record, row, seen, told
from tests.audit.catalogue import DOC, written
from tests.domain.build import DAY, HOUR, MINUTE, NOW, POLICY, VAULT, identity, key, retiring, rotation

OTHER = replace(POLICY, name="batch", destinations=(Destination(backend="vault", name="vault:secret/batch#KEY"),))
NEVER = type("Never", (), {"opens": staticmethod(lambda _now: None)})()
ALWAYS = type("Always", (), {"opens": staticmethod(lambda now: now)})()


def policy(**changes):
    return seen(policies=(replace(POLICY, **changes),))


def file(mode, purpose=Purpose.DESTINATION, **changes):
    return around(files=(FileSeen(path="/srv/x", purpose=purpose, mode=mode, owner="app", **changes),))


def rights(kind="vault", **changes):
    base = Granted(backend="backend b", kind=kind, needed=(Grant(pattern="kv/app", actions=frozenset({"read"})),))
    return around(rights=(replace(base, **changes),))


def grant(pattern, *actions):
    return (Grant(pattern=pattern, actions=frozenset(actions)),)


def to(**changes):
    base = {"name": "backend v", "address": "x", "loopback": False, "encrypted": True}
    return around(connections=(Connection(**{**base, **changes}),))


def with_shadow(**changes):
    return seen(projects=(project(row(), row("s", name="dashboard of Ada", **changes)),))


def in_grace(**changes):
    old = replace(retiring("o"), **changes)
    return seen(records=record(CURRENT, old), projects=(project(row(), row("o", last_used_at=NOW - 5 * DAY)),))


def two(**changes):
    """Another policy, whose current key is due at the same time."""
    other = replace(OTHER, **changes)
    return seen(
        policies=(replace(POLICY, hooks=("reload",)), other),
        places=(place(), place(index=1), place("b", other)),
        projects=(project(row(), row("b", name="rotator_prod_batch_20261122_abcdefg2")),),
        records={**record(CURRENT), "batch": replace(record(key("b"))["chat"], policy="batch")},
        schedules={name: Schedule(next_at=NOW + HOUR) for name in ("chat", "batch")},
    )


def unreachable():
    view = DestinationView(destination=VAULT, reach=Reach.UNREADABLE, problem="sealed")
    return seen(places=(place(view=view, proof="not known", key_id="", answer=None), place(index=1)))


TABLE = {
    # rule: (what it finds, what is nearly one)
    "ROT-K01": (seen(projects=(project(row(expires_at=None)),)), seen()),
    "ROT-K02": (
        seen(projects=(project(row(expires_at=NOW + 60 * DAY)),)),
        seen(projects=(project(row(expires_at=NOW + 29 * DAY + 23 * HOUR)),)),
    ),
    "ROT-K03": (
        seen(projects=(project(row(created_at=NOW - 31 * DAY, expires_at=NOW - 1 * DAY + DAY)),)),
        seen(projects=(project(row(), row("o", created_at=NOW - 31 * DAY)),), records=record(CURRENT, retiring("o"))),
    ),
    "ROT-K04": (seen(projects=(project(row(expires_at=NOW - HOUR)),)), seen()),
    "ROT-K05": (
        with_shadow(),
        seen(projects=(project(row(), row("s", name="dashboard"), complete=False),)),
    ),
    "ROT-K06": (
        seen(projects=(project(row(), row("b")),), records=record(CURRENT)),
        seen(projects=(project(row(), row("b")),), records=record(CURRENT, retiring("b", grace_until=NOW + HOUR))),
    ),
    "ROT-K07": (
        seen(projects=(project(row(), row("n")),)),
        seen(
            projects=(project(row(), row("n", name=rotation(Phase.INTENDED).key_name)),),
            records=record(CURRENT, rotations=(rotation(Phase.INTENDED),)),
        ),
    ),
    "ROT-K08": (in_grace(grace_until=NOW - 7 * HOUR), in_grace(grace_until=NOW - 5 * HOUR)),
    "ROT-K09": (
        in_grace(state=KeyState.REVOKED, revoked_at=NOW - HOUR),
        in_grace(state=KeyState.REVOKED, revoked_at=NOW - timedelta(minutes=4)),
    ),
    "ROT-K10": (
        seen(places=(place(answer=identity("l", kind=KeyKind.LEGACY, project=None)), place(index=1))),
        seen(),
    ),
    "ROT-K11": (
        with_shadow(created_at=NOW - 46 * DAY, last_used_at=None),
        with_shadow(created_at=NOW - 44 * DAY, last_used_at=None),
    ),
    "ROT-K12": (
        seen(
            records=record(CURRENT, retiring("o", grace_until=NOW + HOUR, retired_at=NOW - 2 * MINUTE)),
            projects=(project(row(), row("o", last_used_at=NOW - MINUTE)),),
        ),
        in_grace(grace_until=NOW + HOUR, retired_at=NOW - DAY),
    ),
    "ROT-K13": (with_shadow(creator_left=True), with_shadow(creator_left=False)),
    "ROT-K14": (
        seen(projects=(project(row(), row("s", name="my-test-key 2")),)),
        seen(projects=(project(row(), row("s", name="latest billing export")),)),
    ),
    "ROT-K15": (
        in_grace(leaked=True),
        seen(records=record(CURRENT, retiring("o", leaked=True)), projects=(project(row()),)),
    ),
    "ROT-D01": (seen(places=(place(answer=Refused("401 invalid_api_key")), place(index=1))), seen()),
    "ROT-D02": (
        seen(places=(place(answer=identity("x", project="proj_b", organization="org_acme")), place(index=1))),
        seen(places=(place(answer=identity("x", project="proj_b", organization="org_globex")), place(index=1))),
    ),
    "ROT-D03": (
        seen(places=(place(answer=identity("x", project="proj_b", organization="org_globex")), place(index=1))),
        seen(places=(place(answer=identity("x", project="proj_b", organization="org_acme")), place(index=1))),
    ),
    "ROT-D04": (seen(places=(place(answer=identity("x", kind=KeyKind.OTHER, project=None)), place(index=1))), seen()),
    "ROT-D05": (
        seen(places=(place("x"), place(index=1))),
        seen(
            places=(place("new"), place("old", index=1)),
            records=record(
                replace(CURRENT, fingerprint=rotation(Phase.PUBLISHING).replaces[VAULT.name]),
                key("new", KeyState.CANDIDATE),
                rotations=(rotation(Phase.PUBLISHING),),
            ),
        ),
    ),
    "ROT-D06": (seen(places=(place("x"), place(index=1))), seen()),
    "ROT-D07": (seen(places=(place(None), place(index=1))), seen()),
    "ROT-D08": (
        seen(places=(place(), place(index=1), place("a", OTHER)), others=(OTHER,)),
        seen(places=(place(), place(index=1), place("b", OTHER)), others=(OTHER,)),
    ),
    "ROT-D09": (file(0o644), file(0o640)),
    "ROT-D10": (file(0o600, git=Git.NOT_IGNORED), file(0o600, git=Git.IGNORED)),
    "ROT-P01": (policy(lifetime=91 * DAY), policy(lifetime=90 * DAY)),
    "ROT-P02": (policy(grace_limit=8 * DAY), policy(grace_limit=7 * DAY)),
    "ROT-P03": (policy(renew_before=27 * HOUR), policy(renew_before=28 * HOUR)),
    "ROT-P04": (policy(lifetime=11 * DAY), policy(lifetime=12 * DAY)),
    "ROT-P05": (policy(windows=NEVER), policy(windows=ALWAYS)),
    "ROT-P06": (two(hooks=("reload",)), two(hooks=("reload",), depends_on=("chat",))),
    "ROT-H01": (
        around(credentials=(Credential(name="m", since=NOW - 91 * DAY),)),
        around(credentials=(Credential(name="m", since=NOW - 90 * DAY),)),
    ),
    "ROT-H02": (
        around(credentials=(Credential(name="m", projects=2),)),
        around(credentials=(Credential(name="m", projects=1, kind=KeyKind.PROJECT),)),
    ),
    "ROT-H03": (
        around(credentials=(Credential(name="m", lies_in=("vault:x",)),)),
        around(credentials=(Credential(name="m"),)),
    ),
    "ROT-H04": (rights(granted=grant("kv/*", "read")), rights(granted=grant("kv/app", "read"))),
    "ROT-H05": (
        rights("iam", granted=grant("*", "*"), everything=True),
        rights("iam", granted=grant("kv/app", "read")),
    ),
    "ROT-H06": (rights(endless=True), rights()),
    "ROT-H07": (file(0o660, Purpose.STATE), file(0o640, Purpose.STATE)),
    "ROT-H08": (file(0o640, Purpose.CREDENTIAL), file(0o640, Purpose.CONFIGURATION)),
    "ROT-H09": (to(encrypted=False), to(encrypted=False, loopback=True)),
    "ROT-H10": (to(verified=False), to(verified=False, loopback=True)),
    "ROT-J01": (seen(chain=("event 7 was changed",)), seen(chain=())),
    "ROT-J02": (
        seen(records=record(CURRENT, rotations=(rotation(Phase.ISSUED, started_at=NOW - 2 * HOUR),))),
        seen(records=record(CURRENT, rotations=(rotation(Phase.ISSUED, started_at=NOW - HOUR),))),
    ),
    "ROT-J03": (
        seen(schedules={"chat": Schedule(next_at=NOW, failures=6, problem="sealed")}),
        seen(schedules={"chat": Schedule(next_at=NOW, failures=5)}),
    ),
    "ROT-J04": (seen(skew={"together": timedelta(minutes=6)}), seen(skew={"together": timedelta(minutes=-5)})),
    "ROT-J05": (
        seen(schedules={"chat": Schedule(next_at=NOW - 2 * HOUR)}),
        seen(schedules={"chat": Schedule(next_at=NOW - HOUR)}),
    ),
    "ROT-J06": (
        seen(records=record(CURRENT, hold="freeze")),
        seen(records=record(CURRENT, hold="freeze", hold_until=NOW - HOUR)),
    ),
    "ROT-J07": (
        seen(
            records={**record(CURRENT), "gone": replace(record(key("g"))["chat"], policy="gone")}, abandoned=("gone",)
        ),
        seen(records={**record(CURRENT), "gone": replace(record()["chat"], policy="gone")}, abandoned=("gone",)),
    ),
    "ROT-A01": (unreachable(), seen()),
    "ROT-A02": (seen(projects=(project(problem="503", listed=None),)), seen(projects=(project(listed=None),))),
    "ROT-A03": (seen(journal_problem="locked"), seen(records=None)),
}


def test_what_is_healthy_has_no_finding():
    assert told(examine(seen())) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_finds_its_fault_and_not_what_is_nearly_one(rule):
    bad, nearly = TABLE[rule.id]
    assert rule.id in [one.rule.id for one in examine(bad)]
    assert rule.id not in [one.rule.id for one in examine(nearly)]


def test_ids_are_used_once_and_every_rule_says_why_and_what_to_do():
    assert len({rule.id for rule in RULES}) == len(CHECKS)
    assert all(rule.why and rule.todo and rule.references for rule in RULES)


def test_the_worst_finding_comes_first_and_the_order_is_always_the_same():
    found = examine(seen(projects=(project(row(expires_at=None), row("s", name="test"), row("t", name="key")),)))
    assert [one.severity.rank for one in found] == sorted((one.severity.rank for one in found), reverse=True)
    assert found == examine(
        seen(projects=(project(row("t", name="key"), row("s", name="test"), row(expires_at=None)),))
    )


def test_without_a_journal_nothing_is_said_that_only_the_journal_knows():
    old = row("o", created_at=NOW - 2 * DAY)
    found = examine(seen(records=None, schedules={}, projects=(project(row(), old),)))
    assert told(found) == ["ROT-K06 chat"]
    assert found[0].severity == "info", "one of them may be in its grace"


def test_a_project_without_a_list_has_no_shadow_keys_and_no_missing_ones():
    assert told(examine(seen(projects=(project(listed=None),)))) == []


def test_the_documentation_has_every_finding_in_the_words_of_its_rule():
    text = DOC.read_text()
    assert written(text) == text, "run: python -m tests.audit.catalogue"


def ids(looked):
    return [one.rule.id for one in examine(looked)]


@pytest.mark.parametrize("limit", [DAY, 4 * DAY, 7 * DAY], ids=str)
@pytest.mark.parametrize(
    ("used", "is_found"),
    [
        ({"last_used_at": NOW - 2 * DAY}, False),
        ({"last_used_at": NOW - MINUTE}, True),
        ({"billed": NOW - 2 * HOUR + 30 * MINUTE}, False),
        ({"billed": NOW - HOUR}, True),
    ],
    ids=["before", "after", "in the hour in which it was replaced", "in the hour after"],
)
def test_use_of_an_old_key_counts_from_its_replacement_whatever_the_policy_says_today(limit, used, is_found):
    """The grace began two hours ago, under a ``grace_limit`` of four days."""
    old = retiring("o", grace_until=NOW + HOUR, grace_limit=NOW - 2 * HOUR + 4 * DAY, retired_at=NOW - 2 * HOUR)
    looked = seen(
        policies=(replace(POLICY, grace_limit=limit),),
        records=record(CURRENT, old),
        projects=(project(row(), row("o", last_used_at=used.get("last_used_at"))),),
        used_until={"key_o": used["billed"]} if "billed" in used else {},
    )
    assert ("ROT-K12" in ids(looked)) == is_found


def test_of_a_grace_whose_begin_no_journal_tells_nothing_is_said():
    old = retiring("o", grace_until=NOW + HOUR)
    assert "ROT-K12" not in ids(
        seen(records=record(CURRENT, old), projects=(project(row(), row("o", last_used_at=NOW)),))
    )


NO_LIST = (project(listed=None),)


@pytest.mark.parametrize("projects", [NO_LIST, (project(row(), row("o", expires_at=NOW - 10 * DAY)),)])
def test_a_key_that_has_ended_by_itself_is_neither_accepted_nor_beyond_its_grace(projects):
    ended = {"grace_until": NOW - 20 * DAY, "grace_limit": NOW - 20 * DAY, "leaked": True}
    old = retiring("o", expires_at=NOW - 10 * DAY, **ended)
    assert not {"ROT-K08", "ROT-K15"} & set(ids(seen(records=record(CURRENT, old), projects=projects)))
    alive = retiring("o", expires_at=NOW + DAY, **ended)
    assert {"ROT-K08", "ROT-K15"} <= set(ids(seen(records=record(CURRENT, alive), projects=NO_LIST)))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"expires_at": None, "expires_told_by": "ada"}, {"ROT-K01"}),
        ({"expires_at": None}, set()),
        ({"expires_at": NOW + 31 * DAY}, {"ROT-K02"}),
        ({"expires_at": None, "created_at": NOW - 400 * DAY}, {"ROT-K03"}),
        ({"expires_at": None, "created_at": None, "since": NOW - 400 * DAY}, {"ROT-K03"}),
        ({}, set()),
    ],
)
def test_where_nobody_lists_keys_the_journal_tells_how_long_they_live(changes, found):
    key = replace(CURRENT, **changes)
    assert {one for one in ids(seen(records=record(key), projects=NO_LIST)) if one.startswith("ROT-K")} == found


@pytest.mark.parametrize(
    ("looked", "is_found"),
    [
        (file(0o777, Purpose.FOLDER), True),
        (file(0o1777, Purpose.FOLDER), False),
        (file(0o755, Purpose.FOLDER), False),
        (file(0o755, Purpose.FOLDER, foreign=True), True),
        (file(0o1666, Purpose.STATE), True),
        (file(0o600, Purpose.CONFIGURATION, foreign=True), True),
    ],
)
def test_others_can_change_a_file_where_they_can_exchange_it_or_where_it_is_theirs(looked, is_found):
    assert ("ROT-H07" in ids(looked)) == is_found
    assert "ROT-H08" not in ids(looked) or looked.surroundings.files[0].purpose is Purpose.STATE
