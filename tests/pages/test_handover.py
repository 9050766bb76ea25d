"""The page of a link: it takes one key from whoever has the link, and says nothing to anybody else."""

from __future__ import annotations

import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Event, Semaphore
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest

from rotator.config import HttpSettings
from rotator.config.tls import server_context
from rotator.domain.links import PREFIX, digest_of
from rotator.domain.record import KeyState
from rotator.domain.request_events import HandoverAccepted, HandoverRefused
from rotator.entrypoints.http.server import FORM
from rotator.errors import BackendUnavailable, JournalUnavailable, Stopping
from tests.pages.people import LINK, TOKEN, form, give_link, send, serving
from tests.parts.browser import DESKTOP, PHONE, Chromium, Visit, drawn
from tests.parts.certificates import Authority
from tests.service.people import PEOPLE, AssistedStage


def test_who_has_the_link_hands_a_key_over_and_the_link_is_used_up(chromium: Chromium, stage: AssistedStage) -> None:
    asked = stage.record.awaiting
    key = stage.make_key()
    with serving(stage) as address, chromium.visit(address + LINK, scripts=False) as visit:
        said = visit.page.locator("main").inner_text()
        for wanted in (asked.key_name, f"{asked.expires_at:%Y-%m-%d}", stage.policy.project, "ada <ops>", "chat"):
            assert wanted in said
        assert visit.page.get_by_role("link").get_attribute("href") == PEOPLE.console_url
        visit.page.get_by_label("The key").fill(f" {key.secret.reveal()} ")
        visit.page.get_by_role("button", name="Hand over").click()
        assert f"{key.facts.key_id} is accepted, and in every destination of chat" in shown(visit)
        assert stage.held() == [key.facts.key_id] * 2
        visit.page.reload()
        assert "is accepted" in shown(visit)
        visit.page.goto(f"{address}{PREFIX}chat/another")
        assert "This link opens nothing" in shown(visit)
        assert (visit.foreign, complaints(visit)) == ([], [])
    assert stage.record.current.expires_at == asked.expires_at
    assert stage.happened(HandoverAccepted) == 1


def shown(visit: Visit) -> str:
    return visit.page.locator("main").inner_text()


def complaints(visit: Visit) -> list[str]:
    """But for the status of a link that opens nothing, which the browser calls an error."""
    return [one for one in visit.complaints if "404" not in one]


def test_an_old_key_is_spoken_of_where_there_is_one(stage: AssistedStage) -> None:
    with serving(stage) as address:
        asked = f"{stage.record.awaiting.expires_at:%Y-%m-%d}"
        said = send(address, stage.make_key().secret.reveal(), expires="as-requested", asked=asked).text
        assert "is accepted" in said
        assert "old key" not in said
        stage.clock.current = stage.record.current.expires_at - stage.policy.renew_before
        stage.look()
        give_link(stage, another := TOKEN[::-1])
        said = send(address, stage.make_key().secret.reveal(), path=f"{PREFIX}chat/{another}").text
    assert "is accepted" in said
    assert "Leave the old key alone" in said


def test_what_is_refused_is_said_and_the_link_takes_another_key(chromium: Chromium, stage: AssistedStage) -> None:
    legacy = stage.make_key("proj_other")
    good = stage.make_key()
    with serving(stage) as address, chromium.visit(address + LINK) as visit:
        for wrong, why in (
            (legacy.secret.reveal(), "is a key of project proj_other"),
            ("tgp_v1_wrong", "the provider does not accept it"),
            ("one two", "a key is one word"),
        ):
            visit.page.get_by_label("The key").fill(wrong)
            visit.page.get_by_role("button").click()
            alert = visit.page.get_by_role("alert").inner_text()
            assert alert.startswith("Refused")
            assert why in alert
            assert visit.page.get_by_label("The key").input_value() == ""
            assert wrong not in visit.page.content()
        visit.page.get_by_label("another date").check()
        visit.page.get_by_label("The key").fill(good.secret.reveal())
        visit.page.get_by_role("button").click()
        assert "say on which date the key expires" in visit.page.get_by_role("alert").inner_text()
        visit.page.get_by_label("The other date").fill("2027-01-01")
        visit.page.get_by_label("The key").fill(good.secret.reveal())
        visit.page.get_by_role("button").click()
        assert "you chose a date, and another answer" in visit.page.get_by_role("alert").inner_text()
        visit.page.get_by_label("none: it never expires").check()
        visit.page.get_by_label("The key").fill(good.secret.reveal())
        visit.page.get_by_role("button").click()
        assert "is accepted" in shown(visit)
        assert (visit.foreign, visit.complaints) == ([], [])
    assert stage.record.current.expires_at is None
    assert stage.happened(HandoverRefused) == 3


