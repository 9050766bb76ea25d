"""Promise 3, with every secret taken from the wire: also those that no destination ever held, and login tokens."""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.backends.proxy import Answer, Proxy, Request, Upstream
from tests.e2e.installation import FIELD, PLACES, Places, credentials, document, in_file, ours, policy, until
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator, Service, count
from tests.parts.secret_search import files, search
from tests.parts.simulator import OTHER_PROJECT, PROJECT, HandMadeKey, Simulator

FAST = {"lifetime": "1h", "renew_before": "16s", "grace": "1s", "settle": "1s"}
"""A look that failed is repeated after two seconds at most: eight tries fit into ``renew_before``."""

KEY = re.compile(rb"tgp_v1_[\w-]+")
WHOAMI = {"method": "GET", "path_regex": "whoami$"}
KEYS = {"path_regex": "api-keys"}
FAULTS = [
    {"match": {**WHOAMI}, "effect": "html", "status": 500},
    {"match": {"method": "POST", **KEYS}, "effect": "error_after"},
    {"match": {"method": "POST", **KEYS}, "effect": "truncated"},
    {"match": {"method": "GET", **KEYS}, "effect": "reset_before"},
    {"match": {"method": "GET", **KEYS}, "effect": "truncated"},
    {"match": {"method": "DELETE", **KEYS}, "effect": "reset_after"},
    {"match": {"method": "DELETE", **KEYS}, "effect": "html", "status": 502},
]


# --- the search ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        str.encode,
        lambda secret: quote(secret).encode(),
        lambda secret: base64.b64encode(secret.encode()),
        lambda secret: base64.b64encode(f"user:{secret}:x".encode()),
        lambda secret: base64.urlsafe_b64encode(f"Bearer {secret}".encode()),
        lambda secret: secret.encode().hex().encode(),
        lambda secret: secret[: len(secret) // 2 + 3].encode(),
        lambda secret: json.dumps({"key": secret}).encode(),
    ],
)
def test_a_secret_that_is_planted_in_a_file_is_found(tmp_path: Path, write: Callable[[str], bytes]) -> None:
    secret, other = ("tgp_v1_" + secrets.token_urlsafe(32) for _ in range(2))
    (tmp_path / "state.db-wal").write_bytes(b"\x00before " + write(secret) + b" after\xff")
    (tmp_path / "innocent").write_bytes(b"tgp_v1_ and more")

    assert search([secret], files(tmp_path, but=tmp_path / ".env"))
    assert not search([other], files(tmp_path, but=tmp_path / ".env"))
    assert not search([secret], files(tmp_path, but=tmp_path / "state.db-wal"))


# --- the run ---------------------------------------------------------------------------------------------


