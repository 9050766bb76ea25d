"""The contract of ``rotator.ports.SecretBackend`` as tests, for whoever writes a backend.

Subclass ``BackendContract`` and give it a fixture ``case``::

    class TestFolder(BackendContract):
        @pytest.fixture
        def case(self, tmp_path):
            ...
            return BackendCase(backend=..., at=..., put=..., other=...)
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from rotator.domain.model import Destination, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import VersionConflict
from rotator.ports import Destroyer, SecretBackend

FIELD = "TOGETHER_API_KEY"


@dataclass(frozen=True)
class BackendCase:
    """One backend, and one place in it that holds nothing yet.

    :param at: the destination of a field in that place.
    :param put: what a person does: write a field, whatever is there.
    :param other: the text of a field as it lies there, ``None`` where there is none; not through the backend.
    :param keeps_previous: whether it knows the value before the current one.
    :param keeps_metadata: whether it has room for the hints, from which a lost journal is rebuilt.
    :param one_version_for_all_fields: whether a change of another field is a conflict.
    """

    backend: SecretBackend
    at: Callable[[str], Destination]
    put: Callable[[str, str], None]
    other: Callable[[str], str | None]
    keeps_previous: bool = True
    keeps_metadata: bool = True
    one_version_for_all_fields: bool = True


def some_metadata(**changes: str) -> KeyMetadata:
    """Metadata of a rotation that nobody else uses."""
    pairs = {
        "instance": "prod",
        "policy": "chat",
        "project": "proj_abc",
        "rotation_id": str(uuid.uuid4()),
        "key_id": "key_2",
        "fingerprint": "0123456789abcdef0123456789abcdef",
        "created": "2026-11-23T10:00:00+00:00",
        "expires": "2026-12-23T10:00:00+00:00",
        "previous_key_id": "key_1",
    }
    return KeyMetadata(**{**pairs, **changes})


def _text(secret: SecretValue | None) -> str | None:
    return secret.reveal() if secret else None


class BackendContract:
    """What every backend keeps."""

    def test_an_empty_place_reads_as_no_value(self, case: BackendCase) -> None:
        assert case.backend.read(case.at(FIELD)).value is None

    def test_a_written_value_is_read_back_from_an_empty_place(self, case: BackendCase) -> None:
        place = case.at(FIELD)
        case.backend.check_writable(place)
        case.backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), case.backend.read(place).version)
        assert _text(case.backend.read(place).value) == "tgp_v1_new"

    def test_a_key_that_a_person_put_there_is_read_and_replaced(self, case: BackendCase) -> None:
        place = case.at(FIELD)
        case.put(FIELD, "tgp_v1_by_hand")
        held = case.backend.read(place)
        assert _text(held.value) == "tgp_v1_by_hand"
        case.backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), held.version)
        assert _text(case.backend.read(place).value) == "tgp_v1_new"

    def test_a_write_with_a_version_that_is_no_longer_current_changes_nothing(self, case: BackendCase) -> None:
        """A late effect of a former holder does no harm (Promise 5)."""
        place = case.at(FIELD)
        seen = case.backend.read(place).version
        case.put(FIELD, "tgp_v1_theirs")
        with pytest.raises(VersionConflict):
            case.backend.write(place, SecretValue("tgp_v1_late"), some_metadata(), seen)
        assert _text(case.backend.read(place).value) == "tgp_v1_theirs"

    def test_a_repeated_write_succeeds_and_changes_nothing(self, case: BackendCase) -> None:
        place, metadata = case.at(FIELD), some_metadata()
        seen = case.backend.read(place).version
        case.backend.write(place, SecretValue("tgp_v1_new"), metadata, seen)
        after = case.backend.read(place)
        case.backend.write(place, SecretValue("tgp_v1_new"), metadata, seen)
        again = case.backend.read(place)
        assert (_text(again.value), again.version, again.metadata) == ("tgp_v1_new", after.version, after.metadata)

    def test_other_fields_of_the_place_are_kept(self, case: BackendCase) -> None:
        place = case.at(FIELD)
        case.put("DATABASE_URL", "postgresql://db/app")
        case.backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), case.backend.read(place).version)
        assert case.other("DATABASE_URL") == "postgresql://db/app"

    def test_metadata_is_read_back_as_pairs_and_replaced_as_a_whole(self, case: BackendCase) -> None:
        place = case.at(FIELD)
        case.backend.write(place, SecretValue("tgp_v1_a"), some_metadata(), case.backend.read(place).version)
        second = some_metadata(previous_key_id="")
        case.backend.write(place, SecretValue("tgp_v1_b"), second, case.backend.read(place).version)
        assert dict(case.backend.read(place).metadata) == (second.as_pairs() if case.keeps_metadata else {})

    def test_two_destinations_in_one_place_keep_each_their_value_and_metadata(self, case: BackendCase) -> None:
        first, second = case.at("FIRST_KEY"), case.at("SECOND_KEY")
        one, two = some_metadata(policy="one"), some_metadata(policy="two")
        case.backend.write(first, SecretValue("tgp_v1_one"), one, case.backend.read(first).version)
        case.backend.write(second, SecretValue("tgp_v1_two"), two, case.backend.read(second).version)
        held = [case.backend.read(first), case.backend.read(second)]
        assert [_text(each.value) for each in held] == ["tgp_v1_one", "tgp_v1_two"]
        kept = [one.as_pairs(), two.as_pairs()] if case.keeps_metadata else [{}, {}]
        assert [dict(each.metadata) for each in held] == kept

    def test_a_conflict_through_another_field_is_over_after_another_look(self, case: BackendCase) -> None:
        first, second, metadata = case.at("FIRST_KEY"), case.at("SECOND_KEY"), some_metadata()
        seen = case.backend.read(first).version
        case.backend.write(second, SecretValue("tgp_v1_two"), some_metadata(), case.backend.read(second).version)
        if case.one_version_for_all_fields:
            with pytest.raises(VersionConflict):
                case.backend.write(first, SecretValue("tgp_v1_one"), metadata, seen)
            seen = case.backend.read(first).version
        case.backend.write(first, SecretValue("tgp_v1_one"), metadata, seen)
        assert [_text(case.backend.read(each).value) for each in (first, second)] == ["tgp_v1_one", "tgp_v1_two"]

    def test_the_previous_value_is_told_where_the_backend_keeps_it(self, case: BackendCase) -> None:
        place = case.at(FIELD)
        case.put(FIELD, "tgp_v1_old")
        case.backend.write(place, SecretValue("tgp_v1_new"), some_metadata(), case.backend.read(place).version)
        assert _text(case.backend.read_previous(place)) == ("tgp_v1_old" if case.keeps_previous else None)

    def test_without_a_previous_value_there_is_none(self, case: BackendCase) -> None:
        assert case.backend.read_previous(case.at(FIELD)) is None

    def test_of_two_writers_with_the_same_version_exactly_one_wins(self, case: BackendCase) -> None:
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
        assert winners == [_text(case.backend.read(place).value)]

    def test_no_secret_is_in_what_a_read_or_an_error_shows(self, case: BackendCase) -> None:
        """No secret leaves memory except to its destinations (Promise 3)."""
        place = case.at(FIELD)
        case.put(FIELD, "tgp_v1_shown_nowhere")
        held = case.backend.read(place)
        with pytest.raises(VersionConflict) as conflict:
            case.backend.write(place, SecretValue("tgp_v1_nor_this"), some_metadata(), "of another time")
        refused = conflict.value
        shown = f"{held!r} {held.version} {held.metadata} {refused!r} {refused.__context__!r} {case.backend!r}"
        assert "tgp_v1_" not in shown


class InboxContract:
    """What a backend keeps besides that is fit for an inbox (``rotator.ports.Destroyer``)."""

    def test_what_is_destroyed_is_gone_with_all_that_lay_there_before(self, case: BackendCase) -> None:
        """Nothing that a person handed over stays behind (Promise 3)."""
        place, backend = case.at(FIELD), case.backend
        assert isinstance(backend, Destroyer)
        for text in ("tgp_v1_first", "tgp_v1_second"):
            case.put(FIELD, text)
        for _ in range(2):
            backend.destroy(place, backend.read(place).version)
            assert backend.read(place).value is None
            assert case.backend.read_previous(place) is None

    def test_a_value_that_was_put_there_meanwhile_is_not_destroyed(self, case: BackendCase) -> None:
        place, backend = case.at(FIELD), case.backend
        assert isinstance(backend, Destroyer)
        case.put(FIELD, "tgp_v1_first")
        seen = backend.read(place).version
        case.put(FIELD, "tgp_v1_second")
        with pytest.raises(VersionConflict):
            backend.destroy(place, seen)
        assert _text(backend.read(place).value) == "tgp_v1_second"

    def test_nothing_is_destroyed_where_nothing_is(self, case: BackendCase) -> None:
        backend = case.backend
        assert isinstance(backend, Destroyer)
        backend.destroy(case.at(FIELD), backend.read(case.at(FIELD)).version)