def test_nobody_is_shut_out_on_a_desktop_or_a_phone_in_light_or_dark(
    chromium: Chromium, stage: AssistedStage, tmp_path: Path
) -> None:
    with serving(stage) as address:
        send(address, "wrong")
        for name, kind in (("phone", {"size": PHONE, "dark": True}), ("desktop", {"size": DESKTOP})):
            with chromium.visit(address + LINK, **kind) as visit:
                assert (visit.overflow(), visit.foreign, visit.complaints) == (0, [], [])
                assert visit.inaccessible() == []
                visit.page.keyboard.press("Tab")  # the link to the console
                visit.page.keyboard.press("Tab")
                assert visit.page.evaluate("document.activeElement.id") == "key"
                assert drawn(visit.page, tmp_path / f"{name}.png").stat().st_size > 0


def test_no_answer_is_kept_framed_sent_on_or_followed_by_a_script(stage: AssistedStage) -> None:
    with serving(stage) as address:
        pages = [httpx.get(address + LINK), httpx.get(f"{address}{PREFIX}chat/wrong"), send(address, "wrong")]
        sent = httpx.post(address + LINK, data=form("wrong"))
    assert (sent.status_code, sent.headers["Location"], sent.text) == (303, LINK, "")
    for page in (*pages, sent):
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
    for page in pages:
        allowed = page.headers["Content-Security-Policy"]
        assert re.fullmatch(
            r"default-src 'none'; style-src 'nonce-[\w-]{20,}'; img-src data:; form-action 'self'; "
            r"base-uri 'none'; frame-ancestors 'none'",
            allowed,
        )
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert not re.search(r"<script|\sstyle=|\son\w+=", page.text)


def test_without_the_link_nothing_is_told_and_nothing_is_taken(stage: AssistedStage) -> None:
    key = stage.make_key()
    with serving(stage) as address:
        for path in (f"{PREFIX}chat/{TOKEN}x", f"{PREFIX}chat/", f"{PREFIX}chat", f"{PREFIX}other/{TOKEN}",
                     PREFIX, f"{PREFIX}chat/é", f"{PREFIX}chat/{digest_of(TOKEN)}"):  # fmt: skip
            page = httpx.get(address + path)
            assert page.status_code == 404, path
            assert stage.record.awaiting.key_name not in page.text
            sent = httpx.post(address + path, data=form(key.secret.reveal()), follow_redirects=True)
            assert (sent.status_code, sent.text.count("opens nothing")) == (404, 2)
        assert set(stage.provider.calls) <= {"used_until"}
        stage.clock.advance(timedelta(minutes=30))
        assert send(address, key.secret.reveal()).status_code == 404
        give_link(stage, "a-newer-one")
        assert send(address, key.secret.reveal()).status_code == 404
        assert httpx.get(f"{address}{PREFIX}chat/a-newer-one").status_code == 200
    assert stage.held() == [None, None]


def test_a_form_of_another_page_is_not_taken(stage: AssistedStage) -> None:
    key = stage.make_key()
    with serving(stage) as address:
        for origin in ("https://evil.example", "null", "http://127.0.0.1", f"{address}.evil.example"):
            sent = httpx.post(address + LINK, data=form(key.secret.reveal()), headers={"Origin": origin})
            assert (sent.status_code, sent.text) == (403, "a form of another page is not taken\n")
        assert stage.happened(HandoverAccepted) == 0
        own = httpx.post(address + LINK, data=form(key.secret.reveal()), headers={"Origin": address})
        assert own.status_code == 303
    assert stage.happened(HandoverAccepted) == 1


@pytest.mark.parametrize(("host", "status"), [("localhost:9464", 200), ("rotator.example", 200), ("evil.example", 403)])
def test_in_plain_http_it_is_there_on_this_machine_and_behind_its_proxy(
    stage: AssistedStage, host: str, status: int
) -> None:
    with serving(stage, url="https://rotator.example") as address:
        assert httpx.get(address + LINK, headers={"Host": host}).status_code == status
        origin = {"Host": host, "Origin": "https://rotator.example"}
        sent = httpx.post(address + LINK, data=form("wrong"), headers=origin)
        assert sent.status_code == (303 if host == "rotator.example" or status == 200 else 403)


def test_by_https_it_is_there_under_any_name_and_a_renewed_certificate_is_shown(
    stage: AssistedStage, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificate, private = authority.sign("first", hosts=("127.0.0.1",))
    trusting = ssl.create_default_context(cafile=authority.file)
    key = stage.make_key()
    with serving(stage, tls=(certificate, private)) as address:
        port = urlsplit(address).port
        with httpx.Client(verify=trusting, headers={"Host": "rotator.example"}) as client:
            assert client.get(address + LINK).status_code == 200
        renewed, its_key = authority.sign("second", hosts=("127.0.0.1",))
        certificate.write_bytes(b"half of it")
        assert "first" in str(shown_certificate(port, trusting)["subject"])
        renewed.replace(certificate)
        its_key.replace(private)
        assert "second" in str(shown_certificate(port, trusting)["subject"])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            with suppress(ConnectionResetError):  # this is how most servers say it
                assert b"HTTP/" not in plain.recv(1000)
        assert server_context(certificate, private).minimum_version is ssl.TLSVersion.TLSv1_2
        with httpx.Client(verify=trusting, follow_redirects=True) as client:
            sent = client.post(address + LINK, data=form(key.secret.reveal()), headers={"Origin": address})
        assert "is accepted" in sent.text


def shown_certificate(port: int | None, trusting: ssl.SSLContext) -> dict[str, object]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        trusting.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
    ):
        return dict(encrypted.getpeercert() or {})


