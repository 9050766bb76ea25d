"""The section of the HTTP listener."""

import pytest

from rotator.config import EnvRef, HttpSettings
from tests.config.conftest import GOOD

TOKEN = {"SCRAPE_TOKEN": "a token that must not be shown"}


def test_nothing_listens_unless_it_is_asked_for(configuration):
    assert configuration.load(GOOD).http is None


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("{}", "127.0.0.1", 9464),
        ("{listen: '127.0.0.2:80'}", "127.0.0.2", 80),
        ("{listen: 'localhost:0'}", "localhost", 0),
        ("{listen: '[::1]:9464'}", "::1", 9464),
    ],
)
def test_this_machine_alone_needs_no_token(configuration, written, host, port):
    assert configuration.load(GOOD + f"http: {written}\n").http == HttpSettings(host=host, port=port, token=None)


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "[::]:9464", "192.0.2.7:9464"])
def test_a_place_that_others_reach_needs_a_token(configuration, listen):
    (problem,) = configuration.problems(GOOD + f"http:\n  listen: '{listen}'\n")
    assert problem.startswith("rotator.yaml:11: http.token: found no token, but others reach ")

    text = GOOD + f"http: {{listen: '{listen}', token: {{env: SCRAPE_TOKEN}}}}\n"
    assert configuration.load(text, **TOKEN).http.token == EnvRef("SCRAPE_TOKEN")


@pytest.mark.parametrize(
    "listen", ["9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "::1:9464",
               "[127.0.0.1]:9464", "[localhost]:1", "example.com:9464", "127.0.0.1:-1"],
)  # fmt: skip
def test_what_is_no_address_with_a_port_is_refused(configuration, listen):
    (problem,) = configuration.problems(GOOD + f"http: {{listen: '{listen}'}}\n")
    assert problem == f"rotator.yaml:11: http.listen: found '{listen}'; allowed: ADDRESS:PORT such as 127.0.0.1:9464"


@pytest.mark.parametrize(
    ("written", "where", "what"),
    [
        ("{port: 9464}", "http.port", "an unknown field"),
        ("{token: a-token-in-full}", "http.token", "a value written into the configuration"),
        ("{token: {env: NOT_THERE}}", "http.token", "environment variable NOT_THERE, which is not set or empty"),
        ("{token: {backend: dotenv, path: a, field: b}}", "http.token", "a reference to a backend"),
        ("{token: {file: nothing, more: x}}", "http.token.more", "an unknown field"),
        ("[]", "http", "a list"),
    ],
)
def test_a_fault_is_told_with_its_place_and_without_a_secret(configuration, written, where, what):
    (problem,) = configuration.problems(GOOD + f"http: {written}\n")
    assert problem.startswith(f"rotator.yaml:11: {where}: found {what}; allowed: ")
    assert "in-full" not in problem
