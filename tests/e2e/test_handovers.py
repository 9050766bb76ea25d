"""What people hand over wrongly, and the inboxes of every backend: whole processes against the public endpoints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import FIELD, document, in_file, policy
from tests.parts.aws import REGION, Aws
from tests.parts.forked import run
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator
from tests.parts.secret_search import files, search
from tests.parts.simulator import FOREIGN_PROJECT, OTHER_PROJECT, PROJECT, Simulator

PUBLIC = {"/v3/whoami", "/v1/whoami", "/v1/billing/usage"}


class Desk:
    """One policy whose key a person makes; passes by hand."""

    def __init__(self, folder: Path, simulator: Simulator, inbox: dict[str, Any] | None = None, **rest: Any) -> None:
        self.folder, self.simulator, self.dotenv = folder, simulator, folder / ".env"
        whole = document(
            folder,
            simulator.base_url,
            [policy(in_file(self.dotenv), name="chat", lifetime="30d", renew_before="7d")],
            rest.get("backends"),
        )
        whole["providers"]["together"] = {
            "type": "together",
            "issuance": "assisted",
            "base_url": simulator.base_url,
            "assisted": {"inbox": inbox, "inbox_every": "1s"} if inbox else {},
        }
        self.rotator = Rotator(folder, whole, rest.get("environ", {}))
        self.known: set[str] = set()
        self.said: dict[str, bytes] = {}

    def look(self) -> str:
        done = self.rotator.run_once("--log-level", "debug")
        self.said[f"{len(self.said)} look"] = (done.stdout + done.stderr).encode()
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, text: str, *options: str) -> subprocess.CompletedProcess[str]:
        done = run(
            ["submit", "chat", "--config", str(self.rotator.config), *options],
            env=self.rotator.environ,
            given=text,
            timeout=60,
        )
        self.said[f"{len(self.said)} submit"] = (done.stdout + done.stderr).encode()
        return done

    def key(self, project: str = PROJECT, **facts: Any) -> str:
        return self.noted(self.simulator.create_key_by_hand(project, "made by hand", **facts).secret.reveal())

    def noted(self, secret: str) -> str:
        self.known.add(secret)
        return secret

    def held(self) -> str:
        return self.dotenv.read_text().partition(f"{FIELD}=")[2].strip().strip("'\"") if self.dotenv.exists() else ""

    def assert_kept_nothing(self) -> None:
        """Promise 3, and no path that manages keys."""
        assert search(self.known, {**self.said, **files(self.folder, but=self.dotenv)}) == []
        called = {one.template for one in self.simulator.requests() if not one.template.startswith("/_simulator")}
        assert called <= PUBLIC


def ended(desk: Desk) -> str:
    made = desk.simulator.create_key_by_hand(PROJECT, "ended")
    desk.simulator.expire(made.key_id)
    return made.secret.reveal()


def revoked(desk: Desk) -> str:
    made = desk.simulator.create_key_by_hand(PROJECT, "revoked")
    desk.simulator.revoke_by_hand(made.key_id)
    return made.secret.reveal()


WRONG: dict[str, tuple[Callable[[Desk], str], str]] = {
    "of another project": (lambda desk: desk.key(OTHER_PROJECT), f"of project {OTHER_PROJECT}"),
    "of another organisation": (lambda desk: desk.key(FOREIGN_PROJECT), f"of project {FOREIGN_PROJECT}"),
    "the legacy key": (lambda desk: desk.simulator.regenerate_legacy_key().secret.reveal(), "legacy organisation key"),
    "the current key": (lambda desk: desk.held(), "the key that is in place"),
    "ended": (ended, "the provider does not accept it"),
    "revoked": (revoked, "the provider does not accept it"),
    "cut off": (lambda desk: desk.key()[:30], "the provider does not accept it"),
    "a line end in it": (lambda desk: desk.key()[:20] + "\n" + desk.key()[20:], "a key is one word"),
    "a session": (
        lambda desk: desk.simulator.create_session(desk.simulator.create_user("eve")).reveal(),
        "it is no API key",
    ),
    "nothing": (lambda _: " \n", "nothing was handed over"),
}


@pytest.fixture
def desk(tmp_path: Path, simulator: Simulator) -> Desk:
    """A key is in place, and another one is asked for."""
    made = Desk(tmp_path, simulator)
    made.look()
    assert made.submit(made.key()).returncode == 0
    assert made.rotator.command("rotate", "chat", "--reason", "drill").returncode == 0
    made.look()
    return made


@pytest.mark.parametrize("what", WRONG)
def test_what_was_not_asked_for_is_refused_with_its_reason_and_nothing_of_it_is_kept(desk: Desk, what: str) -> None:
    make, why = WRONG[what]
    held, wrong = desk.held(), desk.noted(make(desk))
    desk.known.discard(" \n")
    done = desk.submit(wrong)
    assert (done.returncode, desk.held()) == (1, held)
    assert why in done.stderr
    if wrong.strip():
        assert wrong not in done.stdout + done.stderr
    good = desk.key()
    assert desk.submit(good).returncode == 0
    assert desk.held() == good
    desk.assert_kept_nothing()


class Inbox:
    """Where people put keys: by ``put``; ``left``: what lies there."""

    def __init__(
        self, place: dict[str, Any], put: Callable[[str], None], left: Callable[[], object], **rest: Any
    ) -> None:
        self.place, self.put, self.left, self.rest = place, put, left, rest


@pytest.fixture(params=["KV version 1", "AWS"])
def inbox(request: pytest.FixtureRequest) -> Inbox:
    if request.param == "AWS":
        aws: Aws = request.getfixturevalue("aws")
        name = aws.new_secret("before")
        aws.root.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

        def put(secret: str) -> None:
            aws.root.create_secret(Name=name, SecretString=json.dumps({"key": secret}))

        def left() -> object:
            listed = aws.root.list_secrets(IncludePlannedDeletion=True)["SecretList"]
            return [one for one in listed if one["Name"] == name]

        backend = {"type": "aws-secrets-manager", "region": REGION, "endpoint_url": aws.url}
        return Inbox({"backend": "box", "secret_id": name, "field": "key"}, put, left, backends={"box": backend})
    openbao: OpenBao = request.getfixturevalue("openbao")
    mount = request.getfixturevalue("kv1_mount")
    rights = f'path "{mount}/inbox" {{ capabilities = ["read", "delete"] }}'
    role = openbao.approle(rights)
    auth = {"method": "approle", "role_id": {"env": "ROLE_ID"}, "secret_id": {"env": "SECRET_ID"}}
    kv1 = openbao.root.secrets.kv.v1

    def put_there(secret: str) -> None:
        kv1.create_or_update_secret("inbox", {"key": secret}, mount_point=mount)

    def lies_there() -> object:
        listed = openbao.root.adapter.request("LIST", f"/v1/{mount}/", raise_exception=False)
        return (listed.get("data") or {}).get("keys", []) if isinstance(listed, dict) else []

    return Inbox(
        {"backend": "box", "mount": mount, "path": "inbox", "field": "key", "kv_version": 1},
        put_there,
        lies_there,
        backends={"box": {"type": "vault", "url": openbao.url, "auth": auth}},
        environ={"ROLE_ID": role.role_id.reveal(), "SECRET_ID": role.secret_id.reveal()},
    )


def test_what_is_put_into_an_inbox_is_published_and_destroyed_there_and_so_is_what_is_wrong(
    tmp_path: Path, simulator: Simulator, inbox: Inbox
) -> None:
    desk = Desk(tmp_path, simulator, inbox.place, **inbox.rest)
    desk.look()
    wrong, right = desk.key(OTHER_PROJECT), desk.key()
    for put, held in ((wrong, ""), (right, right)):
        inbox.put(put)
        assert inbox.left() != []
        desk.rotator.command("hold", "chat", "--reason", "look now")
        desk.rotator.command("release", "chat")
        desk.look()
        assert desk.held() == held
        assert inbox.left() == []
    desk.assert_kept_nothing()
