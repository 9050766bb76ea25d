"""What a good configuration becomes."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import make_url

from rotator.config import (
    BackendRef,
    CommandHookSettings,
    EnvRef,
    HttpHookSettings,
    LimitsSettings,
    load,
    resolve,
)
from rotator.errors import ConfigError
from tests.config.conftest import ENVIRON, GOOD


def test_defaults_fill_what_a_policy_does_not_say(configuration):
    (policy,) = configuration.load(GOOD + "defaults: {lifetime: 60d, grace: 2d}\n").policies
    assert (policy.lifetime, policy.renew_before, policy.grace, policy.grace_limit) == (
        timedelta(days=60),
        timedelta(days=7),
        timedelta(days=2),
        timedelta(days=8),
    )


def test_a_policy_overrides_the_defaults(configuration):
    text = GOOD.replace("project: proj_a", "project: proj_a\n    lifetime: 90d") + "defaults: {lifetime: 60d}\n"
    assert configuration.load(text).policies[0].lifetime == timedelta(days=90)


def test_a_relative_dotenv_path_is_beside_the_configuration(configuration):
    (destination,) = configuration.load(GOOD.replace("/srv/a.env", "a.env")).policies[0].destinations
    assert destination.option("path") == str(configuration.folder / "a.env")
    assert destination.name == f"dotenv:{configuration.folder}/a.env#KEY"


def test_policies_come_from_included_files_too(configuration):
    folder = configuration.folder / "policies.d"
    folder.mkdir()
    for name in ("b", "c"):
        start = GOOD.index("policies:")
        text = GOOD[start:].replace("name: a", f"name: {name}").replace("a.env", f"{name}.env")
        (folder / f"{name}.yaml").write_text(text)
    loaded = configuration.load(GOOD + "include: [policies.d/*.yaml, 'nothing/*.yaml']\n")
    assert [policy.name for policy in loaded.policies] == ["a", "b", "c"]


def test_the_digest_changes_with_what_matters_and_with_nothing_else(configuration):
    (first,) = configuration.load(GOOD).policies
    (same,) = configuration.load("# a comment\n" + GOOD + "log: {level: debug}\n").policies
    (other,) = configuration.load(GOOD.replace("proj_a", "proj_b")).policies
    assert first.digest == same.digest != other.digest


def test_no_secret_is_in_the_settings(configuration):
    loaded = configuration.load(GOOD)
    assert loaded.providers["together"].management_key == EnvRef("MANAGEMENT_KEY")
    assert ENVIRON["MANAGEMENT_KEY"] not in repr(loaded)
    assert resolve(EnvRef("MANAGEMENT_KEY"), ENVIRON).reveal() == ENVIRON["MANAGEMENT_KEY"]


def test_a_management_key_can_lie_in_a_backend(configuration):
    text = GOOD.replace("{env: MANAGEMENT_KEY}", "{backend: dotenv, path: /srv/m.env, field: MK}")
    reference = configuration.load(text).providers["together"].management_key
    assert isinstance(reference, BackendRef)
    assert reference.destination.name == "dotenv:/srv/m.env#MK"


def test_the_last_line_end_of_a_secret_file_is_not_part_of_it(configuration):
    (configuration.folder / "key").write_text("s3cret\n")
    reference = configuration.load(GOOD.replace("{env: MANAGEMENT_KEY}", "{file: key}")).providers["together"]
    assert resolve(reference.management_key, {}).reveal() == "s3cret"


def test_limits_are_said_for_each_provider_and_backend_alone(configuration):
    text = GOOD.replace("{type: together,", "{type: together, limits: {rate: 20},") + (
        "backends:\n"
        "  aws: {type: aws-secrets-manager, region: eu-west-1, limits: {rate: 0.5, concurrency: 4}}\n"
        "  files: {type: dotenv, limits: {concurrency: 1}}\n"
        "  v: {type: vault, url: 'https://v', auth: {method: token, token: {env: MANAGEMENT_KEY}}}\n"
    )
    loaded = configuration.load(text)
    assert loaded.providers["together"].limits == LimitsSettings(rate=20)
    assert {name: backend.limits for name, backend in loaded.backends.items()} == {
        "dotenv": LimitsSettings(),
        "aws": LimitsSettings(rate=0.5, concurrency=4),
        "files": LimitsSettings(concurrency=1),
        "v": LimitsSettings(),
    }


def test_anchors_and_merge_keys_are_understood(configuration):
    text = GOOD.replace("  - name: a\n", "  - &first\n    name: a\n") + (
        "  - <<: *first\n    name: b\n    destinations: [{backend: dotenv, path: /srv/b.env, field: KEY}]\n"
    )
    assert [policy.name for policy in configuration.load(text).policies] == ["a", "b"]


def test_the_state_is_where_systemd_says(configuration):
    assert configuration.load(GOOD, STATE_DIRECTORY="/x/y").state_url == "sqlite:////x/y/state.db"
    assert configuration.load(GOOD).state_url == "sqlite:////var/lib/rotator/state.db"


URLS = {
    "postgresql+psycopg://u@db.internal:5433/rotator?sslmode=verify-full&sslrootcert=/etc/ssl/db.pem": {},
    "postgresql://u@db.internal/rotator?sslmode=require&options=-csearch_path%3Drotator": {},
    "postgresql:///rotator": {},
    "postgresql:///rotator?host=/run/postgresql": {},
    "postgresql://u@[::1]:5432/rotator": {},
    "postgresql://u@localhost/rotator": {},
    "postgresql:///rotator?host=a:5432&host=b:5432&sslmode=verify-full&target_session_attrs=read-write": {},
    "postgresql://?service=rotator": {},
    "postgresql://db.internal/rotator": {"PGSSLMODE": "verify-full"},
}


@pytest.mark.parametrize(("url", "environ"), URLS.items(), ids=URLS.keys())
def test_the_state_can_be_in_postgresql(configuration, url, environ):
    text = GOOD + f"state: {{url: '{url}', password: {{env: DB_PASSWORD}}}}\n"
    settings = configuration.load(text, DB_PASSWORD="x", **environ)
    assert settings.state_url == "postgresql+psycopg://" + url.partition("://")[2]
    assert settings.state_password == EnvRef("DB_PASSWORD")
    # What we let through, the libraries understand: offline, up to the connection itself.
    parsed = make_url(settings.state_url)
    arguments, options = parsed.get_dialect()().create_connect_args(parsed)
    assert conninfo_to_dict(make_conninfo(*arguments, **options))


PLANTED = "tgp_v1_" + "P" * 43
words = st.sampled_from(["version", "instance", "policies", "providers", "env", "1", "a", PLANTED, "grace", "30d"])
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=200), documents.map(lambda value: repr(value).encode())))
def test_whatever_the_file_holds_the_answer_is_one_error_without_a_secret(tmp_path: Path, content: bytes):
    file = tmp_path / "rotator.yaml"
    file.write_bytes(content)
    problem = ""
    try:
        load(file, {})
    except ConfigError as error:
        problem = str(error)
    assert PLANTED not in problem


VAULT = GOOD.replace(
    "policies:",
    "backends:\n  v: {type: vault, url: 'https://v', auth: {method: token, token: {env: MANAGEMENT_KEY}}}\npolicies:",
)
PLACE = "{backend: v, path: a/b, field: KEY, kv_version: SAID}"


@pytest.mark.parametrize(("said", "option"), [("1", "1"), ("2", "2"), ("null", None)])
def test_the_version_of_a_kv_engine_can_be_said(configuration, said, option):
    text = VAULT.replace("{backend: dotenv, path: /srv/a.env, field: KEY}", PLACE.replace("SAID", said))
    (destination,) = configuration.load(text).policies[0].destinations
    assert destination.option("kv_version") == option
    assert destination.name == "v:secret/a/b#KEY"


@pytest.mark.parametrize("said", ["3", "true", "1.0", "'2'"])
def test_another_version_of_a_kv_engine_is_an_error(configuration, said):
    text = VAULT.replace("{backend: dotenv, path: /srv/a.env, field: KEY}", PLACE.replace("SAID", said))
    (problem,) = configuration.problems(text)
    assert problem.startswith("rotator.yaml:12: policies[0].destinations[0].kv_version (a): found ")
    assert problem.endswith("allowed: 1 or 2")


def test_secrets_need_not_be_there_for_whoever_does_not_use_them(configuration):
    configuration.file.write_text(VAULT)
    assert load(configuration.file, {}, secrets=False).policies[0].name == "a"


HOOKS = """\
hooks:
  reload: {type: systemd, unit: chat@1.service}
  tell: {type: http, url: "https://example.com/x", token: {env: MANAGEMENT_KEY}}
  deploy: {type: command, command: [/bin/deploy, --all], timeout: 2m}
