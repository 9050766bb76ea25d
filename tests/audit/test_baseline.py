"""Accepted findings: with a reason, until a day, and never silently."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from rotator.domain.audit.baseline import Acceptance, judged
from rotator.domain.audit.checks import examine
from rotator.entrypoints.audit.accepted import read_baseline
from rotator.errors import ConfigError
from tests.audit.build import project, row, seen

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


def test_a_baseline_is_read_from_yaml(tmp_path):
    file = tmp_path / "accepted.yaml"
    file.write_text("accepted:\n  - {finding: ROT-K05, subject: key_s, reason: until the move, until: 2026-11-23}\n")
    assert read_baseline(file) == (ENTRY,)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("accepted: [{finding: ROT-K05, subject: a, until: 2027-01-01}]", 1, "reason"),
        ("accepted:\n  - {finding: ROT-X99, subject: a, reason: b, until: 2027-01-01}", 2, "ROT-K05"),
        ("accepted:\n  - {finding: ROT-K05, subject: a, reason: b, until: soon}", 2, "2026-12-31"),
        ("accepted:\n  - {finding: ROT-K05, subject: a, reason: b, until: 2027-01-01, forever: true}", 2, "forever"),
        ("- ROT-K05", 0, ""),
    ],
    ids=["no reason", "an unknown finding", "no day", "an unknown field", "no mapping"],
)
def test_what_is_wrong_in_a_baseline_is_told_with_file_and_line(tmp_path, text, line, said):
    file = tmp_path / "accepted.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_baseline(file)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(file), line)
    assert said in str(caught.value)
