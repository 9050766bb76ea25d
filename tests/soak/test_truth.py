"""The judge of a soak finds what it is there to find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.soak.stage import GRACE
from tests.soak.truth import Entry, Version, candidates, fencing, graces, one_rotation_at_a_time, rotations, writes

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
PLACE = "openbao:kv/chat#KEY"
SECOND_PLACE = "openbao:kv/batch#KEY"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def entry(seconds: float, kind: str, token: int = 1, **body: Any) -> Entry:
    return Entry(at=at(seconds), policy="chat", token=token, kind=kind, body=body)


def begun(seconds: float, number: int, kind: str = "RotationIntended", version: str = "1", **more: Any) -> Entry:
    expected = {PLACE: version, SECOND_PLACE: version}
    rotation = {"rotation_id": f"r{number}", "key_name": f"rotator_soak_chat_{number}", "expected": expected, **more}
    return entry(seconds, kind, rotation=rotation)


def whole(number: int, seconds: float, end: str = "GraceStarted", version: str = "1") -> list[Entry]:
    """A rotation of four seconds, its key created after the first and verified after the second."""
    key = {"key_id": f"key_{number}", "fingerprint": f"f{number}"}
    return [
        begun(seconds, number, version=version),
        entry(seconds + 1, "KeyIssued", rotation_id=f"r{number}", key=key),
        entry(seconds + 2, "KeyVerified", rotation_id=f"r{number}"),
        entry(seconds + 4, end, rotation_id=f"r{number}"),
    ]


def key(number: int, created: float, revoked: float | None = None) -> dict[str, Any]:
    return {
        "id": f"key_{number}",
        "name": f"rotator_soak_chat_{number}",
        "created_at": at(created).isoformat(),
        "revoked_at": None if revoked is None else at(revoked).isoformat(),
        "expires_at": None,
        "state": "live" if revoked is None else "revoked",
    }


def version(number: int, fingerprint: str, since: float, until: float | None = None, place: str = PLACE) -> Version:
    return Version(
        policy="chat",
        place=place,
        number=number,
        fingerprint=fingerprint,
        since=at(since),
        until=None if until is None else at(until),
    )


def test_a_calm_history_has_no_violation() -> None:
    happened = [*whole(1, 0), *whole(2, 10, version="2")]
    versions = [version(1, "by hand", -9, 3), version(2, "f1", 3, 13), version(3, "f2", 13)]
    keys = [key(1, 1, revoked=13 + GRACE), key(2, 11)]

    assert fencing(happened) == one_rotation_at_a_time(happened) == []
    assert candidates(rotations(happened), keys) == ([], 0)
    assert writes(versions, rotations(happened)) == ([], 0)
    assert graces(versions, keys, {"f1": "key_1", "f2": "key_2"}) == []


def test_an_entry_by_a_holder_that_lost_its_lease_is_found() -> None:
    assert fencing([entry(0, "A", token=2), entry(1, "B", token=0), entry(2, "C", token=1)])


def test_a_rotation_beside_another_is_found() -> None:
    assert one_rotation_at_a_time([begun(0, 1), begun(1, 2)])


def test_two_live_candidates_are_found() -> None:
    happened = [*whole(1, 0), *whole(2, 3)]

    found, late = candidates(rotations(happened), [key(1, 1), key(2, 3.5)])

    assert len(found) == 1
    assert late == 0


def test_a_key_without_an_intent_is_found_and_one_that_came_late_is_counted() -> None:
    happened = whole(1, 0, end="RotationAbandoned")

    assert candidates(rotations(happened), [key(1, 9)]) == ([], 1)
    assert candidates({}, [key(1, 9)])[0]


def test_a_write_over_what_its_rotation_had_not_seen_is_found() -> None:
    assert writes([version(3, "f1", 3)], rotations(whole(1, 0)))[0]


def test_a_write_of_a_key_that_was_not_verified_is_found() -> None:
    assert writes([version(2, "f1", 1.5)], rotations(whole(1, 0)))[0]


def test_a_write_that_nobody_intended_is_found() -> None:
    assert writes([version(2, "f9", 3)], rotations(whole(1, 0)))[0]


def test_a_key_that_is_written_twice_is_found() -> None:
    assert writes([version(2, "f1", 3, 4), version(3, "f1", 4)], rotations(whole(1, 0)))[0]


def test_one_late_write_of_a_rotation_is_counted_and_a_second_one_is_found() -> None:
    made = rotations(whole(1, 0, end="RotationAbandoned"))
    first, second = version(2, "f1", 5), version(2, "f1", 6, place=SECOND_PLACE)

    assert writes([first], made) == ([], 1)
    assert writes([first, second], made)[0]


def test_a_late_write_that_was_taken_up_again_is_the_same_key_and_no_second_candidate() -> None:
    given_up = whole(1, 0, end="RotationAbandoned")
    other = whole(2, 10, end="RotationAbandoned")
    taken_up = begun(20, 3, "RotationRebuilt", version="2", key_id="key_1", fingerprint="f1")
    taken_up.body["rotation"]["key_name"] = "rotator_soak_chat_1"
    made = rotations([*given_up, *other, taken_up, entry(24, "GraceStarted", rotation_id="r3")])

    assert candidates(made, [key(1, 1), key(2, 11, revoked=15)]) == ([], 0)
    assert writes([version(2, "f1", 12)], made) == ([], 1)


def test_a_key_that_ends_while_it_is_held_or_before_its_grace_is_over_is_found() -> None:
    for revoked in (5, 13 + GRACE / 2):
        assert graces([version(2, "f1", 3, 13)], [key(1, 1, revoked=revoked)], {"f1": "key_1"})
    assert graces([version(2, "f1", 3)], [key(1, 1, revoked=99)], {"f1": "key_1"})
