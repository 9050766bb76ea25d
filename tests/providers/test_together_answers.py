"""Answers of key management that break the contract: nothing of them is believed."""

from __future__ import annotations

from typing import Any

import pytest

from rotator.adapters.providers.together import TogetherProvider
from rotator.errors import (
    OutcomeUnknown,
    ProviderNonsense,
)
from tests.providers.tiny import EXPIRES, KEY, KEYS, NO_JSON, ROW, SECRET, TinyServer, shown

BAD_ROWS: dict[str, Any] = {
    "no object": [1],
    "null": None,
    "no id": {**ROW, "id": None},
    "an empty id": {**ROW, "id": ""},
    "a number for an id": {**ROW, "id": 7},
    "an id that no file can hold": {**ROW, "id": "key_\ud800"},
    "an id that a terminal obeys": {**ROW, "id": "key_\x1b[2J"},
    "another project": {**ROW, "project_id": "q"},
    "no project": {k: v for k, v in ROW.items() if k != "project_id"},
    "a name that is a list": {**ROW, "name": []},
    "a time without a zone": {**ROW, "created_at": "2026-01-01T00:00:00"},
    "a time that is none": {**ROW, "expires_at": "tomorrow"},
    "a time out of range": {**ROW, "expires_at": "0001-01-01T00:00:00+23:59"},
    "a number for a time": {**ROW, "last_used_at": 1767225600},
}


@pytest.mark.parametrize("bad", [*BAD_ROWS.values(), *NO_JSON.values()], ids=[*BAD_ROWS, *NO_JSON])
def test_a_creation_with_an_answer_that_breaks_the_contract_has_an_unknown_outcome(
    tiny: TinyServer, provider: TogetherProvider, bad: Any
) -> None:
    """Promise 3 besides: the secret of such an answer is in no error."""
    tiny.say(KEYS, 201, bad | {"key": SECRET} if isinstance(bad, dict) else bad)
    with pytest.raises(OutcomeUnknown) as caught:
        provider.create_key("p", "n", EXPIRES)
    assert SECRET not in shown(caught.value)
    assert len(tiny.seen) == 1


@pytest.mark.parametrize("secret", [None, "", 5, {"value": SECRET}])
def test_a_creation_without_a_usable_secret_has_an_unknown_outcome(
    tiny: TinyServer, provider: TogetherProvider, secret: object
) -> None:
    tiny.say(KEYS, 201, {**ROW, "key": secret})
    with pytest.raises(OutcomeUnknown):
        provider.create_key("p", "n", EXPIRES)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_creation_that_is_answered_with_another_success_has_an_unknown_outcome(
    tiny: TinyServer, provider: TogetherProvider, status: int
) -> None:
    tiny.say(KEYS, status, b"" if status == 204 else {**ROW, "key": SECRET})
    with pytest.raises(OutcomeUnknown):
        provider.create_key("p", "n", EXPIRES)


@pytest.mark.parametrize("bad", [*BAD_ROWS.values(), *NO_JSON.values()], ids=[*BAD_ROWS, *NO_JSON])
def test_a_list_with_one_row_that_breaks_the_contract_is_not_believed(
    tiny: TinyServer, provider: TogetherProvider, bad: Any
) -> None:
    tiny.say(KEYS, 200, bad if isinstance(bad, bytes) else {"data": [ROW, bad], "next_cursor": None})
    with pytest.raises(ProviderNonsense):
        provider.list_keys("p")


@pytest.mark.parametrize("page", [{}, {"data": None}, {"data": {}}, {"data": [], "next_cursor": 3}, []])
def test_a_page_that_breaks_the_contract_is_not_believed(
    tiny: TinyServer, provider: TogetherProvider, page: object
) -> None:
    tiny.say(KEYS, 200, page)
    with pytest.raises(ProviderNonsense):
        provider.list_keys("p")


def test_a_list_whose_cursor_repeats_ends_with_an_error(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say(KEYS, 200, {"data": [ROW], "next_cursor": "again"})
    with pytest.raises(ProviderNonsense, match="repeats"):
        provider.list_keys("p")
    assert len(tiny.seen) == 2


def test_a_cursor_that_names_another_host_is_only_a_parameter(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say(KEYS, 200, {"data": [], "next_cursor": "https://elsewhere.example/v1?after=x"})
    tiny.say(KEYS, 200, {"data": [ROW], "next_cursor": None})
    assert [facts.key_id for facts in provider.list_keys("p")] == ["key_1"]
    assert tiny.seen[1][0] == f"GET {KEYS}?limit=100&after=https%3A%2F%2Felsewhere.example%2Fv1%3Fafter%3Dx"


def test_a_key_without_a_name_is_listed_for_people_may_make_such(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say(KEYS, 200, {"data": [{**ROW, "name": None}]})
    assert [facts.name for facts in provider.list_keys("p")] == [""]


def test_promise_9_what_a_person_has_named_as_no_file_can_hold_it_is_listed_all_the_same(
    tiny: TinyServer, provider: TogetherProvider
) -> None:
    """Half of a character, and what a terminal obeys: in the name of a key, or of who made it."""
    tiny.say(KEYS, 200, {"data": [{**ROW, "name": "a\ud800b\x1b[2J\n ü", "created_by": "\udfff"}]})
    (facts,) = provider.list_keys("p")
    assert (facts.name, facts.created_by) == ("a\ufffdb\ufffd[2J  ü", "\ufffd")


@pytest.mark.parametrize("answer", [(200, {**ROW, "id": "key_2"}), (200, b""), (204, b""), (200, {**ROW, "key": 1})])
def test_a_change_of_expiration_is_done_only_when_the_answer_is_that_key(
    tiny: TinyServer, provider: TogetherProvider, answer: tuple[int, object]
) -> None:
    tiny.say(KEY, *answer)
    if answer[1] == {**ROW, "key": 1}:
        provider.set_expiration("p", "key_1", EXPIRES)
    else:
        with pytest.raises(OutcomeUnknown):
            provider.set_expiration("p", "key_1", EXPIRES)


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"<html>"), (404, b""), (404, {"message": "no Route matched"}), (404, {"error": "x"}), (200, b"ok")],
)
def test_a_revocation_is_done_only_in_the_words_of_the_contract(
    tiny: TinyServer, provider: TogetherProvider, status: int, body: object
) -> None:
    """Promise 1 leans on this: what only looks like "gone" must not count as revoked."""
    tiny.say(KEY, status, body)
    with pytest.raises(OutcomeUnknown):
        provider.revoke_key("p", "key_1")
