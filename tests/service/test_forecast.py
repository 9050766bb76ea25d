"""What the forecast says is what the service then does, at the same moments."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.domain import events as ev
from rotator.domain.forecast import Happening, What, forecast, summary
from rotator.domain.model import Assistance
from rotator.domain.text import text
from tests.domain.build import DAY, HOUR, NOW, POLICY, key, record

WEEKS = 100 * DAY


class Yearly:
    """A window that opens in a year."""

    def opens(self, now):
        return NOW + 365 * DAY


class Nightly:
    """Open for the first four hours of each day, UTC."""

    def opens(self, now):
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return now if now < midnight + 4 * HOUR else midnight + DAY


def told(happenings: tuple[Happening, ...], *kinds: What) -> list[tuple[What, str, str]]:
    return [(one.what, one.policy, text(one.at)) for one in happenings if one.what in (kinds or tuple(What))]


def done(stage, name: str, begun) -> list[tuple[What, str, str]]:
    """What the journal says has happened: rotations by their intent, revocations by theirs."""
    entries = stage.journal.history.entries(name, 0, 10_000)
    kinds = {ev.RotationIntended.__name__: What.ROTATION, ev.RevocationIntended.__name__: What.REVOCATION}
    return [
        (kinds[entry.kind], name, entry.at[:19] + "Z") for entry in entries if entry.kind in kinds and entry.at > begun
    ]


def test_the_forecast_is_what_the_service_does(stage):
    """Three lives with windows: every rotation and revocation of a hundred days, to the second."""
    stage.policy = stage.policies[0] = replace(stage.policy, windows=Nightly())
    stage.put_key_by_hand()
    stage.look()
    begun = stage.clock.now()
    seen = forecast(stage.policies, stage.journal.records(), begun, begun + WEEKS)

    stage.look_until_quiet(WEEKS)

    real = done(stage, "chat", begun.isoformat())
    assert len(real) >= 7
    assert told(seen, What.ROTATION, What.REVOCATION) == real


def test_what_never_fits_is_told():
    late = replace(POLICY, windows=Yearly())
    seen = forecast([late], {"chat": record(key("a"))}, NOW, NOW + 40 * DAY)
    assert any("too late to wait for" in one.why for one in seen if one.what is What.TROUBLE)


def test_where_a_forecast_has_to_end_early_it_says_of_each_policy_from_when_on_nothing_is_known(monkeypatch):
    monkeypatch.setattr("rotator.domain.forecast.MOST", 60)
    short = [
        replace(POLICY, name=name, lifetime=2 * DAY, renew_before=DAY, grace=HOUR, grace_limit=4 * HOUR)
        for name in ("chat", "batch")
    ]
    seen = forecast(short, {}, NOW, NOW + 90 * DAY)
    ends = [one for one in seen if one.what is What.TROUBLE]
    assert sorted(one.policy for one in ends) == ["batch", "chat"]
    assert all("nothing is known of it from here on" in one.why for one in ends)
    assert max(one.at for one in seen) == max(one.at for one in ends) < NOW + 90 * DAY
    for end in ends:
        assert all(one.at <= end.at for one in seen if one.policy == end.policy)
    assert "2 things that a person should look at" in summary(seen, 90 * DAY)


def test_a_hold_is_told_and_ends_by_itself_where_it_has_an_end():
    held = record(key("a"), hold="freeze", hold_until=NOW + 30 * DAY)
    seen = forecast([POLICY], {"chat": held}, NOW, NOW + 35 * DAY)
    assert seen[0].what is What.TROUBLE
    assert "on hold" in seen[0].why
    (rotation,) = [one for one in seen if one.what is What.ROTATION]
    assert rotation.at >= NOW + 30 * DAY


def test_policies_of_a_group_keep_their_distance():
    policies = [replace(POLICY, name=name, group="g", distance=2 * DAY) for name in ("chat", "batch")]
    records = {one.name: replace(record(key("a")), policy=one.name) for one in policies}
    first, second = [one for one in forecast(policies, records, NOW, NOW + 29 * DAY) if one.what is What.ROTATION]
    assert {first.policy, second.policy} == {"chat", "batch"}
    assert second.at - first.at == 2 * DAY


def test_what_depends_on_another_policy_rotates_after_it():
    chat = replace(POLICY, depends_on=("base",))
    base = replace(POLICY, name="base")
    records = {
        "chat": record(key("a", expires_at=NOW + 20 * DAY)),
        "base": replace(record(key("b", expires_at=NOW + 20 * DAY)), policy="base"),
    }
    rotations = [one for one in forecast([chat, base], records, NOW, NOW + 15 * DAY) if one.what is What.ROTATION]
    assert [one.policy for one in rotations] == ["base", "chat"]


def test_a_policy_that_nobody_has_looked_at_begins_with_its_first_key():
    seen = forecast([POLICY], {}, NOW, NOW + DAY)
    assert told(seen) == [(What.ROTATION, "chat", text(NOW))]


def test_a_forecast_ends_at_its_end_and_the_records_stay_as_they_were(stage):
    records = {"chat": record(key("a"))}
    assert forecast([POLICY], records, NOW, NOW + timedelta(days=10)) == ()
    assert records == {"chat": record(key("a"))}


def test_where_a_person_makes_the_keys_the_forecast_says_when_one_is_asked():
    policy = replace(POLICY, assistance=Assistance(console_url="https://console.example"))
    seen = forecast([policy], {"chat": record(key("a"))}, NOW, NOW + 40 * DAY)
    assert [one.what for one in seen if one.what is not What.TROUBLE][:2] == [What.ROTATION, What.REVOCATION]
    assert seen[0].why.startswith("a person is asked for a key: ExpiryNear")