"""


def test_each_type_of_hook_becomes_a_command_or_a_request(configuration):
    hooks = configuration.load(GOOD + HOOKS).hooks
    systemctl = ("/usr/bin/systemctl", "--no-ask-password", "reload", "--", "chat@1.service")
    assert hooks == {
        "reload": CommandHookSettings(command=systemctl, timeout=timedelta(seconds=30)),
        "tell": HttpHookSettings(
            url="https://example.com/x", token=EnvRef("MANAGEMENT_KEY"), timeout=timedelta(seconds=10)
        ),
        "deploy": CommandHookSettings(command=("/bin/deploy", "--all"), timeout=timedelta(minutes=2)),
    }


def test_a_policy_has_the_hooks_of_the_defaults_unless_it_says_which(configuration):
    text = GOOD + HOOKS + "defaults: {hooks: [reload]}\n"
    named = text.replace("project: proj_a\n", "project: proj_a\n    hooks: [tell, deploy]\n")
    none = text.replace("project: proj_a\n", "project: proj_a\n    hooks: []\n")
    for one, hooks in ((GOOD + HOOKS, ()), (text, ("reload",)), (named, ("tell", "deploy")), (none, ())):
        assert configuration.load(one).policies[0].hooks == hooks


def test_a_hook_that_is_changed_makes_its_policies_due_and_no_other(configuration):
    text = GOOD.replace("project: proj_a\n", "project: proj_a\n    hooks: [deploy]\n") + HOOKS
    without, before, changed, another = (
        configuration.load(given).policies[0].digest
        for given in (GOOD, text, text.replace("--all", "--one"), text.replace("chat@1", "chat@2"))
    )
    assert before not in {without, changed}
    assert before == another
    assert configuration.load(GOOD + HOOKS).policies[0].digest == without, "nor a new version of rotator"
