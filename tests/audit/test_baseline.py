"""Accepted findings: with a reason, until a day, and never silently."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from rotator.domain.audit.baseline import Acceptance, judged
from rotator.domain.audit.checks import examine
from rotator.domain.audit.finding import Severity
from rotator.domain.audit.report import report
from rotator.domain.audit.surroundings import Connection, Grant, Granted
from rotator.entrypoints.audit.accepted import read_baseline
from rotator.errors import ConfigError
from tests.audit.build import around, project, row, seen
from tests.domain.build import VAULT

TODAY = date(2026, 11, 23)
ENTRY = Acceptance(finding="ROT-K05", subject="key_s", reason="until the move", until=TODAY)
FINDINGS = tuple(
    one
    for one in examine(seen(projects=(project(row(), row("s", name="a dashboard"), row("t", name="a mailer")),)))
    if one.rule.id == "ROT-K05"
)


def test_an_accepted_finding_is_told_apart_with_its_reason_and_all_others_stay_open():
    result = judged(FINDINGS, [ENTRY], TODAY)
    assert [one.subject for one in result.open] == ["key_t"]
    assert [(one.subject, entry.reason) for one, entry in result.accepted] == [("key_s", "until the move")]


def test_an_acceptance_ends_with_its_last_day_and_is_told():
    result = judged(FINDINGS, [ENTRY], date(2026, 11, 24))
    assert [one.subject for one in result.open] == ["key_s", "key_t"]
    assert result.expired == (ENTRY,)


def test_an_entry_that_no_finding_has_is_told():
    other = replace(ENTRY, subject="key_x")
    assert judged(FINDINGS, [other], TODAY).unmatched == (other,)


def wide(*excess, **changes):
    needed = (Grant(pattern="kv/app", actions=frozenset({"read"})),)
    granted = tuple(Grant(pattern=pattern, actions=frozenset(actions)) for pattern, *actions in excess)
    one = Granted(backend="backend vault", kind="vault", needed=needed, granted=granted)
    return [f for f in examine(around(rights=(replace(one, **changes),))) if f.rule.id == "ROT-H04"]


PATH = Acceptance(finding="ROT-H04", subject="backend vault", reason="one path more", until=TODAY)


@pytest.mark.parametrize(
    ("severity", "findings", "is_accepted"),
    [
        (None, wide(("kv/other", "read")), True),
        (None, wide(("kv/*", "update")), False),
        (None, wide(everything=True), False),
        (Severity.HIGH, wide(("kv/*", "update")), True),
        (Severity.HIGH, wide(everything=True), False),
        (Severity.CRITICAL, wide(everything=True), True),
        (Severity.LOW, wide(("kv/other", "read")), False),
    ],
)
def test_an_acceptance_is_of_what_is_as_bad_as_it_says_or_as_the_catalogue_says(severity, findings, is_accepted):
    entry = replace(PATH, severity=severity)
    result = judged(findings, [entry], TODAY)
    assert [bool(one) for one in (result.open, result.accepted, result.outgrown)] == [
        not is_accepted,
        is_accepted,
        not is_accepted,
    ]
    assert result.unmatched == ()


def test_of_two_acceptances_the_one_that_allows_it_counts():
    result = judged(wide(everything=True), [PATH, replace(PATH, severity=Severity.CRITICAL)], TODAY)
    assert (result.open, result.outgrown) == ((), (PATH,))


def test_each_node_of_a_cluster_is_accepted_by_itself():
    nodes = [
        Connection(name="backend vault", address=f"http://{name}:8200", loopback=False, encrypted=False)
        for name in "ab"
    ]
    plain = [one for one in examine(around(connections=tuple(nodes))) if one.rule.id == "ROT-H09"]
    entry = replace(PATH, finding="ROT-H09", subject="backend vault at http://a:8200")
    assert [one.subject for one in judged(plain, [entry], TODAY).open] == ["backend vault at http://b:8200"]


def narrowed(looked, *baseline):
    return report(looked, source="", scope="", narrowed=True, instance="prod", baseline=baseline)


def test_who_asks_for_one_policy_is_told_what_concerns_every_one():
    looked = seen(chain=("chat: event 5 was changed",), skew={"together": timedelta(hours=3)})
    assert [one.rule.id for one in narrowed(looked).findings] == ["ROT-J01", "ROT-J04"]


def test_who_asks_for_one_policy_is_told_nothing_of_what_was_accepted_elsewhere():
    """Nobody has looked there, so nobody knows whether it matches."""
    here = [replace(ENTRY, subject=name) for name in ("key_a", "chat", VAULT.name)]
    elsewhere = [replace(ENTRY, subject=name) for name in ("key_other", "batch", "backend vault")]
    late = [replace(one, until=date(2020, 1, 1)) for one in (here[0], elsewhere[0])]
    found = narrowed(seen(), *here, *elsewhere, *late).judged
    assert found.unmatched == tuple(here)
    assert found.expired == (late[0],)
    everything = report(seen(), source="", scope="", narrowed=False, instance="prod", baseline=[*here, *elsewhere])
    assert everything.judged.unmatched == (*here, *elsewhere)


def test_a_baseline_is_read_from_yaml(tmp_path):
    file = tmp_path / "accepted.yaml"
    file.write_text("accepted:\n  - {finding: ROT-K05, subject: key_s, reason: until the move, until: 2026-11-23}\n")
    assert read_baseline(file) == (ENTRY,)
    file.write_text(file.read_text().replace("}", ", severity: critical}"))
    assert read_baseline(file) == (replace(ENTRY, severity=Severity.CRITICAL),)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("accepted: [{finding: ROT-K05, subject: a, until: 2027-01-01}]", 1, "reason"),
        ("accepted:\n  - {finding: ROT-X99, subject: a, reason: b, until: 2027-01-01}", 2, "ROT-K05"),
        ("accepted:\n  - {finding: ROT-K05, subject: a, reason: b, until: soon}", 2, "2026-12-31"),
        ("accepted:\n  - {finding: ROT-K05, subject: a, reason: b, until: 2027-01-01, forever: true}", 2, "forever"),
        ("accepted:\n  - {finding: ROT-K05, subject: a, reason: b, until: 2027-01-01, severity: bad}", 2, "critical"),
        ("accepted:\n  - {finding: ROT-J01, subject: journal, reason: b, until: 2027-01-01}", 2, "can't be accepted"),
        ("- ROT-K05", 0, ""),
    ],
    ids=[
        "no reason",
        "an unknown finding",
        "no day",
        "an unknown field",
        "no severity",
        "a broken journal",
        "no mapping",
    ],
)
def test_what_is_wrong_in_a_baseline_is_told_with_file_and_line(tmp_path, text, line, said):
    file = tmp_path / "accepted.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_baseline(file)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(file), line)
    assert said in str(caught.value)
