"""Promise 10 beyond the rows that somebody thought of: no value, wherever it stands, ends in anything but one error.

A good document is spoilt at one or several places, by values that a person, a template or a broken tool might write.
"""

import copy
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rotator.config import load
from rotator.config.secrets import holds_secret, looks_like_secret
from rotator.errors import ConfigError
from tests.config.conftest import ENVIRON

PLANTED = "tgp_v1_-" + "P" * 42  # a '-' anywhere is part of a real key
TIMES = {"lifetime": "30d", "renew_before": "7d", "grace": "24h", "grace_limit": "4d", "check_every": "6h"}
WHOLE = {
    "version": 1,
    "instance": "prod",
    "state": {"url": "postgresql+psycopg://u@h/d?sslmode=verify-full", "password": {"env": "MANAGEMENT_KEY"}},
    "defaults": TIMES,
    "providers": {
        "together": {
            "type": "together",
            "base_url": "https://api.together.ai",
            "management_key": {"env": "MANAGEMENT_KEY"},
            "paths": {"keys": "/v1/{project_id}/keys", "whoami": "/v3/whoami"},
            "timeout": "10s",
            "limits": {"rate": 20, "concurrency": 8},
        }
    },
    "backends": {
        "v": {"type": "vault", "url": "https://v", "auth": {"method": "token", "token": {"env": "MANAGEMENT_KEY"}}},
        "r": {
            "type": "vault",
            "url": "https://r",
            "namespace": "n",
            "auth": {"method": "approle", "role_id": {"env": "MANAGEMENT_KEY"}, "secret_id": {"env": "MANAGEMENT_KEY"}},
        },
        "a": {
            "type": "aws-secrets-manager",
            "region": "eu-west-1",
            "endpoint_url": "https://a",
            "limits": {"rate": 1.5},
        },
        "b": {
            "type": "aws-secrets-manager",
            "region": "eu-west-1",
            "sts_endpoint_url": "https://sts",
            "use_fips": True,
            "assume_role": {
                "arn": "arn:aws:iam::123456789012:role/r",
                "external_id": {"env": "MANAGEMENT_KEY"},
                "session_name": "rotator",
                "duration": "1h",
            },
        },
    },
    "policies": [
        {
            "name": "p",
            "provider": "together",
            "project": "proj_a",
            **TIMES,
            "destinations": [
                {"backend": "dotenv", "path": "/srv/a.env", "field": "KEY"},
                {"backend": "v", "mount": "secret", "path": "a/b", "field": "key"},
                {"backend": "a", "secret_id": "x", "field": "y"},
                {
                    "backend": "b",
                    "secret_id": "x",
                    "create": {"kms_key_id": "k", "tags": {"a": "b"}, "replica_regions": ["eu-west-2"]},
                    "managed_rotation": "allow",
                    "expect": {"account": "123456789012"},
                },
            ],
        }
    ],
    "include": [],
    "service": {"workers": 8, "lease": "5m", "shutdown_timeout": "30s"},
    "log": {"level": "info", "format": "auto"},
    "http": {"listen": "127.0.0.1:0", "url": "https://rotator.example"},
}
ODD = [
    None, True, 0, -1, 1.5, 10**18, "", " ", "~x", "x\ny", "x\x00y", "x\x1b[31my", "x\u202ey", "\ud800",
    "é" * 300, "/", "..", "{project_id}", "{", "https://[", "http://h:99999", "//h", "*", "**/x", "[", "a/\x00/*",
    "99999999999999999999d", "999999999d", "0s", "00000000001d", "1", "null", PLANTED, f"https://u:{PLANTED}@h/",
    "sqlite://", "sqlite:////tmp/x.db", "postgresql", "postgresql://", "postgresql://[", "postgresql://h:99999/d",
    "postgresql:///d?x", "postgresql:///d?=&;", f"postgresql://u:1/{PLANTED}@h/d", f"postgresql:///d?password={PLANTED}",
    [], {}, [[]], [{}], {"a": []}, {"": ""}, {PLANTED: 1}, {"type": []}, {"type": {}}, {"type": PLANTED},
    {"backend": []}, {"backend": {}}, {"env": []}, {"env": PLANTED}, {"file": "\x00"}, {"file": PLANTED},
    {"file": "/proc/self/mem"}, {"credential": "../x"}, {"method": []}, {"backend": "v", "path": {}, "field": 1},
]  # fmt: skip


