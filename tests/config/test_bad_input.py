"""Promise 10: bad configuration names file, line, field, what was found and what is allowed; a sentence a row."""

import os

import pytest

from rotator.config import load
from rotator.config.state import _CONNECTION
from rotator.errors import ConfigError
from tests.config.conftest import ENVIRON, GOOD

SECRET = "tgp_v1_" + "a" * 43
LINE = "      - {backend: dotenv, path: /srv/a.env, field: KEY}\n"
SECOND = "  - name: b\n    provider: together\n    project: p\n    destinations:\n"
REFERENCE = "allowed: a reference: {env: NAME}, {file: PATH}, {credential: NAME} or {backend: NAME, ...}"
DURATION = "allowed: a duration such as 90s, 15m, 24h, 30d"
STATE = "allowed: sqlite:////absolute/path, sqlite:///relative or postgresql+psycopg://USER@HOST/DATABASE?sslmode=..."
ONLY = "allowed: a reference, such as {env: NAME} or {file: PATH}; never a secret itself"
ELSEWHERE = (
    "allowed: state.password as a reference, or what libpq reads by itself (PGPASSFILE, PGSERVICEFILE); "
    "never the secret itself"
)
VAULTS = (
    "backends:\n"
    "  v: {type: vault, url: 'https://v:8200', auth: {method: token, token: {env: MANAGEMENT_KEY}}}\n"
    "  w: {type: vault, url: 'https://v:8200/', auth: {method: token, token: {env: MANAGEMENT_KEY}}}\n"
)


