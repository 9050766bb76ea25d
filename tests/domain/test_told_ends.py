"""What an end is worth that nobody can look up."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.domain.record import Expiration
from rotator.domain.told_ends import told_beside, told_end, with_ends_of
from tests.domain.build import DAY, NOW, key

LIFETIME = 30 * DAY
MADE = NOW - 20 * DAY


@pytest.mark.parametrize(
    ("expires", "latest", "over"),
    [
        (None, None, None),
        (NOW - DAY, None, NOW - DAY),
        (NOW - DAY + timedelta(seconds=1), None, None),
        (NOW - 5 * DAY, NOW - DAY, NOW - DAY),
        (NOW - 5 * DAY, NOW, None),
    ],
)
def test_promise_4_a_told_end_is_over_a_day_after_the_last_one(
    expires: datetime | None, latest: datetime | None, over: datetime | None
) -> None:
    assert told_end(key("a", expires_at=expires, ends_latest=latest), NOW) == over


@pytest.mark.parametrize(("first", "over"), [(None, None), (NOW, None), (NOW - DAY, NOW - DAY)])
def test_promise_4_an_end_that_may_not_have_been_brought_forward_is_the_one_before(
    first: datetime | None, over: datetime | None
) -> None:
    uncertain = key("a", expires_at=NOW - 5 * DAY, first_expiry=Expiration(first))
    assert told_end(uncertain, NOW) == over
    assert told_end(replace(uncertain, expiry_forwarded=True), NOW) == NOW - 5 * DAY


@pytest.mark.parametrize(
    ("made", "expires", "known"),
    [
        (MADE, None, (None, None)),
        (MADE, NOW + DAY, (NOW + DAY, MADE + LIFETIME)),
        (MADE, NOW - 5 * DAY, (NOW - 5 * DAY, MADE + LIFETIME)),
        (MADE, MADE + 90 * DAY, (MADE + 90 * DAY, MADE + 90 * DAY)),
        (None, NOW - 5 * DAY, (NOW - 5 * DAY, NOW + 25 * DAY)),
        (NOW - 40 * DAY, NOW - 35 * DAY, (None, None)),
    ],
    ids=["none", "asked again since", "over, and another asked for", "told by a person", "no date", "outlived"],
)
def test_promise_4_beside_a_key_lies_the_earliest_of_its_ends(
    made: datetime | None, expires: datetime | None, known: tuple[datetime | None, datetime | None]
) -> None:
    found = told_beside(key("a", created_at=made, expires_at=expires), LIFETIME, NOW)
    assert (found.expires_at, found.ends_latest) == known


def test_promise_4_a_copied_key_has_all_the_ends_that_are_known_elsewhere() -> None:
    copied = key("a", expires_at=None)
    assert with_ends_of(copied, []) is copied
    assert with_ends_of(copied, [key("a", expires_at=None)]) is copied
    one = with_ends_of(copied, [key("a", expires_at=NOW)])
    assert (one.expires_at, one.ends_latest) == (NOW, None)
    theirs = [key("a", expires_at=NOW + DAY), key("a", expires_at=NOW, ends_latest=NOW + 9 * DAY)]
    both = with_ends_of(copied, theirs)
    assert (both.expires_at, both.ends_latest) == (NOW, NOW + 9 * DAY)
