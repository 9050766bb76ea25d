"""Promise 3, first line: the type that can't be shown."""

import copy
import json
import logging
import pickle
from dataclasses import dataclass

import pytest

from rotator.domain.secret import SecretValue

TEXT = "tgp_v1_" + "s" * 43


@pytest.mark.parametrize(
    "show",
    [str, repr, "{}".format, "{!r:>80}".format, lambda s: f"{s}", lambda s: "%s" % s, ascii, lambda s: str([s])],  # noqa: UP031 - every way to print
)
def test_it_is_never_shown(show):
    assert TEXT not in show(SecretValue(TEXT))


@pytest.mark.parametrize("escape", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash, list, len, vars])
def test_it_does_not_leave_memory_by_accident(escape):
    with pytest.raises(TypeError) as caught:
        escape(SecretValue(TEXT))
    assert TEXT not in str(caught.value)


def test_it_is_not_compared_by_accident():
    with pytest.raises(TypeError):
        assert SecretValue(TEXT) == SecretValue(TEXT)
    assert SecretValue(TEXT).same_as(SecretValue(TEXT))
    assert not SecretValue(TEXT).same_as(SecretValue(TEXT + "x"))


def test_a_dataclass_around_it_does_not_show_it():
    @dataclass
    class Holder:
        secret: SecretValue

    assert TEXT not in repr(Holder(SecretValue(TEXT)))


def test_a_log_line_does_not_show_it(caplog):
    logging.getLogger("test").warning("got %s", SecretValue(TEXT))
    assert TEXT not in caplog.text


def test_its_fingerprint_is_stable_and_tells_nothing_of_it():
    # Journals and destinations hold it: it must never change.
    assert SecretValue("a").fingerprint() == "20d129f9535ae8f41bafb9edc53a059a"
    assert SecretValue("a").fingerprint() == SecretValue("a").fingerprint() != SecretValue("b").fingerprint()


@pytest.mark.parametrize("text", ["", "a b", "a\n", "ä", "a\x7f", "\ufeffa"])
def test_a_text_that_a_header_cannot_carry_is_known_as_such(text):
    assert not SecretValue(text).is_header_safe()
    assert SecretValue(TEXT).is_header_safe()
