"""Secrets that a reference leads to: what can't be one is told with file and field, and never shown."""

import pytest

from rotator.errors import ConfigError
from tests.config.conftest import GOOD

PLACED = "rotator.yaml:4: providers.together.management_key: found file {file}, "
UNSENT = (
    "which has blanks or characters that can't be sent; "
    "allowed: printable ASCII without blanks, as it is sent in a header"
)

FILES = {
    "of zeros": (b"\0" * 3_000_000, "which is larger than 64 KiB; allowed: a secret that is there"),
    "of a few zeros": (b"\0" * 30, "which is no text; allowed: a secret that is there"),
    "with what a terminal obeys": (b"hunter2\x1b[2J\n", "which is no text; allowed: a secret that is there"),
    "of another encoding": (b"hunter2\xff", "which is no text; allowed: a secret that is there"),
    "of two lines": (b"hunter2\nhunter2\n", UNSENT),
    "with a letter that ASCII has not": ("hünter2".encode(), UNSENT),
}  # fmt: skip
IN_HEADERS = {
    "a hook's token": "hooks: {tell: {type: http, url: 'https://example.com', token: {file: key}}}\n",
    "an anchor's token": "state: {anchor: {url: 'https://example.com', token: {file: key}}}\n",
    "a token of Vault": (
        "backends: {v: {type: vault, url: 'https://v:8200', auth: {method: token, token: {file: key}}}}\n"
    ),
    "a wrapping token of Vault": (
        "backends: {v: {type: vault, url: 'https://v:8200', auth: {method: approle, role_id: {env: MANAGEMENT_KEY}, "
        "secret_id: {file: key}, wrapped_for_role: r}}}\n"
    ),
}


@pytest.mark.parametrize(("content", "expected"), FILES.values(), ids=FILES.keys())
def test_a_file_that_holds_no_key_is_told_with_its_field_and_without_its_content(configuration, content, expected):
    file = configuration.folder / "key"
    file.write_bytes(content)
    problems = configuration.problems(GOOD.replace("{env: MANAGEMENT_KEY}", "{file: key}"))
    assert problems == [PLACED.format(file="key") + expected]
    assert "nter2" not in problems[0]


def test_a_file_without_an_end_is_not_read_to_its_end(configuration):
    problems = configuration.problems(GOOD.replace("{env: MANAGEMENT_KEY}", "{file: /dev/zero}"))
    assert problems == [
        PLACED.format(file="/dev/zero") + "which is larger than 64 KiB; allowed: a secret that is there"
    ]


def test_a_secret_of_64_kib_is_one(configuration):
    (configuration.folder / "key").write_text("k" * 65_535 + "\n")
    configuration.load(GOOD.replace("{env: MANAGEMENT_KEY}", "{file: key}"))


@pytest.mark.parametrize("text", IN_HEADERS.values(), ids=IN_HEADERS.keys())
def test_what_is_sent_in_a_header_is_looked_at_before_it_is_needed(configuration, text):
    (configuration.folder / "key").write_text("hunter 2")
    (problem,) = configuration.problems(GOOD + text)
    assert problem.endswith(f"found file key, {UNSENT}")
    configuration.load(GOOD + text, forms=False)  # keys are rotated all the same


def test_a_variable_is_looked_at_like_a_file(configuration):
    text = GOOD.replace("MANAGEMENT_KEY", "LANGUAGE")
    with pytest.raises(ConfigError, match="found environment variable LANGUAGE, which has blanks"):
        configuration.load(text, LANGUAGE="two words")


def test_a_password_may_have_blanks(configuration):
    (configuration.folder / "key").write_text("correct horse\tbattery")
    configuration.load(GOOD + "state: {url: 'postgresql://u@127.0.0.1/db', password: {file: key}}\n")