def test_what_can_not_be_taken_now_is_said_and_the_same_link_takes_it_later(
    stage: AssistedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stage.make_key().secret.reveal()
    with serving(stage) as address:
        for raised, said in (
            (JournalUnavailable("the disk is full"), "the disk is full; whether the key was taken is not certain"),
            (Stopping("the end"), "the service is being stopped"),
        ):

            def fail(*_: object, error: Exception = raised, **__: object) -> None:
                raise error

            monkeypatch.setattr(stage, "desk", SimpleNamespace(hand_over=fail))
            assert said in send(address, key).text
        monkeypatch.setattr(stage, "desk", None)
        assert "the service can&#39;t open its journal yet" in send(address, key).text
        monkeypatch.undo()
        stage.backends["one"].fail("read", BackendUnavailable("sealed"))
        page = send(address, key)
        assert (page.status_code, "Not taken yet" in page.text) == (200, True)
        assert "sealed" in page.text
        assert "is accepted" in send(address, key).text
    assert [one.state for one in stage.record.keys] == [KeyState.CURRENT]


def test_while_the_journal_can_not_be_read_the_page_says_to_wait(stage: AssistedStage) -> None:
    def broken(_: str) -> None:
        raise JournalUnavailable("secret-host is gone")

    with serving(
        SimpleNamespace(clock=stage.clock, policy=stage.policy, journal=SimpleNamespace(load=broken))
    ) as address:
        page = httpx.get(address + LINK)
    assert (page.status_code, "Nothing was taken" in page.text, "secret-host" in page.text) == (503, True, False)


def test_where_the_journal_hangs_whoever_sends_forms_keeps_nobody_from_the_health(stage: AssistedStage) -> None:
    go, waiting = Event(), Semaphore(0)

    def hangs(_: str) -> None:
        waiting.release()
        go.wait(30)
        raise JournalUnavailable("too late")

    service = SimpleNamespace(clock=stage.clock, policy=stage.policy, journal=SimpleNamespace(load=hangs))
    with serving(service) as address, ThreadPoolExecutor(2) as people:
        sent = [people.submit(httpx.post, address + LINK, data=form("x"), timeout=60) for _ in range(2)]
        for _ in sent:
            assert waiting.acquire(timeout=30)
        third = httpx.post(address + LINK, data=form("x"))
        assert (third.status_code, third.headers["Location"]) == (303, f"{LINK}?again")
        assert httpx.get(f"{address}/healthz").text == "ok\n"
        go.set()
        assert [one.result().status_code for one in sent] == [303, 303]


def test_what_is_no_form_is_not_read(stage: AssistedStage) -> None:
    with serving(stage) as address:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        wrong = httpx.post(address + LINK, content=b"{}", headers={"Content-Type": "application/json"})
        assert wrong.status_code == 415
        port = urlsplit(address).port
        for length, status in ((FORM + 1, 413), ("9" * 30, 413), ("-1", 411), ("1e3", 411), ("", 411)):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                raw.sendall(f"POST {LINK} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
                assert raw.recv(1000).startswith(f"HTTP/1.0 {status} ".encode())
        many = httpx.post(address + LINK, content=b"&".join([b"key=a"] * 20), headers=kind, follow_redirects=True)
        assert "that was not this form" in many.text
        strange = httpx.post(
            address + LINK, content=b"expires=never&key=%FF%00\xff", headers=kind, follow_redirects=True
        )
        assert "Refused" in strange.text
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = httpx.request(method, address + LINK)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
        assert httpx.post(f"{address}/", data=form("x")).status_code == 405
        head = httpx.head(address + LINK)
        assert (head.status_code, head.text) == (200, "")


def test_where_it_could_be_read_on_the_way_there_is_no_such_page(stage: AssistedStage) -> None:
    assert HttpSettings(host="127.0.0.1", port=1, token=None).takes_keys
    assert HttpSettings(host="192.0.2.1", port=1, token=None, tls=(Path("a"), Path("b"))).takes_keys
    assert not HttpSettings(host="192.0.2.1", port=1, token=None).takes_keys
    with serving(stage, offered=False) as address:
        assert httpx.get(address + LINK).status_code == 401
        assert httpx.get(address + LINK, headers={"Authorization": "Bearer the token of scrapes"}).status_code == 404
