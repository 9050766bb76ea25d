"""Signed webhooks, to a real server, checked by the specification's own library and its published example."""

import base64
import json
import logging
import socket
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from rotator.adapters.notifications.webhook import WebhookChannel, signed
from rotator.domain.secret import SecretValue
from rotator.errors import SendFailed
from rotator.ports_notify import Message
from tests.parts.receiver import receiver

KEY = "whsec_" + base64.b64encode(b"made up for these tests: 32 byte").decode()
OTHER = "whsec_" + base64.b64encode(b"another one, which replaces it..").decode()
MESSAGE = Message(
    ident="msg_0123456789abcdef",
    kind="still-in-use",
    level="warning",
    at=datetime(2026, 11, 23, 12, tzinfo=UTC),
    title="rotator prod: chat: still in use",
    body="The replaced key key_old is still in use.",
    fields={"policy": "chat", "key_ids": ["key_old"]},
)


def now():
    return datetime.now(UTC)


def channel(url, secret=KEY, timeout=10):
    return WebhookChannel(url=url, secret=SecretValue(secret), timeout=timedelta(seconds=timeout))


def test_the_example_that_the_specification_publishes():
    secret = SecretValue("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    assert signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}') == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_receiver_can_verify_what_it_gets_and_knows_a_repeat_by_its_id():
    with receiver() as place:
        place.answers = [(200, {})]
        for _ in range(2):
            channel(place.url, f"{KEY}\n{OTHER}").send(MESSAGE, now())
    (_, headers, content), (_, again, _) = place.requests
    for key in (KEY, OTHER):
        body = Webhook(key).verify(content, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(KEY).verify(content + b" ", headers)
    assert headers["webhook-id"] == again["webhook-id"] == MESSAGE.ident
    assert headers["content-type"] == "application/json"
    assert body == {
        "type": "rotator.still_in_use",
        "timestamp": "2026-11-23T12:00:00Z",
        "data": {
            "version": 1,
            "title": MESSAGE.title,
            "text": MESSAGE.body,
            "policy": "chat",
            "key_ids": ["key_old"],
        },
    }


def test_another_answer_is_a_failure_and_its_wish_to_wait_is_heard():
    with receiver() as place, receiver() as elsewhere:
        place.answers = [(307, {"Location": elsewhere.url}), (410, {}), (429, {"Retry-After": "120"}), (503, {})]
        place.answers += [(503, {"Retry-After": "9" * 400})]
        waits = []
        for status in (307, 410, 429, 503, 503):
            with pytest.raises(SendFailed, match=rf"^it was answered with {status}$") as caught:
                channel(place.url).send(MESSAGE, now())
            waits.append(caught.value.retry_after)
        assert waits == [None, None, 120, None, 86_400]
        assert elsewhere.requests == []


def test_nobody_there_or_no_answer_is_a_failure_that_names_no_address(caplog):
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SendFailed, match=r"^no answer"):
            channel(f"http://127.0.0.1:{port}/token-in-path", timeout=1).send(MESSAGE, now())
    with pytest.raises(SendFailed, match=r"^no answer \(ConnectError\)$") as caught:
        channel(f"http://127.0.0.1:{port}/token-in-path").send(MESSAGE, now())
    assert caught.value.__cause__ is None
    assert "token-in-path" not in repr(channel("http://127.0.0.1/token-in-path"))


@pytest.mark.parametrize(
    "secret",
    ["whsec_c2hvcnQ=", "whsec_***", KEY.removeprefix("whsec_"), "x" * 40, f"{KEY} short", " ", KEY[:-2] + "\u00e9="],
)
def test_a_secret_of_another_form_signs_nothing_and_is_not_shown(secret):
    with pytest.raises(SendFailed, match="its secret is") as caught:
        channel("http://127.0.0.1:9/", secret).send(MESSAGE, now())
    assert secret.split()[-1:] == [] or secret.split()[-1] not in str(caught.value)
    assert json.dumps(str(caught.value)).isascii()
