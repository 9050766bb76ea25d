"""How a key lies in a place, by ``Destination.layout``: part of the contract of ``rotator.ports.SecretBackend``.

Subclass ``LayoutContract`` beside ``BackendContract``, with the same fixture ``case``.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rotator.domain.layout import Layout
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import VersionConflict, WrongDestination
from rotator.testing.backends import FIELD, BackendCase, some_metadata

NEW = SecretValue("tgp_v1_new")
TEMPLATE = Layout(template='{"auth": {"header": "Bearer {key}"}, "id": "{key_id}", "until": "{expires}"}')
BESIDE = Layout(beside=(("TOGETHER_KEY_EXPIRES", "expires"), ("TOGETHER_KEY_ID", "key_id")))


def _at(case: BackendCase, layout: Layout) -> Destination:
    return replace(case.at(FIELD), layout=layout)


def _publish(case: BackendCase, place: Destination, key: SecretValue = NEW, **facts: str) -> None:
    case.backend.check_writable(place)
    case.backend.write(place, key, some_metadata(**facts), case.backend.read(place).version)


def _key(case: BackendCase, place: Destination) -> str | None:
    value = case.backend.read(place).value
    return value.reveal() if value else None


class LayoutContract:
    """What every backend keeps."""

    def test_a_template_is_filled_in_and_the_key_is_read_out_of_it(self, case: BackendCase) -> None:
        place = _at(case, TEMPLATE)
        _publish(case, place, key_id="key_7", expires="2027-01-01T00:00:00+00:00")
        assert json.loads(case.other(FIELD) or "") == {
            "auth": {"header": "Bearer tgp_v1_new"},
            "id": "key_7",
            "until": "2027-01-01T00:00:00+00:00",
        }
        assert _key(case, place) == "tgp_v1_new"

    def test_a_key_that_stands_alone_is_read_and_replaced_although_there_is_a_template(self, case: BackendCase) -> None:
        place = _at(case, TEMPLATE)
        case.put(FIELD, "tgp_v1_by_hand")
        assert _key(case, place) == "tgp_v1_by_hand"
        _publish(case, place)
        assert json.loads(case.other(FIELD) or "")["auth"] == {"header": "Bearer tgp_v1_new"}

    def test_an_object_of_another_form_is_refused_by_name_never_shown_and_never_replaced(
        self, case: BackendCase
    ) -> None:
        place, held = _at(case, TEMPLATE), '{"auth": {"header": "Basic tgp_v1_theirs"}}'
        case.put(FIELD, held)
        version, metadata = case.backend.read(case.at(FIELD)).version, some_metadata()
        for call in (
            lambda: case.backend.read(place),
            lambda: case.backend.write(place, NEW, metadata, version),
        ):
            with pytest.raises(WrongDestination) as refused:
                call()
            assert str(refused.value).startswith(place.name)
            assert "tgp_v1_" not in f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__context__!r}"
        assert case.other(FIELD) == held

    def test_fields_beside_the_key_are_written_with_it_and_others_are_kept(self, case: BackendCase) -> None:
        place = _at(case, BESIDE)
        case.put("DATABASE_URL", "postgresql://db/app")
        for number in ("8", "9"):
            _publish(case, place, SecretValue(f"tgp_v1_{number}"), key_id=f"key_{number}", expires="2027-01-01")
            names = (FIELD, "TOGETHER_KEY_ID", "TOGETHER_KEY_EXPIRES", "DATABASE_URL")
            assert [case.other(name) for name in names] == [
                f"tgp_v1_{number}",
                f"key_{number}",
                "2027-01-01",
                "postgresql://db/app",
            ]
        assert _key(case, place) == "tgp_v1_9"

    @pytest.mark.parametrize("layout", [TEMPLATE, BESIDE], ids=["template", "beside"])
    def test_a_repeated_write_in_a_layout_succeeds_and_changes_nothing(self, case: BackendCase, layout: Layout) -> None:
        place, metadata = _at(case, layout), some_metadata()
        seen = case.backend.read(place).version
        case.backend.write(place, NEW, metadata, seen)
        after, lies = case.backend.read(place), case.other(FIELD)
        case.backend.write(place, NEW, metadata, seen)
        again = case.backend.read(place)
        assert (again.version, again.metadata, case.other(FIELD)) == (after.version, after.metadata, lies)

    def test_a_change_around_the_key_is_a_conflict(self, case: BackendCase) -> None:
        place = _at(case, TEMPLATE)
        _publish(case, place)
        seen, theirs = case.backend.read(place).version, '{"auth": {"header": "Bearer tgp_v1_new"}, "more": "theirs"}'
        case.put(FIELD, theirs)
        with pytest.raises(VersionConflict):
            case.backend.write(place, SecretValue("tgp_v1_newer"), some_metadata(), seen)
        assert case.other(FIELD) == theirs

    def test_the_previous_key_is_told_out_of_its_template(self, case: BackendCase) -> None:
        place = _at(case, TEMPLATE)
        _publish(case, place, SecretValue("tgp_v1_first"))
        _publish(case, place, SecretValue("tgp_v1_second"))
        previous = case.backend.read_previous(place)
        assert (previous.reveal() if previous else None) == ("tgp_v1_first" if case.keeps_previous else None)

    def test_when_a_place_was_changed_is_a_moment_with_its_zone_where_it_is_told(self, case: BackendCase) -> None:
        case.put(FIELD, "tgp_v1_by_hand")
        changed_at = case.backend.read(case.at(FIELD)).changed_at
        assert changed_at is None or changed_at.utcoffset() is not None