def spoilt(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


def limits(text):
    return spoilt("{type: together,", f"{{type: together, limits: {text},")


def times(text):
    return spoilt("project: proj_a\n", f"project: proj_a\n    {text}\n")


CASES = {
    "an unknown field": (
        times("gracee: 3h"),
        [("rotator.yaml:9: policies[0].gracee (a): found an unknown field; allowed: lifetime, renew_before, grace, "
         "grace_limit, check_every, settle, jitter, windows, group, hooks, notify, escalate, name, provider, project, "
         "canary, depends_on, drift, assisted, destinations; "
         "did you mean 'grace'?")]),
    "an unknown section": (
        GOOD + "polices: []\n",
        [("rotator.yaml:11: polices: found an unknown field; allowed: version, instance, state, defaults, providers, "
         "backends, hooks, notifications, policies, include, service, log, http; did you mean 'policies'?")]),
    "a bad duration": (
        times("grace: 48x"), [f"rotator.yaml:9: policies[0].grace (a): found '48x'; {DURATION}"]),
    "a duration of nothing": (
        times("grace: 0s"), [f"rotator.yaml:9: policies[0].grace (a): found '0s'; {DURATION}"]),
    "a duration that is a number": (
        times("lifetime: 5"), [f"rotator.yaml:9: policies[0].lifetime (a): found 5; {DURATION}"]),
    "an unknown limit": (
        limits("{rat: 20}"),
        [("rotator.yaml:4: providers.together.limits.rat: found an unknown field; allowed: rate, concurrency; "
         "did you mean 'rate'?")]),
    "a limit of nothing": (
        limits("{rate: 0, concurrency: 0}"),
        ["rotator.yaml:4: providers.together.limits.rate: found 0; allowed: greater than or equal to 0.1",
         "rotator.yaml:4: providers.together.limits.concurrency: found 0; allowed: greater than or equal to 1"]),
    "limits of other kinds": (
        limits("{rate: fast, concurrency: 1.5}"),
        ["rotator.yaml:4: providers.together.limits.rate: found 'fast'; allowed: a valid number",
         "rotator.yaml:4: providers.together.limits.concurrency: found 1.5; allowed: a valid integer"]),
    "limits that are no mapping": (
        limits("20"),
        ["rotator.yaml:4: providers.together.limits: found 20; allowed: a mapping with rate, concurrency"]),
    "a limit without end": (
        GOOD + "backends: {files: {type: dotenv, limits: {rate: 1.0e+999}}}\n",
        ["rotator.yaml:11: backends.files.limits.rate: found inf; allowed: a finite number"]),
    "several faults at once, in their order": (
        times("lifetime: true\n    grace: week"),
        [f"rotator.yaml:9: policies[0].lifetime (a): found true; {DURATION}",
         f"rotator.yaml:10: policies[0].grace (a): found 'week'; {DURATION}"]),
    "a renewal before the key is made": (
        times("renew_before: 30d"),
        [("rotator.yaml:9: policies[0].renew_before (a): found renew_before 30d, with a lifetime of 30d; "
         "allowed: less than the lifetime")]),
    "defaults that do not fit are reported at the policy": (
        GOOD + "defaults: {lifetime: 5d}\n",
        [("rotator.yaml:6: policies[0] (a): found renew_before 7d, with a lifetime of 5d; allowed: "
         "less than the lifetime")]),
    "a grace longer than what is left of the old key": (
        times("grace: 8d"),
        [("rotator.yaml:9: policies[0].grace (a): found grace 8d, longer than what is left of the old key; "
         "allowed: at most renew_before, 7d")]),
    "a grace limit under the grace": (
        times("grace_limit: 1h"),
        [("rotator.yaml:9: policies[0].grace_limit (a): found grace_limit 1h, with a grace of 1d; "
         "allowed: at least the grace")]),
    "the same destination in two policies": (
        GOOD + SECOND + LINE,
        [("rotator.yaml:15: policies[1].destinations[0] (b): found dotenv:/srv/a.env#KEY, the same "
         "place as a destination "
         "of 'a'; allowed: each place once")]),
    "the same file by another path": (
        GOOD + SECOND + LINE.replace("/srv/a.env", "/srv/../srv/a.env"),
        [("rotator.yaml:15: policies[1].destinations[0] (b): found dotenv:/srv/../srv/a.env#KEY, the same place as a "
         "destination of 'a'; allowed: each place once")]),
    "the same destination twice in one policy": (
        GOOD + LINE,
        [("rotator.yaml:11: policies[0].destinations[1] (a): found dotenv:/srv/a.env#KEY, the same "
         "place as a destination "
         "of 'a'; allowed: each place once")]),
    "the same place by two backends": (
        VAULTS + GOOD + "      - {backend: v, path: x, field: K}\n      - {backend: w, path: /x/, field: K}\n",
        [("rotator.yaml:15: policies[0].destinations[2] (a): found w:secret/x#K, the same place as a "
         "destination of 'a'; "
         "allowed: each place once")]),
    "the same policy name twice": (
        GOOD + SECOND.replace("name: b", "name: a") + LINE.replace("a.env", "b.env"),
        ["rotator.yaml:11: policies[1].name (a): found 'a'; allowed: each policy name once"]),
    "a missing field": (
        spoilt("    project: proj_a\n", ""),
        ["rotator.yaml:6: policies[0].project (a): found nothing; allowed: this field must be there"]),
    "a missing environment variable": (
        spoilt("{env: MANAGEMENT_KEY}", "{env: NOPE}"),
        [("rotator.yaml:4: providers.together.management_key: found environment variable NOPE, which is not set or "
         "empty; allowed: a secret that is there")]),
    "an unreadable secret file": (
        spoilt("{env: MANAGEMENT_KEY}", "{file: /nope}"),
        [("rotator.yaml:4: providers.together.management_key: found file /nope, which can't be read (No such file or "
         "directory); allowed: a secret that is there")]),
    "an empty secret file": (
        spoilt("{env: MANAGEMENT_KEY}", "{file: /dev/null}"),
        [("rotator.yaml:4: providers.together.management_key: found file /dev/null, which is empty; "
         "allowed: a secret that is there")]),
    "a credential outside systemd": (
        spoilt("{env: MANAGEMENT_KEY}", "{credential: key}"),
        [("rotator.yaml:4: providers.together.management_key: found credential key, but no CREDENTIALS_DIRECTORY in "
         "the environment; allowed: a secret that is there")]),
    "a secret in place of a reference": (
        spoilt("{env: MANAGEMENT_KEY}", "hunter2"),
        [("rotator.yaml:4: providers.together.management_key: found a value written into the configuration; "
         f"{REFERENCE}; never the secret itself")]),
    "a secret where none is asked for": (
        spoilt("proj_a", SECRET),
        [("rotator.yaml:8: policies[0].project (a): found a secret, written into the configuration; "
         "allowed: a reference, "
         "such as {env: NAME} or {file: PATH}; never a secret itself")]),
    "a password in a URL": (
        VAULTS.replace("https://v:8200'", "https://me:hunter2@v'") + GOOD,
        [("rotator.yaml:2: backends.v.url: found a secret, written into the configuration; allowed: a reference, "
         "such as {env: NAME} or {file: PATH}; never a secret itself")]),
    "an unknown reference": (
        spoilt("{env: MANAGEMENT_KEY}", "{keyring: x}"),
        [f"rotator.yaml:4: providers.together.management_key: found a mapping without a known reference; {REFERENCE}"]),
    "a file that is a list": (
        "- a\n", ["rotator.yaml: found a list; allowed: a mapping with version, instance, policies, ..."]),
    "an empty file": (
        "", ["rotator.yaml: found nothing; allowed: a mapping with version, instance, policies, ..."]),
    "a file that is a word": (
        "rotate", ["rotator.yaml: found 'rotate'; allowed: a mapping with version, instance, policies, ..."]),
    "a file that is no YAML": (
        f"a: [{SECRET},\n b: }}",
        [("rotator.yaml:2: found no valid YAML at column 5 (did not find expected node content); "
         "allowed: a readable YAML file")]),
    "a file that is not UTF-8": (
        b"\xff\xfe", ["rotator.yaml:1: found a file that is not UTF-8; allowed: a readable YAML file"]),
    "a field twice": (
        GOOD + "version: 1\n",
        ["rotator.yaml:11: found the same field twice in one mapping; allowed: each field once"]),
    "a second document": (
        GOOD + "---\na: 1\n", ["rotator.yaml:11: found a second document; allowed: one document a file"]),
    "a YAML tag": (
        spoilt("proj_a", "!!python/object:os.system x"),
        ["rotator.yaml:8: found a YAML tag; allowed: plain values without tags"]),
    "an alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{c}: &{c} [{','.join([f'*{p}'] * 10)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
        ["rotator.yaml:7: found more than 3000000 values; allowed: a configuration that fits into memory"]),
    "a field name that is a list": (
        "? [a]\n: b\n", ["rotator.yaml:1: found a field name that is no text; allowed: texts as field names"]),
    "an unknown provider": (
        spoilt("provider: together", "provider: togethr"),
        [("rotator.yaml:7: policies[0].provider (a): found 'togethr'; allowed: a configured provider: together; "
         "did you mean 'together'?")]),
    "an unknown backend": (
        spoilt("backend: dotenv", "backend: vault"),
        [("rotator.yaml:10: policies[0].destinations[0].backend (a): found 'vault'; "
         "allowed: a configured backend: dotenv")]),
    "an unknown type of backend": (
        GOOD + "backends: {s: {type: s3}}\n",
        [("rotator.yaml:11: backends.s.type: found 's3'; allowed: a type of backend, built in or of an installed "
         "plug-in: vault, aws-secrets-manager, dotenv")]),
    "an unknown way to log in": (
        VAULTS.replace("method: token", "method: toke", 1) + GOOD,
        [("rotator.yaml:2: backends.v.auth.method: found 'toke'; allowed: a method: token, token_file, approle, "
         "kubernetes, jwt, cert, aws, userpass; did you mean 'token'?")]),
    "no version": (
        spoilt("version: 1\n", ""), ["rotator.yaml: version: found nothing; allowed: this field must be there"]),
    "another version": (
        spoilt("version: 1", "version: 2"), ["rotator.yaml:1: version: found 2; allowed: 1"]),
    "an underscore in a name": (
        spoilt("instance: prod", "instance: my_prod"),
        [("rotator.yaml:2: instance: found 'my_prod'; allowed: letters, digits, '.' and '-', at most 63, beginning "
         "with a letter or digit (no '_': it joins key names)")]),
    "plain http to a provider": (
        spoilt("type: together,", "type: together, base_url: 'http://example.com',"),
        [("rotator.yaml:4: providers.together.base_url: found 'http://example.com'; "
         "allowed: https (plain http only to this machine)")]),
    "a URL that is none": (
        spoilt("type: together,", "type: together, base_url: 'http://[',"),
        [("rotator.yaml:4: providers.together.base_url: found 'http://['; allowed: an https URL, without user, query "
         "and fragment")]),
    "assisted issuance with a management key": (
        spoilt("type: together,", "type: together, issuance: assisted,"),
        [("rotator.yaml:4: providers.together.management_key: found a key with issuance: assisted; allowed: none: "
         "people make and revoke keys, and nothing of ours may")]),
    "a journal of another kind": (
        GOOD + "state: {url: 'mysql://h/db'}\n",
        [f"rotator.yaml:11: state.url: found 'mysql://h/db'; {STATE}"]),
    "a journal in PostgreSQL, by another driver": (
        GOOD + "state: {url: 'postgresql+asyncpg://u@127.0.0.1/db'}\n",
        [f"rotator.yaml:11: state.url: found a PostgreSQL URL of another form; {STATE}"]),
    "a journal in PostgreSQL, with a path": (
        GOOD + "state: {url: 'postgresql://127.0.0.1/db/schema'}\n",
        [f"rotator.yaml:11: state.url: found a PostgreSQL URL of another form; {STATE}"]),
    "a journal in PostgreSQL, over a network that may be open": (
        GOOD + "state: {url: 'postgresql://u@db.internal/rotator'}\n",
        [("rotator.yaml:11: state.url: found a host on a network, without sslmode; "
          "allowed: with ?sslmode=verify-full (or another)")]),
    "a journal in PostgreSQL, one of its hosts on a network": (
        GOOD + "state: {url: 'postgresql:///rotator?host=/run/postgresql,db.internal'}\n",
        [("rotator.yaml:11: state.url: found a host on a network, without sslmode; "
          "allowed: with ?sslmode=verify-full (or another)")]),
    "a journal in PostgreSQL, with a mode that TLS has not": (
        GOOD + "state: {url: 'postgresql://u@db.internal/rotator?sslmode=on'}\n",
        [("rotator.yaml:11: state.url: found an unknown sslmode; "
          "allowed: disable, allow, prefer, require, verify-ca, verify-full")]),
    "a password in the journal's URL": (
        GOOD + "state: {url: 'postgresql://u:hunter2@127.0.0.1/db'}\n",
        [f"rotator.yaml:11: state.url: found a secret, written into the configuration; {ONLY}"]),
    "an empty password in the journal's URL": (
        GOOD + "state: {url: 'postgresql://u:@127.0.0.1/db'}\n",
        [f"rotator.yaml:11: state.url: found a password in the URL; {ELSEWHERE}"]),
    "a password with a slash in the journal's URL": (
        GOOD + "state: {url: 'postgresql://u:hunter/2@127.0.0.1/db'}\n",
        [f"rotator.yaml:11: state.url: found a URL that can't be read; {STATE}"]),
    "a password behind a number in the journal's URL": (
        GOOD + "state: {url: 'postgresql://u:12/hunter@127.0.0.1/db'}\n",
        [f"rotator.yaml:11: state.url: found a PostgreSQL URL of another form; {STATE}"]),
    "a password among the parameters of the journal's URL": (
        GOOD + "state: {url: 'postgresql://u@127.0.0.1/db?password=hunter2'}\n",
        [f"rotator.yaml:11: state.url: found a password in the URL; {ELSEWHERE}"]),
    "an unknown parameter in the journal's URL": (
        GOOD + "state: {url: 'postgresql://u@127.0.0.1/db?ssl_mode=require'}\n",
        [("rotator.yaml:11: state.url: found an unknown parameter 'ssl_mode'; allowed: " + ", ".join(_CONNECTION))]),
    "the journal's password, written in full": (
        GOOD + "state: {url: 'postgresql://u@127.0.0.1/db', password: hunter2}\n",
        [("rotator.yaml:11: state.password: found a value written into the configuration; allowed: a reference: "
          "{env: NAME}, {file: PATH} or {credential: NAME}; never the secret itself")]),
    "the journal's password, which is not there": (
        GOOD + "state: {url: 'postgresql://u@127.0.0.1/db', password: {env: NOPE}}\n",
        [("rotator.yaml:11: state.password: found environment variable NOPE, which is not set or empty; "
          "allowed: a secret that is there")]),
    "a password for a file": (
        GOOD + "state: {url: 'sqlite:////x.db', password: {env: MANAGEMENT_KEY}}\n",
        ["rotator.yaml:11: state.password: found a password for a file; allowed: with a PostgreSQL URL only"]),
    "an included file that does not exist": (
        GOOD + "include: [nope.yaml]\n",
        ["rotator.yaml:11: include[0]: found 'nope.yaml'; allowed: a file that exists, or a glob"]),
    "no destination": (
        spoilt(f"destinations:\n{LINE}", "destinations: []\n"),
        ["rotator.yaml:9: policies[0].destinations (a): found none; allowed: at least one destination"]),
    "a destination that is a word": (
        spoilt("{backend: dotenv, path: /srv/a.env, field: KEY}", "x"),
        ["rotator.yaml:10: policies[0].destinations[0] (a): found 'x'; allowed: a mapping that begins with 'backend'"]),
    "a hook of an unknown type": (
        GOOD + "hooks: {reload: {type: shell}}\n",
        ["rotator.yaml:11: hooks.reload.type: found 'shell'; allowed: a type of hook: command, systemd, http"]),
    "a hook that would need a search": (
        GOOD + "hooks: {reload: {type: command, command: [reload.sh]}}\n",
        [("rotator.yaml:11: hooks.reload.command[0]: found 'reload.sh'; allowed: the absolute path of a program (there "
          "is no shell that would search for it)")]),
    "a hook that is a line for a shell": (
        GOOD + "hooks: {reload: {type: command, command: /bin/reload chat}}\n",
        ["rotator.yaml:11: hooks.reload.command: found '/bin/reload chat'; allowed: a valid list"]),
    "a hook that waits for ever": (
        GOOD + "hooks: {reload: {type: command, command: [/bin/reload], timeout: 1d}}\n",
        ["rotator.yaml:11: hooks.reload.timeout: found 1d; allowed: at most 10m"]),
    "hooks that take longer than a short lease lets a look": (
        GOOD.replace("    project: proj_a\n", "    project: proj_a\n    hooks: [a, b]\n")
        + "service: {lease: 1m}\nhooks: {a: {type: systemd, unit: a.service, timeout: 5m}, "
        + "b: {type: http, url: 'https://b.example', timeout: 2m}}\n",
        [("rotator.yaml:9: policies[0].hooks (a): found hooks that may take 7m together; "
          "allowed: at most 6m, six times service.lease")]),
    "a unit that is an option": (
        GOOD + "hooks: {reload: {type: systemd, unit: --force.service}}\n",
        [("rotator.yaml:11: hooks.reload.unit: found '--force.service'; allowed: the whole name of a unit, such as "
          "chat.service")]),
    "a hook over plain http": (
        GOOD + "hooks: {tell: {type: http, url: 'http://example.com/x'}}\n",
        [("rotator.yaml:11: hooks.tell.url: found 'http://example.com/x'; allowed: https (plain http only to this "
          "machine)")]),
    "a hook's token, written in full": (
        GOOD + "hooks: {tell: {type: http, url: 'https://example.com', token: hunter2}}\n",
        [("rotator.yaml:11: hooks.tell.token: found a value written into the configuration; allowed: a reference: "
          "{env: NAME}, {file: PATH} or {credential: NAME}; never the secret itself")]),
    "an unknown hook": (
        times("hooks: [relaod]") + "hooks: {reload: {type: command, command: [/bin/reload]}}\n",
        [("rotator.yaml:9: policies[0].hooks[0] (a): found 'relaod'; allowed: a configured hook: reload; did you mean "
          "'reload'?")]),
    "an unknown hook in the defaults": (
        GOOD + "defaults: {hooks: [reload]}\n",
        ["rotator.yaml:11: defaults.hooks[0]: found 'reload'; allowed: a configured hook: none is configured"]),
    "a hook twice": (
        times("hooks: [reload, reload]") + "hooks: {reload: {type: command, command: [/bin/reload]}}\n",
        ["rotator.yaml:9: policies[0].hooks[1] (a): found 'reload'; allowed: each hook once"]),
    "hooks that are a list": (
        times("hooks: [reload]") + "hooks: [reload]\n",
        ["rotator.yaml:12: hooks: found a list; allowed: a mapping of names"]),
    "no worker": (
        GOOD + "service: {workers: 0}\n",
        ["rotator.yaml:11: service.workers: found 0; allowed: greater than or equal to 1"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_promise_10_each_fault_has_one_clear_line(configuration, text, expected):
    problems = configuration.problems(text)
    assert problems == expected
    for secret in (SECRET, "hunter2", *ENVIRON.values()):
        assert secret not in "\n".join(problems)


def test_a_policy_name_twice_across_files_is_reported_in_the_second(configuration):
    (configuration.folder / "more.yaml").write_text(
        "policies:\n" + SECOND.replace("name: b", "name: a") + LINE.replace("a.env", "b.env")
    )
    assert configuration.problems(GOOD + "include: ['*.yaml']\n") == [
        "more.yaml:2: policies[0].name (a): found 'a'; allowed: each policy name once"
    ]


def test_an_included_file_holds_policies_alone(configuration):
    (configuration.folder / "more.yaml").write_text("policies: []\ninstance: other\n")
    assert configuration.problems(GOOD + "include: [more.yaml]\n") == [
        "more.yaml:2: instance: found an unknown field; allowed: policies"
    ]


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nope\.yaml: found a file that can't be read \(No such file or directory\)"):
        load(tmp_path / "nope.yaml", {})


def test_an_unreadable_configuration_is_named(tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path, os.environ)
