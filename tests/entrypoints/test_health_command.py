"""``rotator health``, as a container's health check runs it."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from rotator.adapters.journal.sql import SqlJournal
from rotator.entrypoints.cli import cli
from tests.e2e.installation import document, in_file, policy
from tests.pages.sample import TOKEN, Stage, serving
from tests.parts.certificates import Authority


def health(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["health", *arguments])


def configured(folder: Path, **rest: object) -> str:
    file = folder / "rotator.yaml"
    file.write_text(yaml.safe_dump(document(folder, "http://127.0.0.1:1", [policy(in_file(folder / ".env"))], **rest)))
    return str(file)


def test_it_asks_the_service_that_the_configuration_names_and_needs_no_secret(tmp_path: Path) -> None:
    stage = Stage()
    with serving(stage, TOKEN) as address:
        port = address.rstrip("/").rpartition(":")[2]
        http = {"listen": f"0.0.0.0:{port}", "token": {"env": "A_TOKEN_THAT_IS_NOT_HERE"}}
        config = configured(tmp_path, http=http)
        alive = health("--config", config)
        assert (alive.exit_code, alive.stdout) == (0, "ok\n")
        assert health("--url", address).exit_code == 0
        stage.dead = "the scheduler runs no jobs"
        hanging = health("--config", config)
        assert (hanging.exit_code, hanging.stderr) == (1, "rotator: /healthz answers 503: stuck\n")
        stage.broken = True
        unready = health("--ready", "--config", config)
        assert unready.exit_code == 1
        assert "the journal can't be read" in unready.stderr
    gone = health("--config", config)
    assert gone.exit_code == 1
    assert "no answer" in gone.stderr


def test_by_https_it_trusts_the_certificate_of_the_configuration_and_no_other(tmp_path: Path) -> None:
    """It stands for a name that people use, and not for the address that is asked."""
    mine, others = (Authority(tmp_path, name).sign(f"{name}.example") for name in ("mine", "others"))
    with serving(Stage(), tls=mine) as address:
        port = address.rstrip("/").rpartition(":")[2]
        for tls, code in ((mine, 0), (others, 1)):
            http = {"listen": f"127.0.0.1:{port}", "tls": {"certificate": str(tls[0]), "key": str(tls[1])}}
            asked = health("--config", configured(tmp_path, http=http))
            assert asked.exit_code == code, asked.output
        assert "certificate verify failed" in asked.stderr
        assert "certificate verify failed" in health("--url", address).stderr
        missing = configured(tmp_path, http={**http, "tls": {"certificate": "gone.pem", "key": "gone.pem"}})
        assert health("--config", missing).exit_code == 2


def test_without_http_it_is_whether_the_journal_is_there_and_can_be_read(tmp_path: Path) -> None:
    config = configured(tmp_path)
    missing = health("--config", config)
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert missing.stderr.startswith("rotator: there is no journal ")
    journal = SqlJournal.open(f"sqlite:///{tmp_path}/state.db", is_dead=lambda _holder: True)
    fresh = health("--config", config)
    journal.acquire("chat", "the service", datetime.now(UTC), timedelta(minutes=5))
    journal.close()
    used = health("--config", config)
    for done in (fresh, used):
        assert (done.exit_code, done.stderr) == (0, "")
        assert "nobody can ask the service itself" in done.stdout
    (tmp_path / "state.db").write_text("no database")
    broken = health("--config", config)
    assert broken.exit_code == 1
    assert broken.stderr.startswith("rotator: the journal ")


def test_what_does_not_speak_http_is_not_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        done = health("--url", url)
        thread.join()
    assert done.exit_code == 1
    assert "no answer" in done.stderr


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:9464", "ftp://127.0.0.1:9464", "http://127.0.0.1", "http://h:1/x", "http://h:port", "http://[::1"],
)
def test_a_wrong_address_is_refused_with_a_sentence(url: str) -> None:
    done = health("--url", url)
    assert done.exit_code == 2
    assert "a URL like http://127.0.0.1:9464 is needed" in done.stderr


def test_a_port_that_the_service_picks_has_to_be_told(tmp_path: Path) -> None:
    done = health("--config", configured(tmp_path, http={"listen": "127.0.0.1:0"}))
    assert done.exit_code == 2
    assert "--url" in done.stderr
