"""apprise, against a real receiver; and what it says of its URLs, which hold tokens."""

import io
import logging
import socket
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator import telemetry
from rotator.adapters.notifications.apprise import AppriseChannel
from rotator.domain.secret import SecretValue
from rotator.errors import SendFailed
from tests.notifications.test_webhook import MESSAGE, now
from tests.parts.receiver import receiver
from tests.parts.secret_search import files, search

# apprise asks on its import whether one more module is there, which Python 3.11 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

TOKEN = "made-up-token-9f8e7d6c5b4a3"


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Everything that the process logs at the lowest level; its home is ``tmp_path``."""
    monkeypatch.setenv("HOME", str(tmp_path))
    stream, root = io.StringIO(), logging.getLogger()
    before = (root.handlers[:], root.level)
    telemetry.configure(level="debug", style="json", stream=stream)
    root.setLevel(logging.NOTSET)
    logging.getLogger("apprise").setLevel(logging.NOTSET)
    yield stream
    root.handlers[:], _ = before
    root.setLevel(before[1])
    logging.captureWarnings(capture=False)


def channel(url, timeout=20):
    return AppriseChannel(url=SecretValue(url), timeout=timedelta(seconds=timeout))


def answer_of(one):
    try:
        one.send(MESSAGE, now())
    except SendFailed as error:
        return f"{error}{error.__cause__ or ''}"
    return "sent"


def test_a_message_arrives_with_its_title_text_and_level():
    with receiver() as place:
        channel(f"json://127.0.0.1:{place.port}/{TOKEN}").send(MESSAGE, now())
    ((path, _, _),), (body,) = place.requests, place.bodies()
    assert path == f"/{TOKEN}"
    assert (body["title"], body["message"], body["type"]) == (MESSAGE.title, MESSAGE.body, "warning")


@pytest.mark.parametrize(("option", "is_split"), [("", False), ("?overflow=split", True)])
def test_a_message_that_is_too_long_for_the_service_is_cut_unless_the_url_says_otherwise(option, is_split):
    long = replace(MESSAGE, body="x" * 9000)
    with receiver() as place:
        place.answers = [(200, {})] * 9
        channel(f"mmost://127.0.0.1:{place.port}/{TOKEN}{option}").send(long, now())
    lengths = [len(body["text"]) for body in place.bodies()]
    assert max(lengths) <= 4000, "what Mattermost takes"
    assert (len(lengths) > 1, sum(lengths) > 9000) == (is_split, is_split)


def test_neither_error_log_nor_file_shows_the_url(log, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    said = []
    with receiver() as place:
        place.answers = [(204, {}), (404, {}), (500, {})]
        for url in (
            f"json://user:{TOKEN}@127.0.0.1:{place.port}/{TOKEN}",
            f"json://127.0.0.1:{place.port}/{TOKEN}",
            f"json://127.0.0.1:{place.port}/?+X-Token={TOKEN}",
            f"json://127.0.0.1:{nobody}/{TOKEN}",
            f"nonsense://{TOKEN}",
            f"slack://{TOKEN}",
        ):
            said.append(answer_of(channel(url)))
            assert TOKEN not in repr(channel(url))
    assert said == [
        "sent",
        "the service answered with 404",
        "the service answered with 500",
        "the service did not take it",
        "its URL is not one that apprise knows",
        "its URL is not one that apprise knows",
    ]
    written = {"log": log.getvalue().encode(), "said": "\n".join(said).encode(), **files(tmp_path, but=tmp_path)}
    assert search([TOKEN], written) == []


def test_a_service_that_does_not_answer_is_given_up_at_the_timeout():
    with receiver() as place:
        place.hold.clear()
        with pytest.raises(SendFailed, match=r"^no answer within 1s$"):
            channel(f"json://127.0.0.1:{place.port}/?rto=60", timeout=1).send(MESSAGE, now())
