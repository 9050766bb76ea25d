"""Channels in the configuration, and the policies that choose them."""

from datetime import timedelta

import pytest

from rotator.config import AppriseSettings, EnvRef, WebhookSettings, load
from rotator.domain.notices import Kind, Level
from tests.config.conftest import ENVIRON, GOOD

HOOK = "notifications: {ops: {type: webhook, url: 'https://example.com/in', secret: {env: SIGNING}%s}}\n"
ONLY = "allowed: a reference: {env: NAME}, {file: PATH} or {credential: NAME}; never the secret itself"

CASES = {
    "an unknown type": (
        "notifications: {ops: {type: smoke}}\n",
        "notifications.ops.type: found 'smoke'; allowed: a type of channel: apprise, webhook",
    ),
    "a URL that holds a token": (
        "notifications: {ops: {type: apprise, url: 'slack://hunter2/hunter2'}}\n",
        f"notifications.ops.url: found a value written into the configuration; {ONLY}",
    ),
    "no secret to sign with": (
        "notifications: {ops: {type: webhook, url: 'https://example.com/in'}}\n",
        "notifications.ops.secret: found nothing; allowed: this field must be there",
    ),
    "plain http": (
        "notifications: {ops: {type: webhook, url: 'http://example.com/', secret: {env: SIGNING}}}\n",
        "notifications.ops.url: found 'http://example.com/'; allowed: https (plain http only to this machine)",
    ),
    "a secret of another form": (
        HOOK.replace("SIGNING", "MANAGEMENT_KEY") % "",
        (
            "notifications.ops.secret: found environment variable MANAGEMENT_KEY, which is of another form; allowed: "
            "'whsec_' and 24 to 64 bytes in base64; several with blanks between them"
        ),
    ),
    "an unknown event": (
        HOOK % ", events: [rotatted]",
        (
            "notifications.ops.events[0]: found 'rotatted'; allowed: 'rotated', 'revoked', 'adopted', 'rolled-back', "
            "'about-to-revoke', 'still-in-use', 'changed-by-others', 'abandoned', 'compromised', 'failed', 'overdue', "
            "'needs-person' or 'recovered'"
        ),
    ),
    "a wait that is too long": (
        HOOK % ", timeout: 2m",
        "notifications.ops.timeout: found 2m; allowed: at most 1m",
    ),
    "an unknown channel in the defaults": (
        "defaults: {notify: [ops]}\n",
        "defaults.notify[0]: found 'ops'; allowed: a configured channel: none is configured",
    ),
    "a list": ("notifications: [ops]\n", "notifications: found a list; allowed: a mapping of names"),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_promise_10_each_fault_has_one_clear_line(configuration, text, expected):
    problems = configuration.problems(GOOD + text)
    assert problems == [f"rotator.yaml:11: {expected}"]
    for secret in ("hunter2", *ENVIRON.values()):
        assert secret not in "\n".join(problems)


def test_a_policy_may_name_only_channels_that_there_are_and_each_once(configuration):
    text = GOOD.replace("project: proj_a\n", "project: proj_a\n    notify: [opps]\n    escalate: [ops, ops]\n")
    assert configuration.problems(text + HOOK % "") == [
        (
            "rotator.yaml:9: policies[0].notify[0] (a): found 'opps'; allowed: a configured channel: ops; did you mean "
            "'ops'?"
        ),
        "rotator.yaml:10: policies[0].escalate[1] (a): found 'ops'; allowed: each channel once",
    ]


def test_what_is_not_said_is_everything_and_the_defaults_choose_for_policies_that_do_not(tmp_path):
    file = tmp_path / "rotator.yaml"
    chat = "  chat: {type: apprise, url: {env: MANAGEMENT_KEY}, level: critical, policies: [a*], failed_after: 5}\n"
    hook = (HOOK % "").replace("{ops", "\n  ops").replace("}}}", "}}")
    file.write_text(GOOD + hook + chat + "defaults: {escalate: [chat]}\n")
    settings = load(file, ENVIRON)
    ops, chat = settings.notifications["ops"], settings.notifications["chat"]
    assert isinstance(ops, WebhookSettings)
    assert (ops.rules.events, ops.rules.level, ops.rules.per_hour) == (set(map(str, Kind)), Level.INFO, 20)
    assert (ops.rules.policies, ops.rules.failed_after, ops.timeout) == (("*",), 3, timedelta(seconds=10))
    assert isinstance(chat, AppriseSettings)
    assert (chat.rules.level, chat.rules.policies, chat.url) == (Level.CRITICAL, ("a*",), EnvRef("MANAGEMENT_KEY"))
    (one,) = settings.policies
    assert (one.notify, one.escalate) == (None, ("chat",))
    file.write_text(GOOD)
    assert load(file, ENVIRON).policies[0].digest == one.digest, "who hears of it is no reason to look at it"