class Wire:
    """Notes every secret that goes by: new keys, and the tokens of logins."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.sealed = threading.Event()

    def provider(self, request: Request, upstream: Upstream) -> Answer:
        try:
            answer = upstream(request.body)
        except http.client.RemoteDisconnected:
            # The same for the rotator: nothing that is an answer.
            return Answer(502)
        except http.client.IncompleteRead as error:
            self.seen.update(key.decode() for key in KEY.findall(error.partial))
            # The connection breaks in the middle for the rotator too, with what there is of the body.
            return Answer(
                201 if request.method == "POST" else 200, error.partial, (("Content-Type", "application/json"),)
            )
        if request.method == "POST":
            self.seen.update(key.decode() for key in KEY.findall(answer.body))
        return answer

    def openbao(self, request: Request, upstream: Upstream) -> Answer:
        if self.sealed.is_set():
            return Answer(503, b'{"errors":["Vault is sealed"]}', (("Content-Type", "application/json"),))
        answer = upstream(request.body)
        if request.path.endswith("/login") and answer.status == 200:
            self.seen.add(json.loads(answer.body)["auth"]["client_token"])
        return answer


@dataclass
class Installation:
    """A rotator whose requests to provider and OpenBao go by a ``Wire``, and all that it wrote."""

    rotator: Rotator
    places: Places
    simulator: Simulator
    by_hand: HandMadeKey
    wire: Wire
    known: set[str]
    written: dict[str, bytes]

    def call(self, *arguments: str) -> str:
        """One call at debug level."""
        done = self.rotator.call("--log-level", "debug", *arguments)
        name = f"{len(self.written)} {' '.join(arguments)}"
        self.written[f"{name}: stdout"] = done.stdout.encode()
        self.written[f"{name}: stderr"] = done.stderr.encode()
        return done.stdout + done.stderr

    def is_done(self) -> bool:
        """Rotated and revoked, whatever had gone wrong."""
        return self.simulator.key(self.by_hand.key_id)["state"] == "revoked" and len(ours(self.simulator)) == 1

    def assert_no_secret_was_written(self) -> None:
        for content in self.places.contents().values():
            self.known.add(content[FIELD])
        self.known |= self.wire.seen
        assert sum(secret.startswith("tgp_v1_") for secret in self.known) >= 3, "by hand, new, management"
        assert any(not secret.startswith("tgp_v1_") for secret in self.wire.seen), "a token of a login"
        self.written |= files(self.rotator.folder, but=self.places.dotenv)
        assert search(self.known, self.written) == []


@pytest.fixture
def installation(
    tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws
) -> Iterator[Installation]:
    neighbours = {place: f"neighbour-{secrets.token_urlsafe(24)}" for place in PLACES}
    places = Places(folder=tmp_path, openbao=openbao, mount=kv_mount, aws=aws, neighbours=neighbours)
    by_hand = simulator.create_key_by_hand(PROJECT, "by hand")
    places.put(by_hand.secret.reveal())
    (tmp_path / "a-directory").mkdir()
    (tmp_path / "tmp").mkdir()
    wire = Wire()
    approle = places.least_credentials()
    own = {
        **credentials(simulator),
        "SECRET_ID": approle["SECRET_ID"],
        "WRONG_SECRET_ID": secrets.token_urlsafe(24),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
    }
    with Proxy(simulator.base_url, wire.provider) as provider, Proxy(openbao.url, wire.openbao) as vault:
        backends = places.backends(openbao_url=vault.url)
        wrong = {**backends["openbao"]["auth"], "secret_id": {"env": "WRONG_SECRET_ID"}}
        backends["refused"] = {**backends["openbao"], "auth": wrong}
        in_refused = [{"backend": "refused", "mount": kv_mount, "path": "other", "field": FIELD}]
        policies = [
            policy(places.destinations(), **FAST),
            # In another project: a place that can't be looked at may hold any key of its project.
            {**policy(in_file(tmp_path / "a-directory"), name="directory", **FAST), "project": OTHER_PROJECT},
            {**policy(in_refused, name="wrong", **FAST), "project": OTHER_PROJECT},
        ]
        configuration = document(tmp_path, provider.url, policies, backends)
        environ = {**own, "ROLE_ID": approle["ROLE_ID"], "TMPDIR": str(tmp_path / "tmp")}
        rotator = Rotator(tmp_path, configuration, environ)
        known = {*own.values(), *neighbours.values(), by_hand.secret.reveal(), openbao.token.reveal()}
        yield Installation(rotator, places, simulator, by_hand, wire, known, {})
    simulator.clear_faults()


def look_around(installation: Installation) -> None:
    """Everything that prints."""
    for arguments in (["--dry-run"], ["--dry-run", "--format", "json"], ["status"], ["validate"]):
        assert installation.call(*arguments), arguments


def injected(installation: Installation) -> list[str]:
    """The faults that have struck."""
    return [fault["effect"] for fault in installation.simulator._call("GET", "faults") if fault["fired"]]


def by_the_service(installation: Installation) -> None:
    with installation.rotator.service(arguments=["--log-level", "debug"]) as service:
        service.wait_for_event("problem", policy="chat")
        installation.wire.sealed.clear()
        until(installation.is_done)
        assert service.stop() == 0
    note(installation, service)
    events = service.events()
    for name in ("chat", "directory", "wrong"):
        assert count(events, "problem", policy=name), f"{name} did not fail"
    assert count(events, "looked"), "debug level"


def by_cron(installation: Installation) -> None:
    assert "problem" in installation.call("--run-once")
    installation.wire.sealed.clear()

    def one_pass() -> bool:
        installation.call("--run-once")
        return installation.is_done()

    until(one_pass, every=0.3)


def note(installation: Installation, service: Service) -> None:
    installation.written["service: stderr"] = "".join(service.lines).encode()
    installation.written["service: stdout"] = "".join(service.output).encode()


@pytest.mark.parametrize("run", [by_the_service, by_cron])
def test_no_secret_is_in_any_byte_that_left_the_process_while_everything_went_wrong(
    installation: Installation, run: Callable[[Installation], None]
) -> None:
    """Promise 3."""
    installation.wire.sealed.set()
    installation.simulator.faults(FAULTS)
    installation.call("rotate", "chat", "--reason", "at once")
    assert "HTTP 503" in installation.call("--dry-run", "--format", "json")

    run(installation)

    look_around(installation)
    assert {"html", "error_after", "truncated", "reset_after"} <= set(injected(installation))
    assert list((installation.rotator.folder / "tmp").iterdir()) == []
    installation.assert_no_secret_was_written()


def test_a_secret_that_somebody_writes_into_the_configuration_is_not_repeated(installation: Installation) -> None:
    """Promises 3 and 10."""
    text = installation.rotator.config.read_text()
    reference = "management_key:\n      env: MANAGEMENT_KEY"
    assert reference in text
    secret = installation.simulator.management_key.reveal()
    installation.rotator.config.write_text(text.replace(reference, f"management_key: {secret}"))

    for arguments in (["validate"], ["--run-once"], ["--dry-run"], ["status"]):
        said = installation.call(*arguments)
        assert "management_key" in said

    assert search([secret], installation.written) == []
