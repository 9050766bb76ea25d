"""Assisted issuance in the configuration: what holds, who says it, and what can't work."""

from datetime import timedelta

import pytest
import yaml

from rotator.config import load
from rotator.errors import ConfigError

ENVIRON = {"TOKEN": "x"}
GOOD = """\
version: 1
instance: prod
providers:
  people:
    type: together
    issuance: assisted
    assisted:
      owners: [ada]
      inbox: {backend: v, mount: secret, path: "inbox/{policy}", field: key}
backends:
  v: {type: vault, url: "https://v", auth: {method: token, token: {env: TOKEN}}}
policies:
  - name: a
    provider: people
    project: proj_a
    destinations: [{backend: dotenv, path: /srv/a.env, field: KEY}]
  - name: b
    provider: people
    project: proj_b
    assisted: {owners: [bob, cy], revoke_within: 2d, console_url: "https://gateway/{project}"}
    destinations: [{backend: v, mount: secret, path: apps/b, field: KEY}]
"""


def loaded(tmp_path, text=GOOD):
    file = tmp_path / "rotator.yaml"
    file.write_text(text)
    return load(file, ENVIRON)


def test_a_policy_has_what_its_provider_says_and_what_it_says_otherwise(tmp_path):
    first, second = (policy.assistance for policy in loaded(tmp_path).policies)
    assert first.console_url == "https://api.together.ai/settings/projects/proj_a/api-keys"
    assert (first.owners, first.revoke_within, first.inbox.name) == (
        ("ada",),
        timedelta(days=7),
        "v:secret/inbox/a#key",
    )
    assert (second.owners, second.revoke_within, second.console_url) == (
        ("bob", "cy"),
        timedelta(days=2),
        "https://gateway/proj_b",
    )
    assert second.inbox.name == "v:secret/inbox/b#key"
    assert second.remind_first == timedelta(days=1)


def test_a_policy_is_due_at_once_when_its_people_change(tmp_path):
    before = [policy.digest for policy in loaded(tmp_path).policies]
    after = [
        policy.digest for policy in loaded(tmp_path, GOOD.replace("revoke_within: 2d", "revoke_within: 3d")).policies
    ]
    assert before[0] == after[0]
    assert before[1] != after[1]


LINE = '      inbox: {backend: v, mount: secret, path: "inbox/{policy}", field: key}\n'
WRONG = {
    "a file": (
        LINE,
        "      inbox: {backend: dotenv, path: /srv/inbox, field: KEY}\n",
        (
            "policies[0].assisted.inbox (a): found an inbox that is a file, where the key would lie about; allowed: a "
            "backend that can destroy what was taken: vault, aws-secrets-manager"
        ),
    ),
    "one inbox for all": (
        "inbox/{policy}",
        "inbox/all",
        (
            "policies[1].assisted.inbox (b): found v:secret/inbox/all#key, beside the inbox of 'a'; allowed: a "
            "secret of its own ({policy} in its path): it is destroyed as a whole"
        ),
    ),
    "an inbox that is a destination": (
        "inbox/{policy}",
        "apps/{policy}",
        (
            "policies[1].assisted.inbox (b): found v:secret/apps/b#key, beside v:secret/apps/b#KEY; allowed: a secret "
            "of its own"
        ),
    ),
    "an inbox that is a destination of a later policy": (
        "    project: proj_a\n",
        "    project: proj_a\n    assisted: {inbox: {backend: v, mount: secret, path: apps/b, field: key}}\n",
        "found v:secret/apps/b#KEY, beside the inbox of 'a'; allowed: another secret: an inbox is destroyed",
    ),
    "an inbox with a form": (
        "field: key}\n",
        "field: key, template: {a: '{key}'}}\n",
        "policies[0].assisted.inbox.template (a): found a form; allowed: the key alone, as a person puts it there",
    ),
    "a life of less than days": (
        "    project: proj_a\n",
        "    project: proj_a\n    lifetime: 8d\n",
        (
            "policies[0] (a): found a lifetime of 8d, of which 7d renew; allowed: two days more than renew_before: the "
            "console gives a date, no time"
        ),
    ),
    "a console over plain http": (
        "https://gateway/{project}",
        "http://gateway",
        (
            "policies[1].assisted.console_url (b): found 'http://gateway'; allowed: an https URL, with {project} where "
            "the project's id belongs"
        ),
    ),
    "an unknown field": (
        "owners: [ada]",
        "owner: ada",
        (
            "providers.people.assisted.owner: found an unknown field; allowed: console_url, owners, "
            "remind_first, escalate_before, revoke_within, inbox, inbox_every; did you mean 'owners'?"
        ),
    ),
    "an unknown backend": (
        "inbox: {backend: v,",
        "inbox: {backend: w,",
        "policies[0].assisted.inbox.backend (a): found 'w'; allowed: a configured backend: dotenv, v",
    ),
}


@pytest.mark.parametrize(("old", "new", "said"), WRONG.values(), ids=WRONG)
def test_promise_10_what_can_not_work_is_said_with_its_place(tmp_path, old, new, said):
    assert old in GOOD
    with pytest.raises(ConfigError) as wrong:
        loaded(tmp_path, GOOD.replace(old, new))
    assert said in str(wrong.value)


def test_people_are_for_assisted_providers_only(tmp_path):
    document = yaml.safe_load(GOOD)
    document["providers"]["people"] = {"type": "together", "management_key": {"env": "TOKEN"}}
    with pytest.raises(ConfigError, match="allowed: with a provider that has 'issuance: assisted'"):
        loaded(tmp_path, yaml.safe_dump(document))


@pytest.mark.parametrize("spoilt", ["token: {env: NOPE}", "tokn: {env: TOKEN}"])
def test_a_backend_with_a_fault_of_its_own_is_not_said_to_be_unknown_where_it_is_an_inbox(tmp_path, spoilt):
    with pytest.raises(ConfigError) as wrong:
        loaded(tmp_path, GOOD.replace("token: {env: TOKEN}", spoilt))
    assert {problem.field.partition(".auth.")[0] for problem in wrong.value.problems} == {"backends.v"}


def test_nor_where_a_management_key_lies_in_it(tmp_path):
    document = yaml.safe_load(GOOD.replace("{env: TOKEN}", "{env: NOPE}"))
    key = {"backend": "v", "mount": "secret", "path": "m", "field": "k"}
    document["providers"]["people"] = {"type": "together", "management_key": key}
    with pytest.raises(ConfigError) as wrong:
        loaded(tmp_path, yaml.safe_dump(document))
    assert [problem.field for problem in wrong.value.problems] == ["backends.v.auth.token"]
