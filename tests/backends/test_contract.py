"""The contract of ``rotator.ports.SecretBackend``, kept by every backend and by the fake, guarded or not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rotator.domain.secret import SecretValue
from rotator.errors import VersionConflict
from tests.backends.conftest import Case, some_metadata

FIELD = "TOGETHER_API_KEY"


def text(secret: SecretValue | None) -> str | None:
    return secret.reveal() if secret else None


def test_an_empty_place_reads_as_no_value(case: Case) -> None:
    assert case.backend.read(case.at(FIELD)).value is None


def test_a_written_value_is_read_back_from_an_empty_place(case: Case) -> None:
    place = case.at(FIELD)
    case.backend.check_writable(place)
    case.backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), case.backend.read(place).version)
    assert text(case.backend.read(place).value) == "tgp_v1_new"


def test_a_key_that_a_person_put_there_is_read_and_replaced(case: Case) -> None:
    place = case.at(FIELD)
    case.put(FIELD, "tgp_v1_by_hand")
    held = case.backend.read(place)
    assert text(held.value) == "tgp_v1_by_hand"
    case.backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), held.version)
    assert text(case.backend.read(place).value) == "tgp_v1_new"


def test_a_write_with_a_version_that_is_no_longer_current_changes_nothing(case: Case) -> None:
    """A late effect of a former holder does no harm (Promise 5)."""
    place = case.at(FIELD)
    seen = case.backend.read(place).version
    case.put(FIELD, "tgp_v1_theirs")
    with pytest.raises(VersionConflict):
        case.backend.write(place, SecretValue("tgp_v1_late"), some_metadata(), seen)
    assert text(case.backend.read(place).value) == "tgp_v1_theirs"


def test_a_repeated_write_succeeds_and_changes_nothing(case: Case) -> None:
    place, metadata = case.at(FIELD), some_metadata()
    seen = case.backend.read(place).version
    case.backend.write(place, SecretValue("tgp_v1_new"), metadata, seen)
    after = case.backend.read(place)
    case.backend.write(place, SecretValue("tgp_v1_new"), metadata, seen)
    again = case.backend.read(place)
    assert (text(again.value), again.version, again.metadata) == ("tgp_v1_new", after.version, after.metadata)


def test_other_fields_of_the_place_are_kept(case: Case) -> None:
    place = case.at(FIELD)
    case.put("DATABASE_URL", "postgresql://db/app")
    case.backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), case.backend.read(place).version)
    assert case.other("DATABASE_URL") == "postgresql://db/app"


def test_metadata_is_read_back_as_pairs_and_replaced_as_a_whole(case: Case) -> None:
    place = case.at(FIELD)
    case.backend.write(place, SecretValue("tgp_v1_a"), some_metadata(), case.backend.read(place).version)
    second = some_metadata(previous_key_id="")
    case.backend.write(place, SecretValue("tgp_v1_b"), second, case.backend.read(place).version)
    assert dict(case.backend.read(place).metadata) == (second.as_pairs() if case.keeps_metadata else {})


def test_two_destinations_in_one_place_keep_each_their_value_and_metadata(case: Case) -> None:
    first, second = case.at("FIRST_KEY"), case.at("SECOND_KEY")
    one, two = some_metadata(policy="one"), some_metadata(policy="two")
    case.backend.write(first, SecretValue("tgp_v1_one"), one, case.backend.read(first).version)
    case.backend.write(second, SecretValue("tgp_v1_two"), two, case.backend.read(second).version)
    held = [case.backend.read(first), case.backend.read(second)]
    assert [text(each.value) for each in held] == ["tgp_v1_one", "tgp_v1_two"]
    kept = [one.as_pairs(), two.as_pairs()] if case.keeps_metadata else [{}, {}]
    assert [dict(each.metadata) for each in held] == kept


def test_a_conflict_through_another_field_is_over_after_another_look(case: Case) -> None:
    first, second, metadata = case.at("FIRST_KEY"), case.at("SECOND_KEY"), some_metadata()
    seen = case.backend.read(first).version
    case.backend.write(second, SecretValue("tgp_v1_two"), some_metadata(), case.backend.read(second).version)
    if case.one_version_for_all_fields:
        with pytest.raises(VersionConflict):
            case.backend.write(first, SecretValue("tgp_v1_one"), metadata, seen)
        seen = case.backend.read(first).version
    case.backend.write(first, SecretValue("tgp_v1_one"), metadata, seen)
    assert [text(case.backend.read(each).value) for each in (first, second)] == ["tgp_v1_one", "tgp_v1_two"]


def test_the_previous_value_is_told_where_the_backend_keeps_it(case: Case) -> None:
    place = case.at(FIELD)
    case.put(FIELD, "tgp_v1_old")
    case.backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), case.backend.read(place).version)
    assert text(case.backend.read_previous(place)) == ("tgp_v1_old" if case.keeps_previous else None)


def test_without_a_previous_value_there_is_none(case: Case) -> None:
    assert case.backend.read_previous(case.at(FIELD)) is None


def test_of_two_writers_with_the_same_version_exactly_one_wins(case: Case) -> None:
    """Compare-and-set makes the publish of a second holder harmless (Promise 5)."""
    place = case.at(FIELD)
    case.put(FIELD, "tgp_v1_old")
    seen, start = case.backend.read(place).version, threading.Barrier(2)

    def publish(key: str) -> str | None:
        start.wait(10)
        try:
            case.backend.write(place, SecretValue(key), some_metadata(), seen)
        except VersionConflict:
            return None
        return key

    with ThreadPoolExecutor(2) as pool:
        winners = [key for key in pool.map(publish, ["tgp_v1_a", "tgp_v1_b"]) if key]
    assert winners == [text(case.backend.read(place).value)]


def test_no_secret_is_in_what_a_read_or_an_error_shows(case: Case) -> None:
    """No secret leaves memory except to its destinations (Promise 3)."""
    place = case.at(FIELD)
    case.put(FIELD, "tgp_v1_shown_nowhere")
    held = case.backend.read(place)
    with pytest.raises(VersionConflict) as conflict:
        case.backend.write(place, SecretValue("tgp_v1_nor_this"), some_metadata(), "of another time")
    shown = (
        f"{held!r} {held.version} {held.metadata} {conflict.value!r} {conflict.value.__context__!r} {case.backend!r}"
    )
    assert "tgp_v1_" not in shown
