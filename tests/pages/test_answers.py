"""What protects the page at ``/``: who may read it, from where, and what it may load."""

from __future__ import annotations

import base64
import re

import httpx
import pytest

from rotator.domain.secret import SecretValue
from tests.domain.build import key
from tests.pages.sample import TOKEN, Stage, one_of_each, row, serving


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_where_a_token_is_asked_for_the_page_is_shown_to_who_has_it_and_to_nobody_else() -> None:
    with serving(Stage(), TOKEN) as address:
        for given in ("", "Basic", "Basic ==", "Basic /w==", basic(TOKEN), basic(f"{TOKEN}:"), basic(":wrong"),
                      basic(f":{TOKEN}x"), f"Digest {TOKEN}", "Bearer wrong", "Bearer"):  # fmt: skip
            answer = httpx.get(address, headers={"Authorization": given})
            assert (answer.status_code, answer.text) == (401, "the token is missing or wrong\n"), given
            assert answer.headers["WWW-Authenticate"].startswith('Basic realm="rotator')
        for given in (basic(f":{TOKEN}"), basic(f"ada:{TOKEN}"), f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
            answer = httpx.get(address, headers={"Authorization": given, "Host": "rotator.example.com"})
            assert answer.status_code == 200, given
            assert TOKEN not in answer.text
        assert httpx.get(f"{address}metrics", headers={"Authorization": basic(f":{TOKEN}")}).status_code == 200


@pytest.mark.parametrize("host", ["localhost:9464", "127.0.0.1", "127.0.0.9:1", "[::1]:9464", ""])
def test_without_a_token_it_is_shown_under_the_names_of_this_machine(host: str) -> None:
    with serving(Stage()) as address:
        assert httpx.get(address, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "192.0.2.1:9464", "[", "127.0.0.1.nip.io"])
def test_a_name_that_somebody_else_made_to_lead_here_shows_nothing(host: str) -> None:
    with serving(Stage()) as address:
        answer = httpx.get(address, headers={"Host": host})
    assert answer.status_code == 403
    assert "ending" not in answer.text


def test_the_page_may_load_nothing_and_its_scripts_are_its_own_each_time() -> None:
    with serving(Stage()) as address:
        answers = [httpx.get(address) for _ in range(2)]
    nonces = set()
    for answer in answers:
        allowed = answer.headers["Content-Security-Policy"]
        assert allowed.startswith("default-src 'none'; script-src 'nonce-")
        assert "unsafe" not in allowed
        (nonce,) = set(re.findall(r"'nonce-([\w-]{20,})'", allowed))
        assert answer.text.count(f'nonce="{nonce}"') == 2
        nonces.add(nonce)
        assert not re.search(r"(?:src|href|action)=.?(?:https?:)?//|\sstyle=|\son\w+=", answer.text)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert len(nonces) == 2


def test_no_secret_is_shown_whatever_an_error_says() -> None:
    secret = SecretValue("made-up&secret<of>mine")
    _, known, look = one_of_each()["failing"]
    assert look is not None
    rows = {"failing": row("failing", *known.keys, look=type(look)(
        next_at=look.next_at, digest="", failures=1, problem=f"the server said {secret.reveal()} tgp_v1_abcdef"
    ))}  # fmt: skip
    with serving(Stage(rows, troubles={"backend vault": secret.reveal()})) as address:
        text = httpx.get(address).text
    assert "the server said [redacted] [redacted]" in text
    assert "backend vault: [redacted]" in text
    assert "mine" not in text


def test_nonsense_is_answered_with_a_page_or_a_sentence() -> None:
    with serving(Stage(rows={"a": row("a", key("a"))})) as address:
        for query in (
            "page=-1",
            "page=x",
            "page=99999999999",
            "page=%C2%B2",
            "state=<b>",
            "q=%ff%00",
            "live=maybe",
            "&&==&",
        ):
            assert httpx.get(f"{address}?{query}").status_code == 200, query
        many = httpx.get(f"{address}?" + "q=a&" * 40)
        assert (many.status_code, many.text.split(";")[0]) == (400, "too much is asked")
        assert httpx.post(address).status_code == 405


def test_a_journal_that_can_not_be_read_and_a_service_that_hangs_are_told() -> None:
    with serving(Stage(broken=True, dead="the scheduler runs no jobs")) as address:
        answer = httpx.get(address)
    assert answer.status_code == 503
    assert "The journal can&#39;t be read: the disk is gone" in answer.text
    assert "The service does not get on: the scheduler runs no jobs" in answer.text
