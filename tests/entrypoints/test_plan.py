"""``rotator plan``: the same happenings as a table, for programs, and for a calendar; nobody is asked."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from icalendar import Calendar

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.events import Held, KeyAdopted
from rotator.entrypoints.cli import cli
from tests.domain.build import NOW, key


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two policies; the journal knows a key of the first. The time is that of the domain's tests."""
    place = {"backend": "dotenv", "path": "a.env", "field": "KEY"}
    policy = {"name": "chat", "provider": "together", "project": "proj_a", "destinations": [place]}
    document = {
        "version": 1,
        "instance": "prod",
        "state": {"url": "sqlite:///state.db"},
        "providers": {
            "together": {"type": "together", "base_url": "https://keys.invalid", "management_key": {"env": "MK"}}
        },
        "policies": [policy, {**policy, "name": "new", "destinations": [{**place, "field": "OTHER"}]}],
    }
    file = tmp_path / "rotator.yaml"
    file.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("MK", "x")
    monkeypatch.setattr("rotator.clock.SystemClock.now", lambda _clock: NOW)
    journal = SqlJournal.open(f"sqlite:///{tmp_path}/state.db", is_dead=lambda _holder: True)
    lease = journal.acquire("chat", "test", NOW, timedelta(minutes=5))
    journal.append(lease, [KeyAdopted(key=key("a"), grace_until=NOW, grace_limit=NOW)], NOW)
    journal.close()
    return file


def run(config: Path, *arguments: str):
    return CliRunner().invoke(cli, ["plan", "--config", str(config), *arguments])


def test_json_has_every_happening_in_the_order_of_time(config: Path) -> None:
    document = json.loads(run(config, "--until", "60d", "--format", "json", "--policy", "chat").stdout)
    assert (document["at"], document["until"]) == ("2026-11-23T12:00:00Z", "2027-01-22T12:00:00Z")
    kinds = [(one["what"], one["policy"]) for one in document["happenings"]]
    assert kinds == [("rotation", "chat"), ("revocation", "chat")] * 2
    moments = [one["at"] for one in document["happenings"]]
    assert moments == sorted(moments)


def test_the_calendar_is_read_by_calendars_and_has_the_same_moments(config: Path) -> None:
    document = json.loads(run(config, "--until", "60d", "--format", "json").stdout)
    text = run(config, "--until", "60d", "--format", "ical").stdout
    events = Calendar.from_ical(text).walk("VEVENT")
    assert [f"{one['dtstart'].dt:%Y-%m-%dT%H:%M:%SZ}" for one in events] == [
        one["at"] for one in document["happenings"]
    ]
    assert str(events[0]["summary"]) == "rotation: new"
    assert len({str(one["uid"]) for one in events}) == len(events)
    assert run(config, "--until", "60d", "--format", "ical").stdout == text, "the same at each reading"


def uids(config: Path, *, name: str = "chat") -> dict[str, str]:
    events = Calendar.from_ical(run(config, "--until", "60d", "--format", "ical").stdout).walk("VEVENT")
    return {str(one["uid"]): str(one["dtstart"].dt) for one in events if str(one["summary"]).endswith(f": {name}")}


def test_a_policy_keeps_its_entries_in_a_calendar_when_another_one_comes(config: Path) -> None:
    before = uids(config)
    document = yaml.safe_load(config.read_text())
    place = {"backend": "dotenv", "path": "b.env", "field": "KEY"}
    document["policies"].insert(0, {**document["policies"][0], "name": "aaa", "destinations": [place]})
    config.write_text(yaml.safe_dump(document))
    assert len(before) == 4
    assert uids(config) == before
    assert not uids(config, name="aaa").keys() & before.keys()


def test_two_of_a_kind_on_one_day_are_two_entries(config: Path) -> None:
    document = yaml.safe_load(config.read_text())
    short = {"lifetime": "6h", "renew_before": "2h", "grace": "10m", "grace_limit": "20m", "check_every": "5m"}
    document["policies"] = [{**document["policies"][1], **short}]
    config.write_text(yaml.safe_dump(document))
    told = json.loads(run(config, "--until", "60d", "--format", "json").stdout)["happenings"]
    assert len(uids(config, name="new")) == len(told) > 300


@pytest.mark.parametrize("style", ["table", "json", "ical"])
def test_promise_3_a_key_that_somebody_gave_as_a_reason_is_in_no_format(config: Path, style: str) -> None:
    key = "tgp_v1_" + "Ab3dEfGh1jKlMn0pQrStUvWxYz0123456789_-abcdEFGH"
    journal = SqlJournal.open(f"sqlite:///{config.parent}/state.db", is_dead=lambda _holder: True)
    journal.request("chat", Held(reason=" and ".join(["a story of", *[key] * 9])), NOW)
    journal.close()
    done = run(config, "--format", style)
    assert "a story of" in done.stdout
    letters = "".join(one for one in done.stdout if one.isalnum() or one in "_-")
    assert key[-20:] not in letters
    assert key[7:27] not in letters


def test_the_table_ends_with_a_summary(config: Path) -> None:
    done = run(config, "--until", "60d")
    assert done.exit_code == 0
    assert "ExpiryNear" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("5 rotations and 4 revocations in 60d, ")


def test_nothing_is_changed(config: Path) -> None:
    before = {path: path.read_bytes() for path in config.parent.iterdir()}
    run(config)
    assert {path: path.read_bytes() for path in config.parent.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until", "soon"], "'soon' is no duration; like 90s, 30m, 8h or 2d"),
        (["--until", "36500d"], "'36500d' is too long; allowed: a duration of at most 3650d"),
        (["--until", "1000000000000d"], "'1000000000000d' is too long; allowed: a duration of at most 3650d"),
        (["--policy", "caht"], "Invalid value for --policy: no policy 'caht'"),
    ],
    ids=["a wrong length", "eleven years", "what no date can say", "an unknown policy"],
)
def test_wrong_input_is_told(config: Path, arguments: list[str], said: str) -> None:
    done = run(config, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
