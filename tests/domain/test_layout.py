"""How a key lies in a value: what was encoded is found again, and what has another form is not ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.domain.layout import Layout, problem_of
from rotator.domain.secret import SecretValue
from rotator.errors import WrongDestination

NESTED = {"auth": {"header": "Bearer {key}", "id": "{key_id}"}, "until": "{expires}", "retries": 3}
FACTS = {"key_id": "key_1", "expires": "2027-01-01T00:00:00+00:00"}


def test_a_template_is_filled_in_with_the_key_and_its_facts() -> None:
    value = Layout(template=json.dumps(NESTED)).encode(SecretValue("tgp_v1_x"), FACTS)
    assert json.loads(value.reveal()) == {
        "auth": {"header": "Bearer tgp_v1_x", "id": "key_1"},
        "until": "2027-01-01T00:00:00+00:00",
        "retries": 3,
    }


@given(st.text(min_size=1))
def test_a_key_of_any_text_is_found_again(key: str) -> None:
    layout = Layout(template=json.dumps(NESTED))
    found = layout.decode(layout.encode(SecretValue(key), FACTS))
    assert found is not None
    assert found.reveal() == key


def test_a_key_that_looks_like_a_placeholder_is_not_filled_in_again() -> None:
    value = Layout(template='{"a": "{key}"}').encode(SecretValue("{key_id}"), FACTS)
    assert json.loads(value.reveal()) == {"a": "{key_id}"}


def test_a_key_that_stands_alone_is_read_although_there_is_a_template() -> None:
    found = Layout(template=json.dumps(NESTED)).decode(SecretValue("tgp_v1_by_hand"))
    assert found is not None
    assert found.reveal() == "tgp_v1_by_hand"


@pytest.mark.parametrize("held", ['{"auth": {"header": "Basic x"}}', '{"auth": "Bearer x"}', "{}"])
def test_an_object_of_another_form_is_refused_and_not_shown(held: str) -> None:
    with pytest.raises(WrongDestination) as refused:
        Layout(template=json.dumps(NESTED)).decode(SecretValue(held))
    assert "Basic" not in str(refused.value)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ({"a": "{key_id}"}, "is missing"),
        ({"a": "{key}", "b": "{key}"}, "stands there 2 times"),
        ({"a": "{key} of {key_id}"}, "stand in one text"),
        ({"a": ["{key}"]}, "stands in a list"),
        ({"{key}": "a"}, "in a name"),
        ({"a": "{key}", "b": ["{expires}"]}, ""),
    ],
)
def test_a_template_in_which_the_key_can_not_be_found_again_is_refused(
    template: dict[str, object], problem: str
) -> None:
    found = problem_of(template)
    assert problem in found
    assert bool(found) == bool(problem)


def test_fields_beside_the_key_carry_its_facts() -> None:
    layout = Layout(beside=(("TOGETHER_KEY_ID", "key_id"), ("UNTIL", "expires")))
    assert layout.fields(FACTS) == {"TOGETHER_KEY_ID": "key_1", "UNTIL": "2027-01-01T00:00:00+00:00"}