def places(value, at=()):
    """The path of everything in a document."""
    yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from places(child, (*at, name))


def spoilt(place, odd, *, as_name=False):
    document = copy.deepcopy(WHOLE)
    return put(document, place, odd, as_name=as_name)


def put(document, place, odd, *, as_name=False):
    if not place:
        return odd
    inner = document
    for step in place[:-1]:
        try:
            inner = inner[step]
        except (KeyError, IndexError, TypeError):
            return document  # spoilt already
    try:
        if as_name and isinstance(inner, dict):
            inner[str(odd)] = inner.pop(place[-1])
        else:
            inner[place[-1]] = odd
    except (KeyError, IndexError, TypeError):
        pass
    return document


def answer(folder: Path, document) -> str:
    """What is said about a document; nothing if it is accepted."""
    file = folder / "rotator.yaml"
    file.write_text(json.dumps(document, ensure_ascii=True))
    try:
        load(file, {**ENVIRON, "CREDENTIALS_DIRECTORY": str(folder)})
    except ConfigError as error:
        return str(error)
    return ""


def assert_fit_to_print(text: str) -> None:
    assert PLANTED not in text
    assert "P" * 20 not in text
    assert all(line.isprintable() for line in text.splitlines())
    assert all(re.match(r"\S+\.yaml(:\d+)?: (\S.* )?found .+; allowed: |\S+\.yaml", line) for line in text.splitlines())


EVERYWHERE = list(places(WHOLE))
STEP = 1 if os.environ.get("EXHAUSTIVE") else 3
"""Every so many places are tried with an odd value, each value at others; ``EXHAUSTIVE=1 make unit`` tries all."""


def test_the_document_that_is_spoilt_is_good(tmp_path):
    assert answer(tmp_path, WHOLE) == ""


@pytest.mark.parametrize(("number", "odd"), list(enumerate(ODD)), ids=range(len(ODD)))
def test_promise_10_an_odd_value_at_each_place_is_one_error(tmp_path, number, odd):
    for place in EVERYWHERE[number % STEP :: STEP]:
        assert_fit_to_print(answer(tmp_path, spoilt(place, odd)))


@pytest.mark.parametrize(("number", "odd"), list(enumerate(one for one in ODD if isinstance(one, str))))
def test_promise_10_an_odd_name_at_each_place_is_one_error(tmp_path, number, odd):
    for place in EVERYWHERE[number % STEP :: STEP]:
        assert_fit_to_print(answer(tmp_path, spoilt(place, odd, as_name=True)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(EVERYWHERE), st.sampled_from(ODD), st.booleans()), min_size=2, max_size=6))
def test_promise_10_many_faults_at_once_are_one_error(tmp_path: Path, changes):
    document = copy.deepcopy(WHOLE)
    for place, odd, as_name in changes:
        document = put(document, place, copy.deepcopy(odd), as_name=as_name)
    assert_fit_to_print(answer(tmp_path, document))


@pytest.mark.parametrize("included", [*ODD, {"policies": 1}, {"policies": [PLANTED]}, {"policies": [{PLANTED: 1}]}])
def test_promise_10_an_included_file_may_hold_anything(tmp_path, included):
    (tmp_path / "more.yaml").write_text(json.dumps(included))
    assert_fit_to_print(answer(tmp_path, WHOLE | {"include": ["more.yaml"]}))


def test_faults_of_different_sections_are_reported_together(tmp_path):
    document = spoilt(("log", "level"), "loud")
    document = put(document, ("providers", "together", "timeout"), "soon")
    document = put(document, ("backends", "a", "region"), 5)
    document = put(document, ("policies", 0, "grace"), "week")
    said = answer(tmp_path, document)
    assert [word in said for word in ("log.level", "together.timeout", "backends.a.region", "policies[0].grace")] == [
        True
    ] * 4
    assert len(said.splitlines()) == 4


@given(st.text(alphabet="abcXYZ0189_-", min_size=36, max_size=43))
@example("-" * 43)
@example("a-" * 21)
def test_every_key_of_together_is_known_for_a_secret(random):
    key = f"tgp_v1_{random}"
    assert holds_secret(key)
    assert looks_like_secret(key)
