"""Windows as the configuration has them: cron expressions, changes of the clocks, days on which they stay closed."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from rotator.config.windows import CronWindow, CronWindows
from tests.config.conftest import GOOD

HOUR = timedelta(hours=1)
NIGHTLY = {"cron": "30 2 * * *", "duration": 2 * HOUR, "timezone": "Europe/Berlin"}


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OPENINGS = {
    "before it opens": ("2026-11-24T00:00", "2026-11-24T01:30"),
    "the moment that it opens": ("2026-11-24T01:30", "2026-11-24T01:30"),
    "while it is open": ("2026-11-24T02:15", "2026-11-24T02:15"),
    "the moment that it closes": ("2026-11-24T03:30", "2026-11-25T01:30"),
    "in the missing hour it opens right after the gap": ("2026-03-29T00:00", "2026-03-29T01:00"),
    "after the gap it stays open for its real length": ("2026-03-29T02:59", "2026-03-29T02:59"),
    "and no longer": ("2026-03-29T03:00", "2026-03-30T00:30"),
    "in the doubled hour it opens at the first": ("2026-10-24T23:00", "2026-10-25T00:30"),
    "it is still open in the second": ("2026-10-25T01:45", "2026-10-25T01:45"),
    "and does not open again": ("2026-10-25T02:30", "2026-10-26T01:30"),
}


@pytest.mark.parametrize("row", OPENINGS)
def test_when_a_window_opens(row):
    now, opens = OPENINGS[row]
    assert CronWindow(**NIGHTLY).opens(utc(now)) == utc(opens)


def test_a_closed_day_is_passed_over():
    window = CronWindow(**NIGHTLY, closed=frozenset({date(2026, 12, 24), date(2026, 12, 25)}))
    assert window.opens(utc("2026-12-23T12:00")) == utc("2026-12-26T01:30")


def test_a_window_that_is_open_over_midnight_closes_where_a_closed_day_begins_and_opens_where_it_ends():
    window = CronWindow(cron="0 22 * * *", duration=4 * HOUR, timezone="UTC", closed=frozenset({date(2026, 12, 24)}))
    assert window.opens(utc("2026-12-23T23:59")) == utc("2026-12-23T23:59")
    assert window.opens(utc("2026-12-24T00:00")) == utc("2026-12-25T00:00")
    assert window.opens(utc("2026-12-24T23:00")) == utc("2026-12-25T00:00")


def test_of_several_windows_the_next_one_counts():
    lines = (CronWindow(**NIGHTLY), CronWindow(cron="0 12 * * sat", duration=HOUR, timezone="UTC"))
    assert CronWindows(lines).opens(utc("2026-11-28T11:00")) == utc("2026-11-28T12:00")


def windows(line, more=""):
    return GOOD.replace("    project: proj_a\n", f"    project: proj_a\n    windows: [{line}]\n{more}")


def test_a_policy_has_its_windows(configuration):
    line = "{cron: '0 2 * * tue-thu', duration: 3h, timezone: Europe/Berlin, except: [2026-12-24]}"
    # A gap of five days, of which a key can wait for as long as seven days allow.
    (policy,) = configuration.load(windows(line, "    renew_before: 10d\n")).policies
    assert policy.windows.opens(utc("2026-12-23T12:00")) == utc("2026-12-29T01:00")


def test_a_window_that_is_added_makes_the_policy_due(configuration):
    (policy,) = configuration.load(GOOD).policies
    assert policy.windows is None
    (other,) = configuration.load(windows("{cron: '0 2 * * *', duration: 3h}")).policies
    assert policy.digest != other.digest


def test_the_windows_of_the_page_on_operating_load(configuration):
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    (shown,) = re.findall(r"```yml\npolicies:\n  - name: chat-prod\n(.*?)```", page, re.DOTALL)
    staging = GOOD[GOOD.index("  - name: a") :].replace("name: a", "name: chat-staging").replace("a.env", "b.env")
    # Windows on three nights of a week are five days apart, which is what a renew_before of seven has.
    (policy, _) = configuration.load(
        GOOD.replace("    project: proj_a\n", f"    project: proj_a\n{shown}") + staging
    ).policies
    assert (policy.group, policy.distance, policy.jitter) == ("chat", HOUR, 6 * HOUR)
    assert policy.depends_on == ("chat-staging",)


WRONG = {
    "no cron expression": ("{cron: 'at night', duration: 3h}", "a cron expression of five fields"),
    "no time zone": ("{cron: '0 2 * * *', duration: 3h, timezone: Mars/Base}", "a time zone's name"),
    "no day": ("{cron: '0 2 * * *', duration: 3h, except: [christmas]}", "a day such as 2026-12-24"),
    "never": (
        "{cron: '0 2 30 2 *', duration: 3h}",
        "found '0 2 30 2 *'; allowed: one that comes at all: its months have",
    ),
    "no day of any month": ("{cron: '0 2 32 2 *', duration: 3h}", "allowed: a cron expression of five fields"),
    "too rare": ("{cron: '0 2 1 * *', duration: 3h}", "apart, while a key that is due can wait 126h"),
}


@pytest.mark.parametrize("row", WRONG)
def test_windows_that_can_not_work_are_faults(configuration, row):
    line, told = WRONG[row]
    (problem,) = configuration.problems(windows(line))
    assert "windows" in problem
    assert told in problem


def test_a_jitter_that_leaves_nothing_of_the_lifetime_is_a_fault(configuration):
    (problem,) = configuration.problems(windows("", "    jitter: 23d\n"))
    assert "less than lifetime minus renew_before" in problem


@pytest.mark.parametrize(("needed", "told"), [("b", "the name of another policy"), ("a", "no circle")])
def test_a_dependency_must_exist_and_close_no_circle(configuration, needed, told):
    (problem,) = configuration.problems(windows("", f"    depends_on: [{needed}]\n"))
    assert "depends_on" in problem
    assert told in problem
