"""The service over HTTP: a real process, asked by a real client."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.e2e.installation import FIELD, POLICY, credentials, document, in_file, policy, soon, until
from tests.metrics.recorded import judged
from tests.parts.rotator import Rotator, Service
from tests.parts.secret_search import search
from tests.parts.simulator import PROJECT, Simulator

CONFIG = Path(__file__).parents[2] / "config"
TOKEN = "a-token-for-scrapes-only"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATHS = ("/healthz", "/readyz", f"/readyz/{POLICY}", "/readyz/broken", "/metrics", "/nothing", "/")


class Client:
    """Asks one service, and keeps all that it served."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.served: list[bytes] = []

    def ask(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        self.served += [body, str(answer.headers).encode()]
        return answer.status, body.decode(), answer.headers

    def scrape(self) -> list[Sample]:
        status, body, headers = self.ask("/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return [sample for family in text_string_to_metric_families(body) for sample in family.samples]

    def json(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        status, body, _ = self.ask(path, headers)
        return status, json.loads(body)


def rotator_with(folder: Path, simulator: Simulator, *, due_in: float = 3600, **given: Any) -> Rotator:
    """One policy in a dotenv file, and one whose place is a folder: it fails at each look."""
    by_hand = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(due_in))
    (folder / ".env").write_text(f"{FIELD}={by_hand.secret.reveal()}\n")
    (folder / "a-folder").mkdir()
    policies = [policy(in_file(folder / ".env")), policy(in_file(folder / "a-folder"), name="broken")]
    configured = document(folder, simulator.base_url, policies, http={"listen": "127.0.0.1:0", **given})
    return Rotator(folder, configured, {**credentials(simulator), "SCRAPE_TOKEN": TOKEN})


@contextmanager
def serving(rotator: Rotator) -> Iterator[tuple[Client, Service]]:
    with rotator.service() as service:
        service.wait_for_event("http.listening")
        (told,) = (event for event in service.events() if event["event"] == "http.listening")
        yield Client(told["port"]), service


def test_a_service_tells_whether_it_is_alive_and_ready_and_why_a_policy_is_not(
    tmp_path: Path, simulator: Simulator
) -> None:
    with serving(rotator_with(tmp_path, simulator)) as (client, service):
        service.wait_for_event("key.adopted")
        service.wait_for_event("problem", policy="broken")
        assert client.ask("/healthz")[:2] == (200, "ok\n")
        assert client.json("/readyz") == (200, {"ready": True, "problems": []})

        until(lambda: client.json(f"/readyz/{POLICY}")[0] == 200)
        status, told = client.json("/readyz/broken")
        assert status == 503
        assert "times in a row: " in told["reason"]
        assert "a-folder" in told["reason"]
        assert client.ask("/readyz/nobody")[0] == client.ask("/nothing")[0] == client.ask("/readyz/")[0] == 404

        status, page, headers = client.ask("/")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert all(f'<h3 id="p-{name}">{name}</h3>' in page for name in (POLICY, "broken"))
        assert "a-folder" in page.partition('<article class="problem"')[2].partition("</article>")[0]

        for method in ("POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"):
            status, _, headers = client.ask("/healthz", method=method)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        status, body, headers = client.ask("/healthz", method="HEAD")
        assert (status, body, headers["Content-Length"]) == (200, "", "3")
        assert service.stop() == 0


def test_without_the_token_two_words_of_health_are_told_and_no_more(tmp_path: Path, simulator: Simulator) -> None:
    rotator = rotator_with(tmp_path, simulator, token={"env": "SCRAPE_TOKEN"})
    with serving(rotator) as (client, service):
        service.wait_for_event("problem", policy="broken")
        service.wait_for_event("key.adopted")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer"}):
            assert [client.ask(path, headers)[0] for path in PATHS] == [200, 200, 401, 401, 401, 401, 401]
            for path in PATHS:
                assert not {POLICY, "broken", "together", "a-folder"} & set(client.ask(path, headers)[1].split())
        assert client.ask("/metrics")[2]["WWW-Authenticate"] == "Bearer"
        assert client.ask("/")[2]["WWW-Authenticate"].startswith("Basic ")
        assert [client.ask(path, BEARER)[0] for path in PATHS[2:]] == [200, 503, 200, 404, 200]
        assert service.stop() == 0
    held = (tmp_path / ".env").read_text().partition("=")[2].strip()
    known = [TOKEN, held, simulator.management_key.reveal()]
    assert search(known, {"http": b"\n".join(client.served), "log": "".join(service.lines).encode()}) == []


def test_who_asks_slowly_too_long_or_nonsense_is_cut_off_and_keeps_nobody_from_an_answer(
    tmp_path: Path, simulator: Simulator
) -> None:
    with serving(rotator_with(tmp_path, simulator)) as (client, service):
        for _ in range(5):
            silent = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(40)]
            assert client.ask("/healthz")[0] == 200
            for connection in silent:
                connection.close()

        for nonsense in (b"tgp_v1_nonsense\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n", b"\0\r\n", b"GET\r\n"):
            with socket.create_connection(("127.0.0.1", client.port), timeout=8) as connection:
                connection.sendall(nonsense)
                answer = connection.recv(4096)
                assert answer == b"" or answer.startswith((b"HTTP/1.0 4", b"HTTP/1.0 505"))
                assert b"nonsense" not in answer
        with socket.create_connection(("127.0.0.1", client.port), timeout=8) as connection:
            connection.sendall(b"GET /" + b"x" * 12_000 + b" HTTP/1.1\r\n" + b"A: " + b"y" * 12_000)
            assert connection.recv(4096).startswith(b"HTTP/1.0 431 ")
        assert client.ask("/healthz")[0] == 200
        assert service.stop() == 0
    assert "nonsense" not in "".join(service.lines)


def test_a_port_that_is_taken_ends_the_start_with_a_sentence(tmp_path: Path, simulator: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = rotator_with(tmp_path, simulator, listen=f"127.0.0.1:{port}").call()
    assert done.returncode == 1
    sentence = f"rotator: http.listen: can't listen at 127.0.0.1, port {port}: Address already in use\n"
    assert done.stderr.endswith(sentence)
    assert "Traceback" not in done.stderr


def test_a_scrape_tells_of_every_policy_and_of_what_was_done(tmp_path: Path, simulator: Simulator) -> None:
    with serving(rotator_with(tmp_path, simulator, due_in=-60)) as (client, service):
        service.wait_for_event("grace.started")
        service.wait_for_event("problem", policy="broken")
        until(lambda: _value(client.scrape(), "rotator_looks_total", policy=POLICY, result="ok"))
        found = client.scrape()
        assert service.stop() == 0

    now = time.time()
    assert now + 1800 < (_value(found, "rotator_policy_key_expiry_timestamp_seconds", policy=POLICY) or 0) < now + 3700
    assert now - 60 < (_value(found, "rotator_policy_key_created_timestamp_seconds", policy=POLICY) or 0) < now + 1
    assert now < (_value(found, "rotator_policy_next_rotation_timestamp_seconds", policy=POLICY) or 0) < now + 1800
    assert now - 60 < (_value(found, "rotator_policy_next_look_timestamp_seconds", policy=POLICY) or 0)
    assert now - 30 < (_value(found, "rotator_heartbeat_timestamp_seconds") or 0) <= now
    for name, labels, value in (
        ("rotator_policy_phase", {"policy": POLICY, "phase": "grace"}, 1),
        ("rotator_policy_phase", {"policy": POLICY, "phase": "idle"}, 0),
        ("rotator_policy_phase", {"policy": "broken", "phase": "idle"}, 1),
        ("rotator_policy_keys", {"policy": POLICY, "state": "current"}, 1),
        ("rotator_policy_keys", {"policy": POLICY, "state": "retiring"}, 1),
        ("rotator_policy_on_hold", {"policy": POLICY}, 0),
        ("rotator_policy_consecutive_failures", {"policy": POLICY}, 0),
        ("rotator_rotations_started_total", {"policy": POLICY}, 1),
        ("rotator_rotations_total", {"policy": POLICY, "outcome": "published"}, 1),
        ("rotator_requests_total", {"endpoint": "provider together", "method": "create_key", "result": "ok"}, 1),
        ("rotator_request_duration_seconds_count", {"endpoint": "provider together", "method": "create_key"}, 1),
        ("rotator_endpoint_in_trouble", {"endpoint": "provider together"}, 0),
        ("rotator_endpoint_in_trouble", {"endpoint": "backend dotenv"}, 0),
        ("rotator_journal_readable", {}, 1),
        ("rotator_policies", {}, 2),
        ("rotator_stuck", {}, 0),
        ("rotator_configuration_refused", {}, 0),
    ):
        assert _value(found, name, **labels) == value, (name, labels)
    assert (_value(found, "rotator_policy_consecutive_failures", policy="broken") or 0) >= 1
    assert _value(found, "rotator_alerts_total", policy="broken", check="WrongDestination") is not None or _value(
        found, "rotator_alerts_total", policy="broken", check="DestinationUnreadable"
    )
    assert abs(_value(found, "rotator_clock_skew_seconds", endpoint="provider together") or 9) < 5
    held = (tmp_path / ".env").read_text().partition("TOGETHER_API_KEY=")[2].split()[0]
    known = [held, simulator.management_key.reveal()]
    assert search(known, {"http": b"\n".join(client.served)}) == []


def _value(samples: Sequence[Sample], name: str, **labels: str) -> float | None:
    values = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    assert len(values) <= 1
    return values[0] if values else None


def test_the_alert_rules_and_the_dashboard_ask_for_what_a_service_exports_and_judge_it_rightly(
    tmp_path: Path, simulator: Simulator
) -> None:
    rotator = rotator_with(tmp_path, simulator)
    assert rotator.command("hold", "broken", "--reason", "a freeze").returncode == 0
    with serving(rotator) as (client, service):
        service.wait_for_event("key.adopted")
        until(lambda: _value(client.scrape(), "rotator_looks_total", policy=POLICY, result="ok"))
        _, body, _ = client.ask("/metrics")
        at = time.time()
        assert service.stop() == 0
    exported = set()
    for family in text_string_to_metric_families(body):
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}[family.type]
        exported |= {family.name + end for end in ends}

    for file in ("alerts.yaml", "grafana-dashboard.json"):
        named = set(re.findall(r"\brotator_[a-z_]+", (CONFIG / file).read_text()))
        assert named
        assert named - exported == set(), file

    on_hold = {"RotatorOnHoldTooLong": ["broken"]}
    done = judged(tmp_path, body, at, on_hold)
    assert done.returncode == 0, done.stdout + done.stderr
    for wrong in ({}, on_hold | {"RotatorExpiryNear": [POLICY]}):
        assert judged(tmp_path, body, at, wrong).returncode == 1
    # As it would be ten minutes before the key's end, if the service had hung since.
    late = {"RotatorExpiryNear": [POLICY], "RotatorNoHeartbeat": [""]}
    assert judged(tmp_path, body, at + 3600 + 30 * 60 - 600, on_hold | late).returncode == 0
