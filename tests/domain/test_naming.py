"""Key names: descriptive, and unique by their last part."""

from rotator.domain.naming import key_name
from tests.domain.build import NOW


def test_a_name_tells_instance_policy_and_day():
    assert key_name("prod", "chat-api", NOW, bytes(5)) == "rotator_prod_chat-api_20261123_aaaaaaaa"


def test_two_keys_of_one_day_have_different_names():
    assert key_name("prod", "chat", NOW, b"12345") != key_name("prod", "chat", NOW, b"12346")
