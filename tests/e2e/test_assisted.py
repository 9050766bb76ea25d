"""Where people make and revoke keys, on real parts: a scripted person, and the platform's public endpoints alone."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from click.testing import CliRunner

from rotator.bootstrap import application
from rotator.config import load
from rotator.domain.events import RotationRequested
from rotator.entrypoints.cli import cli
from rotator.service.reconcile import Result
from tests.backends.proxy import Answer, Proxy, Request, Upstream
from tests.e2e.installation import FIELD, document, record, until
from tests.parts.forked import Forked, run
from tests.parts.openbao import OpenBao
from tests.parts.rotator import COMMAND, Rotator, Service
from tests.parts.secret_search import files, search
from tests.parts.simulator import PROJECT, HandMadeKey, Simulator

TIMES = {"grace": "1s", "grace_limit": "2s", "check_every": "1s", "settle": "1s"}
PUBLIC = {"/v3/whoami", "/v1/whoami", "/v1/billing/usage"}
ROTATOR = """
path "{mount}/data/app"          {{ capabilities = ["create", "patch", "read", "update"] }}
path "{mount}/metadata/app"      {{ capabilities = ["patch"] }}
path "{mount}/data/inbox/chat"   {{ capabilities = ["read"] }}
path "{mount}/destroy/inbox/chat" {{ capabilities = ["update"] }}
"""
WRITER = 'path "{mount}/data/inbox/chat" {{ capabilities = ["create", "update"] }}'


class Person:
    """Makes keys in the console as they are told, and hands them over."""

    def __init__(self, folder: Path, simulator: Simulator, openbao: OpenBao, mount: str, vault_url: str) -> None:
        self.folder, self.simulator, self.openbao, self.mount = folder, simulator, openbao, mount
        role = openbao.approle(ROTATOR.format(mount=mount))
        auth = {"method": "approle", "role_id": {"env": "ROLE_ID"}, "secret_id": {"env": "SECRET_ID"}}
        inbox = {"backend": "openbao", "mount": mount, "path": "inbox/{policy}", "field": "key"}
        self.dotenv = folder / ".env"
        self.configuration = document(
            folder,
            simulator.base_url,
            [
                {
                    "name": "chat",
                    "provider": "together",
                    "project": PROJECT,
                    **TIMES,
                    "destinations": [
                        {"backend": "openbao", "mount": mount, "path": "app", "field": FIELD},
                        {"backend": "dotenv", "path": str(self.dotenv), "field": FIELD},
                    ],
                }
            ],
            {"openbao": {"type": "vault", "url": vault_url, "auth": auth}},
        )
        self.configuration["providers"]["together"] = {
            "type": "together",
            "issuance": "assisted",
            "base_url": simulator.base_url,
            "assisted": {"owners": ["ada"], "inbox": inbox, "inbox_every": "1s"},
        }
        self.environ = {"ROLE_ID": role.role_id.reveal(), "SECRET_ID": role.secret_id.reveal()}
        self.rotator = Rotator(folder, self.configuration, self.environ)
        self.known = {role.secret_id.reveal()}
        self.written: dict[str, bytes] = {}

    def invoke(self, *arguments: str) -> tuple[int, str]:
        """One command that changes nothing, in this process."""
        done = CliRunner(env=self.environ).invoke(cli, [*arguments, "--config", str(self.rotator.config)])
        self.written[f"{len(self.written)} {arguments[0]}"] = done.output.encode()
        return done.exit_code, done.output

    def begin(self) -> None:
        """One look, in this process: a key is asked for."""
        with application(load(self.rotator.config, self.environ), self.environ) as made:
            assert made.reconciler.reconcile(made.settings.policies[0]).result is Result.OK

    def ask_for_another(self) -> None:
        """As ``rotator rotate`` does."""
        with application(load(self.rotator.config, self.environ), self.environ) as made:
            made.journal.request("chat", RotationRequested(reason="drill"), made.clock.now())

    def tasks(self) -> list[dict[str, Any]]:
        code, text = self.invoke("requests", "--json")
        assert code == 0, text
        return list(json.loads(text)["requests"])

    def make(self, task: dict[str, Any] | None = None) -> HandMadeKey:
        """In the console."""
        ends = datetime.fromisoformat(task["expires_at"]) if task else None
        made = self.simulator.create_key_by_hand(PROJECT, task["key_name"] if task else "mine", expires_at=ends)
        self.known.add(made.secret.reveal())
        return made

    def submit(self, key: HandMadeKey) -> tuple[int, str]:
        """By standard input, in a process of its own."""
        done = run(
            ["submit", "chat", "--config", str(self.rotator.config)],
            env=self.rotator.environ,
            given=key.secret.reveal() + "\n",
            timeout=100,
        )
        self.written[f"{len(self.written)} submit"] = (done.stdout + done.stderr).encode()
        return done.returncode, done.stdout + done.stderr

    def begin_to_submit(self) -> Forked:
        """Its standard input is for the key; its output and errors are one."""
        return Forked(
            ["submit", "chat", "--config", str(self.rotator.config)],
            env=self.rotator.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def submit_at_a_terminal(self, key: HandMadeKey) -> tuple[int, str]:
        """Typed at the prompt; the expiration is confirmed by a line end."""
        keyboard, terminal = pty.openpty()
        with subprocess.Popen(
            [*COMMAND, "submit", "chat", "--config", str(self.rotator.config)],
            env={**self.rotator.environ, "TERM": "dumb"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        ) as process:
            os.close(terminal)
            shown = b""
            for prompt, typed in ((b"(not shown)", key.secret.reveal()), (b"give it?", "")):
                while prompt not in shown:
                    shown += os.read(keyboard, 4096)
                while not shown.rstrip().endswith(b":"):
                    shown += os.read(keyboard, 4096)
                os.write(keyboard, typed.encode() + b"\n")
            while part := _read(keyboard):
                shown += part
            code = process.wait(30)
        os.close(keyboard)
        self.written["at a terminal"] = shown
        return code, shown.decode()

    def put_into_the_inbox(self, key: HandMadeKey) -> None:
        """With a credential that may write there, and read nothing."""
        role = self.openbao.approle(WRITER.format(mount=self.mount))
        login = self.openbao.root.auth.approle.login(role.role_id.reveal(), role.secret_id.reveal(), use_token=False)
        client = type(self.openbao.root)(url=self.openbao.url, token=login["auth"]["client_token"])
        client.secrets.kv.v2.create_or_update_secret("inbox/chat", {"key": key.secret.reveal()}, mount_point=self.mount)

    def held(self) -> set[str]:
        line = next(line for line in self.dotenv.read_text().splitlines() if line.startswith(f"{FIELD}="))
        return {line.partition("=")[2].strip("'\""), self.openbao.get(self.mount, "app")[FIELD]}

    def inbox_is_destroyed(self) -> bool:
        """Every version of it."""
        kv = self.openbao.root.secrets.kv.v2
        versions = kv.read_secret_metadata("inbox/chat", mount_point=self.mount)["data"]["versions"]
        return all(one["destroyed"] for one in versions.values())

    def assert_only_public_endpoints_were_called(self) -> None:
        called = {one.template for one in self.simulator.requests() if not one.template.startswith("/_simulator")}
        assert called <= PUBLIC

    def assert_no_secret_was_written(self) -> None:
        """Promise 3: the search is for all keys that were ever handed over."""
        assert len(self.known) > 2, "the login, and two keys"
        assert search(self.known, {**self.written, **files(self.folder, but=self.dotenv)}) == []


def _read(keyboard: int) -> bytes:
    try:
        return os.read(keyboard, 4096)
    except OSError:  # the other side is closed
        return b""


@pytest.fixture
def person(tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str) -> Person:
    return Person(tmp_path, simulator, openbao, kv_mount, openbao.url)


@contextmanager
def noted(person: Person) -> Iterator[Service]:
    with person.rotator.service(arguments=["--log-level", "debug"]) as service:
        yield service
    person.written["service"] = "".join([*service.lines, *service.output]).encode()


def test_two_clicks_of_a_person_are_all_that_is_left(person: Person) -> None:
    """Promises 2 and 3. The first key at a terminal, the second one by the inbox, the first one revoked."""
    with noted(person) as service:
        service.wait_for_event("key.requested")
        (task,) = person.tasks()
        first = person.make(task)
        code, said = person.submit_at_a_terminal(first)
        assert (code, f"{first.key_id} is accepted" in said) == (0, True)
        assert person.held() == {first.secret.reveal()}

        person.ask_for_another()
        service.wait_for_event("key.requested", times=2)
        second = person.make()
        person.put_into_the_inbox(second)
        service.wait_for_event("handover.accepted", via="inbox")
        until(lambda: person.held() == {second.secret.reveal()})
        until(person.inbox_is_destroyed)

        service.wait_for_event("revocation.requested", key_id=first.key_id)
        (task,) = person.tasks()
        assert (task["kind"], task["key_id"]) == ("revoke", first.key_id)
        person.simulator.revoke_by_hand(first.key_id)
        service.wait_for_event("key.closed", key_id=first.key_id)
        assert service.stop() == 0
    assert [key.key_id for key in record(person.folder).keys] == [second.key_id]
    person.assert_only_public_endpoints_were_called()
    person.assert_no_secret_was_written()


def test_promise_4_a_word_that_a_key_is_revoked_is_held_against_what_the_service_sees(person: Person) -> None:
    """A file keeps no former value: nobody but the service, which has it in memory, can try the key."""
    person.configuration["policies"][0]["destinations"].pop(0)
    person.rotator = Rotator(person.folder, person.configuration, person.environ)
    with noted(person) as service:
        service.wait_for_event("key.requested")
        first = person.make(person.tasks()[0])
        person.put_into_the_inbox(first)
        service.wait_for_event("grace.started")
        person.ask_for_another()
        service.wait_for_event("key.requested", times=2)
        person.put_into_the_inbox(person.make())
        service.wait_for_event("revocation.requested", key_id=first.key_id)

        arguments = ["requests", "done", "chat", first.key_id, "--config", str(person.rotator.config)]
        done = run(arguments, env=person.rotator.environ, timeout=60)

        assert done.returncode in {0, 75}
        assert "it counts from" in done.stdout or "your word does not count" in done.stdout
        service.wait_for_event("revocation.contradicted", key_id=first.key_id)
        assert record(person.folder).key(first.key_id) is not None
        person.simulator.revoke_by_hand(first.key_id)
        service.wait_for_event("key.closed", key_id=first.key_id)
        assert service.stop() == 0


@pytest.mark.parametrize(
    "arguments",
    [["chat", "KEY"], ["KEY"], ["chat", "--key=KEY"], ["chat", "--expires", "KEY"], ["KEY", "KEY", "-x"], []],
)
def test_a_key_that_is_given_as_an_argument_is_refused_and_not_repeated(person: Person, arguments: list[str]) -> None:
    key = person.make()
    code, said = person.invoke("submit", *(one.replace("KEY", key.secret.reveal()) for one in arguments))
    assert code == 2
    assert "tgp_v1" not in said
    assert not (person.folder / "state.db").exists()


def test_of_two_people_at_once_one_wins_and_the_other_is_told_which_key_to_revoke(person: Person) -> None:
    person.begin()
    keys = [person.make() for _ in range(2)]
    both = Barrier(2)

    def submit(key: HandMadeKey) -> tuple[int, str]:
        """Both see that a key is asked for, before either types."""
        with person.begin_to_submit() as process:
            until(lambda: "pipe_read" in Path(f"/proc/{process.pid}/wchan").read_text())
            both.wait(60)
            said, _ = process.communicate(key.secret.reveal(), timeout=100)
        person.written[f"submit {key.key_id}"] = said.encode()
        return process.returncode, said

    with ThreadPoolExecutor(2) as pool:
        ended = dict(zip((key.key_id for key in keys), pool.map(submit, keys), strict=True))
    assert sorted(code for code, _ in ended.values()) == [0, 1]
    ((loser, said),) = [(key_id, said) for key_id, (code, said) in ended.items() if code == 1]
    assert f"revoke {loser} in the console" in said
    kinds = {(task["kind"], task["key_id"]) for task in person.tasks()}
    assert kinds == {("revoke", loser)}
    assert len(person.held()) == 1
    person.assert_only_public_endpoints_were_called()
    person.assert_no_secret_was_written()


@pytest.mark.parametrize("when", ["before", "after"])
def test_promise_4_a_submit_that_is_killed_at_its_first_write_is_finished_by_the_same_key(
    tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, when: str
) -> None:
    armed: list[Callable[[], None]] = []

    def wire(request: Request, upstream: Upstream) -> Answer | None:
        is_write = bool(re.search(r"/data/app$", request.path)) and request.method in {"POST", "PUT", "PATCH"}
        if not (armed and is_write):
            return upstream(request.body)
        if when == "after":
            upstream(request.body)
        armed.pop()()
        return None

    with Proxy(openbao.url, wire) as proxy:
        person = Person(tmp_path, simulator, openbao, kv_mount, proxy.url)
        person.begin()
        key = person.make()
        submit = person.begin_to_submit()
        armed.append(lambda: submit.send_signal(signal.SIGKILL))
        said, _ = submit.communicate(key.secret.reveal(), timeout=60)
        assert submit.returncode == -signal.SIGKILL, said
        code, said = person.submit(key)
        assert code == 0, said
        assert person.held() == {key.secret.reveal()}
        assert [one.key_id for one in record(tmp_path).keys] == [key.key_id]
        assert len(simulator.keys(project=PROJECT)) == 1
    person.assert_only_public_endpoints_were_called()
