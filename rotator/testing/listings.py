"""The contract of ``rotator.ports.Listing`` as tests, for whoever writes a backend that can be searched.

Subclass ``ListingContract`` and give it a fixture ``shelf``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rotator.errors import BackendError
from rotator.ports import Listing, Spot


@dataclass(frozen=True)
class Shelf:
    """A backend in which nothing lies yet, below a folder of its own.

    :param within: the pattern of a path in that folder: ``apps/*``.
    :param put: what a person does: write the fields of a place (``apps/chat``), whatever is there.
    """

    listing: Listing
    within: Callable[[str], str]
    put: Callable[[str, Mapping[str, str]], None]


def _names(shelf: Shelf, pattern: str) -> list[str]:
    """What is found, without the folder of the test."""
    start = len(shelf.within("x")) - 1
    return [spot.name[start:] for spot in shelf.listing.places(shelf.within(pattern)).spots]


def _one(shelf: Shelf, path: str) -> Spot:
    (spot,) = shelf.listing.places(shelf.within(path)).spots
    return spot


class ListingContract:
    """What every backend that can be searched keeps."""

    def test_a_pattern_finds_what_it_means_sorted_and_nothing_else(self, shelf: Shelf) -> None:
        for path in ("apps/chat/env", "apps/batch/env", "apps/team/web/env", "apps/chat/other", "tools/env"):
            shelf.put(path, {"KEY": "tgp_v1_x"})
        assert _names(shelf, "apps/*/env") == ["apps/batch/env", "apps/chat/env"]
        assert _names(shelf, "apps/**/env") == ["apps/batch/env", "apps/chat/env", "apps/team/web/env"]
        assert _names(shelf, "apps/c*/**") == ["apps/chat/env", "apps/chat/other"]
        assert _names(shelf, "apps/[bt]*/e?v") == ["apps/batch/env"]
        assert _names(shelf, "**/env") == ["apps/batch/env", "apps/chat/env", "apps/team/web/env", "tools/env"]
        assert _names(shelf, "nothing/*") == []
        assert not shelf.listing.places(shelf.within("apps/**")).problems

    def test_one_place_is_listed_without_asking_and_its_fields_are_read(self, shelf: Shelf) -> None:
        shelf.put("apps/chat", {"KEY": "tgp_v1_x", "OTHER": "postgresql://db"})
        fields = shelf.listing.fields(_one(shelf, "apps/chat"))
        assert {name: value.reveal() for name, value in fields.items()} == {
            "KEY": "tgp_v1_x",
            "OTHER": "postgresql://db",
        }
        assert "tgp_v1_" not in repr(fields)

    def test_an_empty_field_is_none_and_a_place_that_is_not_there_has_none_or_says_so(self, shelf: Shelf) -> None:
        shelf.put("apps/chat", {"EMPTY": "", "KEY": "tgp_v1_x"})
        assert list(shelf.listing.fields(_one(shelf, "apps/chat"))) == ["KEY"]
        try:
            assert not shelf.listing.fields(_one(shelf, "apps/gone"))
        except BackendError as error:
            assert "tgp_v1_" not in str(error)  # noqa: PT017 - either is right
