"""What lies around: every file of ours with whom it belongs to, and the directories above it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from rotator.adapters.files import service_user
from rotator.bootstrap_audit import Around
from rotator.config import load
from rotator.domain.audit.checks import examine
from rotator.domain.audit.surroundings import Surroundings
from tests.audit.build import seen
from tests.parts.certificates import Authority

NOBODY = 65534


class Installation:
    """A configuration that has every kind of file, all of them as they should be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "installed"
        self.state = self.folder / "var" / "state.db"
        self.state.parent.mkdir(parents=True, mode=0o755)
        self.state.touch(mode=0o600)
        (self.folder / "log").mkdir()
        (self.folder / "log").chmod(0o775)
        (self.folder / "log" / "anchors.jsonl").touch()
        (self.folder / "log" / "anchors.jsonl").chmod(0o644)
        for name in ("anchor.token", "hook.secret", "http.token"):
            (self.folder / name).write_text("whsec_" + "0123456789abcdef" * 3)
            (self.folder / name).chmod(0o600)
        tls = Authority(self.folder).sign("localhost")
        self.key = tls[1]
        self.key.chmod(0o600)
        place = {"backend": "dotenv", "path": "a.env", "field": "KEY"}
        document = {
            "version": 1,
            "instance": "prod",
            "state": {
                "url": "sqlite:///var/state.db",
                "anchor": {
                    "file": "log/anchors.jsonl",
                    "url": "https://collector.example/",
                    "token": {"file": "anchor.token"},
                },
            },
            "providers": {"together": {"type": "together", "issuance": "assisted"}},
            "notifications": {
                "ops": {"type": "webhook", "url": "https://ops.example/x", "secret": {"file": "hook.secret"}}
            },
            "http": {
                "listen": "127.0.0.1:9464",
                "token": {"file": "http.token"},
                "tls": {"certificate": str(tls[0]), "key": str(tls[1])},
            },
            "policies": [{"name": "chat", "provider": "together", "project": "proj_a", "destinations": [place]}],
        }
        self.config = self.folder / "rotator.yaml"
        self.config.write_text(yaml.safe_dump(document))
        self.config.chmod(0o600)

    def look(self) -> tuple[Surroundings, tuple[str, ...]]:
        settings = load(self.config, {})
        application = SimpleNamespace(endpoints=(None, lambda _backend: None))
        around = Around(application=application, settings=settings, lying={}, environ={})
        return around.look(frozenset({"chat"}), narrowed=False)

    def found(self) -> set[tuple[str, str]]:
        """Findings about files, by the end of their path."""
        surroundings, _ = self.look()
        findings = examine(seen(surroundings=surroundings))
        return {
            (one.rule.id, Path(one.subject).name)
            for one in findings
            if one.rule.id in {"ROT-H07", "ROT-H08", "ROT-H09"}
        }


@pytest.fixture
def installed(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_files_that_are_ours_alone_are_no_finding(installed: Installation) -> None:
    assert installed.found() == set()


@pytest.mark.parametrize(
    ("name", "mode", "finding"),
    [
        ("anchor.token", 0o666, "ROT-H07"),
        ("anchor.token", 0o644, "ROT-H08"),
        ("hook.secret", 0o644, "ROT-H08"),
        ("http.token", 0o640, "ROT-H08"),
        ("log/anchors.jsonl", 0o664, "ROT-H07"),
        (".", 0o777, "ROT-H07"),
        ("..", 0o777, "ROT-H07"),
        ("var", 0o775, "ROT-H07"),
    ],
)
def test_a_file_that_others_can_read_or_exchange_is_found(
    installed: Installation, name: str, mode: int, finding: str
) -> None:
    path = (installed.folder / name).resolve()
    path.chmod(mode)
    try:
        assert (finding, path.name) in installed.found()
    finally:
        path.chmod(0o700)


def test_the_private_key_of_the_listener_is_a_credential(installed: Installation) -> None:
    installed.key.chmod(0o644)
    assert ("ROT-H08", installed.key.name) in installed.found()


def test_a_directory_in_which_everybody_has_only_their_own_is_no_finding(installed: Installation) -> None:
    installed.folder.chmod(0o1777)
    assert installed.found() == set()


@pytest.mark.parametrize("name", ["rotator.yaml", "var", "hook.secret", "."])
def test_what_belongs_to_somebody_else_is_found(
    installed: Installation, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = (installed.folder / name).resolve()
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    else:  # then it is the rotator's user that is somebody else
        monkeypatch.setattr("rotator.bootstrap_audit.service_user", lambda _journal: NOBODY)
    assert ("ROT-H07", path.name) in installed.found()


def test_where_root_asks_the_rotators_user_is_whom_the_journal_belongs_to_and_that_is_told(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        for path in (installed.state, installed.config):
            os.chown(path, NOBODY, NOBODY)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert installed.found() == set()
    _, unknown = installed.look()
    assert [one for one in unknown if "run this as the service's user" in one]


def test_who_can_write_a_journal_of_somebody_else_is_the_rotators_user(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    monkeypatch.setattr("os.access", lambda *_: True)
    assert service_user(installed.state) == 12345
    monkeypatch.setattr("os.access", lambda *_: False)
    assert service_user(installed.state) == installed.state.stat().st_uid
    assert service_user(None) == service_user(installed.folder / "none") == 12345
