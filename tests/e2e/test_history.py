"""``rotator history`` as an auditor runs it: what was done and by whom, whether it is whole, and the same elsewhere."""

from __future__ import annotations

import getpass
import json
import sqlite3
import stat
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from rotator.adapters.anchors import AnchorEndpoint, AnchorFile
from rotator.domain.secret import SecretValue
from rotator.entrypoints.cli import cli
from rotator.errors import AnchorFailed
from tests.e2e.installation import document, in_file, policy
from tests.parts.rotator import Rotator
from tests.parts.simulator import Simulator


def history(rotator: Rotator | None, *arguments: str) -> Result:
    where = ["--config", str(rotator.config)] if rotator else []
    return CliRunner().invoke(cli, ["history", *arguments, *where])


def test_a_history_is_listed_verified_exported_and_verified_elsewhere(simulator: Simulator, tmp_path: Path) -> None:
    whole = document(tmp_path, simulator.base_url, [policy(in_file(tmp_path / "chat.env"), name="chat")])
    whole["state"]["anchor"] = {"file": "anchors.jsonl"}
    rotator = Rotator(tmp_path, whole, {"MANAGEMENT_KEY": simulator.management_key.reveal()})
    assert rotator.run_once().returncode == 0
    assert rotator.command("hold", "chat", "--reason", "an audit").returncode == 0

    # Listed: who, what, why; the key's secret is nowhere.
    listed = history(rotator, "chat", "--json")
    assert listed.exit_code == 0
    events = json.loads(listed.output)["events"]
    assert [event["what"] for event in events][:3] == ["rotation.intended", "key.issued", "key.verified"]
    assert all(event["who"].startswith("once@") for event in events[:-1])
    assert events[-1]["who"].startswith(f"operator {getpass.getuser()}@")
    assert events[0]["why"].startswith("DestinationEmpty")
    assert events[1]["key_id"].startswith("key_")
    assert len({event["rotation_id"] for event in events[:4]}) == 1
    secret = (tmp_path / "chat.env").read_text().partition("=")[2].strip().strip("'\"")
    table = history(rotator)
    assert "rotation.intended" in table.output
    assert secret not in table.output + listed.output

    # Whole, here and elsewhere; and the anchor of the pass says the same.
    anchors = str(tmp_path / "anchors.jsonl")
    verified = history(rotator, "--verify", "--anchors", anchors)
    assert (verified.exit_code, verified.output.splitlines()[-1]) == (
        0,
        f"{len(events) + 1} events of 1 policies, 1 seals, 1 anchors: whole",
    )
    assert "no line of it is an anchor of" in history(rotator, "--verify", "--anchors", str(rotator.config)).output
    exported = str(tmp_path / "history.jsonl")
    assert history(rotator, "--export", exported).exit_code == 0
    assert stat.S_IMODE(Path(exported).stat().st_mode) == 0o600
    assert secret not in Path(exported).read_text()
    assert history(rotator, "--export", exported).exit_code == 1, "an export is never written over"
    assert history(None, "--verify", "--from", exported, "--anchors", anchors).exit_code == 0
    alone = history(rotator, "chat", "--export", "-")
    assert [json.loads(line).get("policy") for line in alone.stdout.splitlines()[:-1]] == ["chat"] * (len(events) + 1)

    # That of one policy says so, and has no other one.
    (tmp_path / "alone").write_text(alone.stdout)
    assert history(None, "--verify", "--from", str(tmp_path / "alone")).exit_code == 0
    other = Path(exported).read_text().splitlines(keepends=True)
    (tmp_path / "alone").write_text("".join([alone.stdout.splitlines(keepends=True)[0], *other[1:]]))
    found = history(None, "--verify", "--from", str(tmp_path / "alone"))
    assert (found.exit_code, "the first line says 'chat' alone" in found.output) == (1, True), found.output

    # Changed in the file, cut in the file, changed in the journal.
    lines = Path(exported).read_text().splitlines(keepends=True)
    for name, spoilt, told in (
        ("changed", [line.replace("an audit", "a nap") for line in lines], "was changed"),
        ("cut", lines[:-1], "the file is cut"),
        ("gap", [*lines[:3], *lines[4:]], "missing"),
        ("order", [lines[0], *lines[2:-1], lines[1], lines[-1]], "it comes after others"),
    ):
        (tmp_path / name).write_text("".join(spoilt))
        found = history(None, "--verify", "--from", str(tmp_path / name), "--json")
        assert (found.exit_code, json.loads(found.output)["whole"]) == (1, False)
        assert told in found.output
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection, connection:
        connection.execute("UPDATE event SET who = 'service@here' WHERE kind = 'Held'")
    found = history(rotator, "--verify")
    assert found.exit_code == 1
    assert f"FAULT chat: event {len(events)} of" in found.output
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection, connection:
        for table in ("event", "policy_state", "journal_chain"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
    found = history(rotator, "--verify")
    assert (found.exit_code, "is empty: nothing was ever recorded" in found.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nobody"], 2, "no policy 'nobody'"),
        (["--verify", "--export", "x"], 2, "exclude each other"),
        (["--from", "x"], 2, "go with --verify"),
        (["chat", "--verify", "--from", "x"], 2, "leave POLICY out"),
        (["--verify", "--from", "not-there"], 1, "No such file"),
        (["--verify", "--from", "rotator.yaml"], 1, "line 1 is no JSON object"),
        (["--verify"], 1, "there is no journal sqlite:///"),
        (["chat", "--verify"], 1, "there is no journal sqlite:///"),
        (["--export", "x"], 1, "there is no journal sqlite:///"),
        ([], 0, "time (UTC)"),
    ],
)
def test_wrong_input_is_told_in_one_line(tmp_path, monkeypatch, arguments, code, told) -> None:
    monkeypatch.chdir(tmp_path)
    given = document(tmp_path, "http://127.0.0.1:9", [policy(in_file(tmp_path / "chat.env"), name="chat")])
    done = history(Rotator(tmp_path, given, {}), *arguments)
    assert (done.exit_code, told in done.output) == (code, True), done.output


class Collector(BaseHTTPRequestHandler):
    """Answers with the status that its path says."""

    seen: list[tuple[str | None, str]] = []  # noqa: RUF012 - one list for the one server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append((self.headers["Authorization"], body))
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_anchor_is_sent_and_a_refusal_is_told_without_the_token(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    token = SecretValue("made-up-token-of-a-collector")
    AnchorEndpoint(f"{url}/204", lambda: token).put('{"number":1}')
    assert Collector.seen == [(f"Bearer {token.reveal()}", '{"number":1}')]
    with pytest.raises(AnchorFailed, match="answered with 302") as refused:
        AnchorEndpoint(f"{url}/302", lambda: token).put("{}")
    server.shutdown()
    server.server_close()
    with pytest.raises(AnchorFailed, match="gives no answer") as away:
        AnchorEndpoint(f"{url}/204", lambda: token).put("{}")
    assert token.reveal() not in f"{refused.value!r} {away.value!r} {away.value.__context__!r}"
    with pytest.raises(AnchorFailed, match="Is a directory"):
        AnchorFile(tmp_path).put("{}")
