"""What makes the service dead or unready, and how much of it is told."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from rotator.domain.channel import ChannelState
from rotator.domain.record import PolicyRecord
from rotator.entrypoints.heart import SILENT_SECONDS, Heart
from rotator.entrypoints.http.ready import Readiness
from rotator.errors import JournalUnavailable
from rotator.metrics.journal import of_channels
from rotator.ports import Look
from tests.domain.build import POLICY

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeJournal:
    look_: Look | None = None
    broken: bool = False

    def looks(self):
        if self.broken:
            raise JournalUnavailable("the disk of secret-host is gone")
        return {}

    def look(self, name):
        self.looks()
        return self.look_

    def load(self, name):
        return PolicyRecord(policy=name)


@dataclass
class FakeClock:
    stopping: bool = False

    def now(self):
        return NOW


@dataclass
class FakeApplication:
    journal: FakeJournal = field(default_factory=FakeJournal)
    clock: FakeClock = field(default_factory=FakeClock)
    circuits: dict[str, str] = field(default_factory=dict)

    def troubles(self):
        return self.circuits


def readiness(application):
    one = POLICY
    return Readiness(application=lambda: application, policies=lambda: {one.name: one}), one


def test_it_is_ready_when_the_journal_answers_and_no_circuit_is_open():
    assert readiness(FakeApplication())[0].problems(detailed=True) == []


def test_each_trouble_is_a_reason_and_its_words_are_for_who_has_the_token():
    circuits = {"provider together": "3 failures in a row", "backend vault": "sealed", "backend aws": "away"}
    ready, _ = readiness(FakeApplication(FakeJournal(broken=True), FakeClock(stopping=True), circuits))
    assert ready.problems(detailed=True) == [
        "the service is stopping",
        "the journal can't be read: the disk of secret-host is gone",
        "provider together: 3 failures in a row",
        "backend vault: sealed",
        "backend aws: away",
    ]
    assert ready.problems(detailed=False) == [
        "the service is stopping",
        "the journal can't be read",
        "a provider is in trouble",
        "a backend is in trouble",
    ]


def test_a_policy_tells_why_it_is_not_ready():
    application = FakeApplication()
    ready, one = readiness(application)

    def reason():
        return ready.policy(one.name)["reason"]

    assert reason() == "it was not looked at yet"
    application.journal.look_ = Look(next_at=NOW, digest="", failures=2, problem="no right to write")
    assert reason() == "failed 2 times in a row: no right to write"
    application.journal.look_ = Look(next_at=NOW, digest="")
    assert reason() == ""
    application.circuits = {"provider of-others": "away"}
    assert reason() == ""
    application.circuits = {f"backend {one.destinations[0].backend}": "away"}
    assert reason() == f"backend {one.destinations[0].backend}: away"
    application.circuits = {}
    application.journal.look_ = Look(next_at=NOW - timedelta(minutes=6), digest="")
    assert reason() == "it was due at 2025-12-31T23:54:00+00:00, and was not looked at"
    application.journal.broken = True
    assert reason() == "the journal can't be read: the disk of secret-host is gone"
    assert ready.policy("nobody") is None


def test_the_heart_tells_the_trouble_of_its_last_beat_and_that_it_is_silent():
    seconds = [0.0]
    heart = Heart(monotonic=lambda: seconds[0], wall=lambda: 1000 + seconds[0])
    assert (heart.trouble(), heart.at) == ("", 1000)
    heart.beat("the scheduler runs no jobs")
    assert heart.trouble() == "the scheduler runs no jobs"
    seconds[0] = 5
    heart.beat("")
    assert (heart.trouble(), heart.at) == ("", 1005)
    seconds[0] += SILENT_SECONDS + 1
    assert heart.trouble() == "the schedule was not compared with the journal for 61 s"


@dataclass
class FakeOutbox:
    broken: bool = False

    def channels(self):
        if self.broken:
            raise JournalUnavailable("gone")
        failing = ChannelState(cursor=0, failures=2, problem="it was answered with 503")
        return {"ops": failing, "pager": ChannelState(cursor=0), "of another installation": failing}


def test_a_channel_that_fails_is_a_warning_and_keeps_nothing_from_being_ready():
    application = FakeApplication()
    application.settings = SimpleNamespace(notifications={"ops": None, "pager": None, "new": None})
    application.outbox = FakeOutbox()
    ready, _ = readiness(application)
    assert ready.warnings() == ["notifications ops: failed 2 times in a row: it was answered with 503"]
    assert ready.problems(detailed=True) == []
    (gauge,) = of_channels(application.outbox, application.settings.notifications)
    assert {sample.labels["channel"]: sample.value for sample in gauge.samples} == {"ops": 2, "pager": 0, "new": 0}
    application.outbox.broken = True
    assert (ready.warnings(), list(of_channels(application.outbox, ["ops"]))) == ([], [])
