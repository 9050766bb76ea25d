"""What is counted, and what that costs who does not ask for it."""

import subprocess
import sys
from datetime import UTC, datetime

from rotator.domain.record import KeyState, Phase
from rotator.errors import JournalUnavailable
from rotator.metrics.counted import Counted
from rotator.metrics.journal import of_journal, phase
from rotator.ports import Work
from tests.domain.build import HOUR, NOW, POLICY, key, record, retiring, rotation


def test_each_event_of_a_rotation_is_counted_under_its_outcome():
    counted = Counted()
    counted.know(["chat"])
    for kind in (
        "RotationIntended",
        "RotationIntended",
        "GraceStarted",
        "RotationAbandoned",
        "KeyRevoked",
        "KeyClosed",
    ):
        counted.recorded("chat", kind)

    def value(name, **labels):
        return counted.registry.get_sample_value(name, {"policy": "chat", **labels})

    assert value("rotator_rotations_started_total") == 2
    outcomes = ("published", "abandoned", "rolled_back")
    assert [value("rotator_rotations_total", outcome=outcome) for outcome in outcomes] == [1, 1, 0]
    assert (value("rotator_revocations_total"), value("rotator_grace_extensions_total")) == (1, 0)


def test_a_look_that_failed_is_a_retry_to_come_under_its_cause_and_what_the_budget_put_off_a_deferral():
    counted = Counted()
    counted.know(["chat"])
    for result, cause in (("busy", ""), ("ok", ""), ("failed", "BackendDenied"), ("failed", "WrongDestination")):
        counted.looked("chat", result, 0.1, cause)
    value = counted.registry.get_sample_value
    assert value("rotator_looks_total", {"policy": "chat", "result": "busy"}) == 1
    assert value("rotator_retries_total", {"cause": "BackendDenied"}) == 1
    assert value("rotator_retries_total", {"cause": ""}) is None
    assert value("rotator_deferrals_total", {"policy": "chat"}) == 0
    counted.alerted("chat", "Deferred")
    counted.alerted("chat", "Drifted")
    assert value("rotator_deferrals_total", {"policy": "chat"}) == 1


def test_the_time_of_each_phase_is_taken_of_rotations_that_were_seen_whole():
    seconds = [100.0]
    counted = Counted(lambda: seconds[0])
    life = [
        ("chat", "GraceStarted", 5),
        ("chat", "RotationIntended", 1),
        ("batch", "RotationIntended", 1),
        ("chat", "KeyIssued", 2),
        ("chat", "KeyVerified", 3),
        ("batch", "RotationAbandoned", 0),
        ("chat", "DestinationPublished", 4),
        ("chat", "GraceStarted", 9),
        ("chat", "KeyRevoked", 9),
    ]
    for policy, kind, lasts in life:
        counted.recorded(policy, kind)
        seconds[0] += lasts

    def times(phase):
        name, labels = "rotator_phase_duration_seconds", {"phase": phase}
        value = counted.registry.get_sample_value
        return value(f"{name}_count", labels), value(f"{name}_sum", labels)

    assert times("issuing") == (2, 2 + 6)
    assert (times("verifying"), times("publishing")) == ((1, 2), (1, 7))


def test_a_rotation_that_another_process_finished_adds_its_time_to_no_phase_of_the_next():
    seconds = [0.0]
    counted = Counted(lambda: seconds[0])
    for kind in ("RotationIntended", "KeyIssued", "RotationIntended", "KeyVerified", "KeyIssued", "GraceStarted"):
        counted.recorded("chat", kind)
        seconds[0] += 5_000_000
    value = counted.registry.get_sample_value
    counts = [
        value("rotator_phase_duration_seconds_count", {"phase": one}) for one in ("issuing", "verifying", "publishing")
    ]
    assert counts == [1, None, None]


def test_the_phase_of_a_policy_is_that_of_its_rotation_and_then_of_its_old_keys():
    flying = record(key("old"), rotations=(rotation(Phase.PUBLISHING),))
    assert phase(flying) == "publishing"
    assert phase(record(key("new"), retiring("old"))) == "grace"
    assert phase(record(key("new"), key("old", KeyState.REVOKED))) == "revoking"
    assert phase(record(key("new"))) == "idle"


class Journal:
    def records(self):
        return {"chat": record(key("now"), hold="a freeze"), "not served": record(key("x"))}

    def looks(self):
        return {}

    def works(self):
        now = datetime.now(UTC)
        return {
            "chat": Work(ok_at=NOW, held_until=now + HOUR),
            "not served": Work(held_until=now + HOUR),
            "left": Work(held_until=now - HOUR),
        }


class Broken(Journal):
    def looks(self):
        raise JournalUnavailable("away")


def samples(journal):
    found = {}
    for family in of_journal(journal, {"chat": POLICY}, datetime.now(UTC)):
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_a_policy_that_is_not_served_is_not_told_of_and_one_on_hold_is():
    found = samples(Journal())
    assert found["rotator_policy_on_hold", "chat"] == 1
    assert {labels[0] for _, *labels in found if labels} == {"chat"}


def test_when_a_look_was_fine_last_and_which_leases_are_held_is_told_from_the_journal():
    found = samples(Journal())
    assert found["rotator_policy_last_success_timestamp_seconds", "chat"] == NOW.timestamp()
    assert ("rotator_policy_last_error_timestamp_seconds", "chat") not in found
    assert found[("rotator_leases",)] == 2


def test_a_journal_that_can_not_be_read_is_a_sample_and_no_error():
    assert samples(Broken()) == {("rotator_journal_readable",): 0}


def test_who_does_not_ask_for_metrics_does_not_load_their_library():
    code = (
        "import sys, rotator.bootstrap, rotator.entrypoints.cli, rotator.entrypoints.daemon, rotator.entrypoints.once\n"
    )
    code += "sys.exit(any(name.startswith(('prometheus_client', 'rotator.entrypoints.http')) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
