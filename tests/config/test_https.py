"""The listener's address, certificate and name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rotator.config import Settings, load
from rotator.config.connections import connections
from rotator.errors import ConfigError
from tests.e2e.installation import document, in_file, policy
from tests.parts.certificates import Authority


def loaded(folder: Path, http: dict[str, object], *, assisted: bool = False) -> Settings:
    file = folder / "rotator.yaml"
    whole = document(
        folder, "http://127.0.0.1:1", [policy(in_file(folder / ".env"), lifetime="30d", renew_before="7d")], http=http
    )
    if assisted:
        whole["providers"]["together"] = {"type": "together", "issuance": "assisted"}
    file.write_text(yaml.safe_dump(whole))
    return load(file, {"MANAGEMENT_KEY": "made-up", "TOKEN": "made-up-too"})


def test_a_certificate_makes_it_https_and_people_know_it_by_a_name(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).sign("rotator.example")
    http = loaded(
        tmp_path,
        {
            "listen": "0.0.0.0:9464",
            "token": {"env": "TOKEN"},
            "tls": {"certificate": certificate.name, "key": key.name},
            "url": "https://rotator.example/",
        },
    ).http
    assert http is not None
    assert (http.tls, http.url) == ((certificate, key), "https://rotator.example")
    assert http.takes_keys


def test_an_audit_knows_whether_the_listener_is_encrypted(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).sign("rotator.example")
    http: dict[str, object] = {"listen": "0.0.0.0:9464", "token": {"env": "TOKEN"}}
    tls = {"tls": {"certificate": certificate.name, "key": key.name}}
    for written, encrypted in ((http, False), (http | tls, True)):
        found = [one.encrypted for one in connections(loaded(tmp_path, written), {}) if one.name == "http"]
        assert found == [encrypted]


@pytest.mark.parametrize(
    ("listen", "is_offered"), [("127.0.0.1:9464", True), ("[::1]:9464", True), ("0.0.0.0:9464", False)]
)
def test_a_policy_whose_keys_people_make_knows_whether_there_is_a_page(
    tmp_path: Path, listen: str, *, is_offered: bool
) -> None:
    (policy,) = loaded(tmp_path, {"listen": listen, "token": {"env": "TOKEN"}}, assisted=True).policies
    assert policy.assistance is not None
    assert policy.assistance.page is is_offered


def test_files_that_are_no_pair_are_found_before_they_are_needed(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (one, its_key), (_, others_key) = authority.sign("one"), authority.sign("other")
    _, locked = authority.sign("locked", pass_phrase=b"made-up")
    for tls, said in (
        ({"certificate": one.name, "key": others_key.name}, "http.tls: found no pair that can be used"),
        ({"certificate": its_key.name, "key": one.name}, "http.tls: found no pair that can be used"),
        ({"certificate": one.name, "key": locked.name}, "http.tls: found no pair that can be used"),
        ({"certificate": "gone.pem", "key": its_key.name}, "http.tls.certificate"),
        ({"certificate": one.name}, "http.tls.key"),
    ):
        with pytest.raises(ConfigError) as failed:
            loaded(tmp_path, {"tls": tls})
        assert said in str(failed.value)


@pytest.mark.parametrize(
    "url",
    ["http://rotator.example", "https://u:p@rotator.example", "rotator.example", "https://",
     "https://rotator.example/keys", "https://rotator.example//", "https://rotator.example:99999"],
)  # fmt: skip
def test_a_name_by_which_nobody_should_reach_it_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.url"):
        loaded(tmp_path, {"url": url})


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("HTTPS://Rotator.Example", "https://rotator.example"),
        ("https://rotator.example:443/", "https://rotator.example"),
        ("https://rotator.example:9464", "https://rotator.example:9464"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
    ],
)
def test_the_name_is_kept_as_browsers_write_it(tmp_path: Path, written: str, url: str) -> None:
    http = loaded(tmp_path, {"url": written}).http
    assert http is not None
    assert http.url == url
