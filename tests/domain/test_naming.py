"""Key names: descriptive, and unique by their last part."""

import secrets

import pytest

from rotator.domain.naming import is_name_of, key_name
from tests.domain.build import NOW


def test_a_name_tells_instance_policy_and_day():
    assert key_name("prod", "chat-api", NOW, bytes(5)) == "rotator_prod_chat-api_20261123_aaaaaaaa"


def test_two_keys_of_one_day_have_different_names():
    assert key_name("prod", "chat", NOW, b"12345") != key_name("prod", "chat", NOW, b"12346")


@pytest.mark.parametrize(
    "name",
    [
        "rotator_prod_chat_20261123_abcd234",
        "rotator_prod_chat_20261123_ABCD2345",
        "rotator_prod_chat_2026112_abcd2345",
        "rotator_prod_chat-2_20261123_abcd2345",
        "rotator_dev_chat_20261123_abcd2345",
        "xrotator_prod_chat_20261123_abcd2345",
        "rotator_prod_chat_20261123_abcd2345\n",
        "rotator_prod_chat_",
        "",
    ],
)
def test_promise_7_a_name_that_is_nearly_ours_is_not_ours(name):
    assert not is_name_of(name, "prod", "chat")


def test_every_name_that_we_make_is_known_again():
    assert is_name_of(key_name("prod", "chat", NOW, secrets.token_bytes(5)), "prod", "chat")
