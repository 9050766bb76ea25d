"""``rotator requests link``, and the page that it leads to, of a running service."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner, Result

from rotator.bootstrap import application
from rotator.config import load
from rotator.domain.links import PREFIX, digest_of
from rotator.domain.record import HandoverLink
from rotator.entrypoints.cli import cli
from tests.e2e.installation import FIELD, document, in_file, policy, record, until
from tests.parts.certificates import Authority
from tests.parts.rotator import Rotator
from tests.parts.secret_search import files, search
from tests.parts.simulator import PROJECT, Simulator


class Installation:
    """One policy whose key a person makes."""

    def __init__(self, folder: Path, base_url: str, http: dict[str, Any] | None) -> None:
        self.folder, self.dotenv = folder, folder / ".env"
        self.document = document(
            folder, base_url, [policy(in_file(self.dotenv), name="chat", lifetime="30d", renew_before="7d")]
        )
        self.document["providers"]["together"] = {"type": "together", "issuance": "assisted", "base_url": base_url}
        self.file = folder / "rotator.yaml"
        self.say(http)

    def say(self, http: dict[str, Any] | None) -> None:
        self.document.pop("http", None)
        self.document.update({"http": http} if http else {})
        self.file.write_text(yaml.safe_dump(self.document))

    def ask(self) -> None:
        """One look: a key is asked for."""
        with application(load(self.file, {}), {}) as made:
            made.reconciler.reconcile(made.settings.policies[0])

    def link(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["requests", "link", "chat", *arguments, "--config", str(self.file)])

    def newest(self) -> HandoverLink:
        awaiting = record(self.folder).awaiting
        assert awaiting
        assert awaiting.request
        assert awaiting.request.link
        return awaiting.request.link


@pytest.fixture
def asked(tmp_path: Path, simulator: Simulator) -> Installation:
    made = Installation(tmp_path, simulator.base_url, {"listen": "127.0.0.1:9464"})
    made.ask()
    return made


def test_the_link_is_printed_once_and_the_journal_has_its_digest(asked: Installation) -> None:
    before = datetime.now(UTC)
    done = asked.link("--for", "ada", "--valid", "10m")
    assert done.exit_code == 0, done.output
    address, _, token = done.stdout.strip().rpartition("/")
    assert address == f"http://127.0.0.1:9464{PREFIX}chat"
    link = asked.newest()
    assert (link.digest, link.name) == (digest_of(token), "ada")
    assert timedelta(minutes=9) < link.until - before < timedelta(minutes=11)
    assert "for ada, until " in done.stderr
    assert search({token}, files(asked.folder, but=asked.dotenv)) == []
    told = CliRunner().invoke(cli, ["history", "--config", str(asked.file), "--export", "-"]).output
    assert "HandoverLinkMade" in told


@pytest.mark.parametrize(
    ("http", "address"),
    [
        ({"url": "https://rotator.example/"}, "https://rotator.example"),
        ({"listen": "[::1]:9464"}, "http://[::1]:9464"),
        ({"listen": "localhost:80"}, "http://localhost:80"),
    ],
)
def test_it_names_the_address_by_which_people_reach_the_service(
    asked: Installation, http: dict[str, Any], address: str
) -> None:
    asked.say(http)
    assert asked.link().stdout.startswith(f"{address}{PREFIX}chat/")


def test_where_there_is_no_page_there_is_no_link(asked: Installation) -> None:
    token = {"file": str(asked.folder / "token")}
    (asked.folder / "token").write_text("made-up-token")
    for http, said in (
        (None, "the configuration has no section http"),
        ({"listen": "0.0.0.0:9464", "token": token}, "keys are handed over by https, or on this machine"),
        ({"listen": "127.0.0.1:0"}, "say in the configuration by which address"),
    ):
        asked.say(http)
        done = asked.link()
        assert (done.exit_code, done.stdout) == (1, "")
        assert said in done.stderr


def test_where_no_key_is_asked_for_there_is_no_link(tmp_path: Path, simulator: Simulator) -> None:
    quiet = Installation(tmp_path, simulator.base_url, {"listen": "127.0.0.1:9464"})
    done = quiet.link()
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no key is asked for now" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--valid", "2d"), ("--valid", "0m"), ("--for", ""), ("--for", "a\nb"), ("--for", "x" * 101), ("more",)],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(asked: Installation, arguments: tuple[str, ...]) -> None:
    done = asked.link(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_a_key_in_place_of_a_name_is_refused_and_neither_repeated_nor_recorded(
    asked: Installation, simulator: Simulator
) -> None:
    """Promise 3."""
    key = simulator.create_key_by_hand(PROJECT).secret.reveal()
    done = asked.link("--for", key)
    assert (done.exit_code, key in done.output) == (2, False)
    assert search({key}, files(asked.folder, but=asked.dotenv)) == []


def test_a_key_is_handed_over_to_the_running_service_by_https(tmp_path: Path, simulator: Simulator) -> None:
    """Promise 3: it is in the file, and nowhere else."""
    authority = Authority(tmp_path)
    certificate, private = authority.sign("rotator.example", hosts=("127.0.0.1",))
    http = {"listen": "127.0.0.1:0", "tls": {"certificate": str(certificate), "key": str(private)}}
    installed = Installation(tmp_path, simulator.base_url, http | {"url": "https://rotator.example"})
    rotator = Rotator(tmp_path, installed.document, {})
    trusting = ssl.create_default_context(cafile=authority.file)
    with rotator.service(arguments=["--log-level", "debug"]) as service:
        service.wait_for_event("http.listening")
        port = next(event["port"] for event in service.events() if event["event"] == "http.listening")
        address = f"https://127.0.0.1:{port}"
        service.wait_for_event("key.requested")
        done = rotator.command("requests", "link", "chat", "--for", "ada")
        assert done.returncode == 0, done.stderr
        path = done.stdout.strip().removeprefix("https://rotator.example")
        assert "the page of a link" in rotator.command("requests").stdout
        key = simulator.create_key_by_hand(PROJECT, "made by ada")
        with httpx.Client(verify=trusting, base_url=address, follow_redirects=True, timeout=60) as browser:
            assert "Hand it over" in browser.get(path).text
            sent = browser.post(
                path, data={"key": key.secret.reveal(), "expires": "never"}, headers={"Origin": address}
            )
            assert f"{key.key_id}</b> is accepted" in sent.text
            assert browser.get(path).text.count("is accepted") == 1
        service.wait_for_event("handover.accepted", via="page", by="ada")
        assert service.stop() == 0
    assert f"{FIELD}={key.secret.reveal()}" in installed.dotenv.read_text().replace("'", "").replace('"', "")
    written = {"service": "".join([*service.lines, *service.output]).encode(), "page": sent.text.encode()}
    token = path.rpartition("/")[2]
    assert search({key.secret.reveal(), token}, {**written, **files(tmp_path, but=installed.dotenv)}) == []
    current = record(tmp_path).current
    assert current is not None
    assert (current.key_id, current.expires_at) == (key.key_id, None)


def test_a_stop_waits_for_a_handover_and_the_person_reads_how_it_ended(tmp_path: Path, simulator: Simulator) -> None:
    http = {"listen": "127.0.0.1:0", "url": "https://rotator.example"}
    installed = Installation(tmp_path, simulator.base_url, http)
    rotator = Rotator(tmp_path, installed.document, {})
    with rotator.service(arguments=["--log-level", "debug"]) as service, ThreadPoolExecutor() as people:
        service.wait_for_event("http.listening")
        port = next(event["port"] for event in service.events() if event["event"] == "http.listening")
        service.wait_for_event("key.requested")
        path = rotator.command("requests", "link", "chat").stdout.strip().removeprefix("https://rotator.example")
        key = simulator.create_key_by_hand(PROJECT, "made by ada")
        simulator.clear_requests()
        simulator.fault("late_answer", method="GET", path="/v3/whoami", delay=3)
        sent = people.submit(
            httpx.post,
            f"http://127.0.0.1:{port}{path}",
            data={"key": key.secret.reveal(), "expires": "never"},
            follow_redirects=True,
            timeout=60,
        )
        until(lambda: any("whoami" in one.template for one in simulator.requests()))
        assert service.stop() == 0
        assert f"{key.key_id}</b> is accepted" in sent.result().text
    current = record(tmp_path).current
    assert current is not None
    assert current.key_id == key.key_id
