"""The units of systemd/: systemd itself finds nothing wrong with them, and little that they could be abused for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from rotator.config import load
from tests.parts.rotator import COMMAND

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ("rotator.service", "rotator-once.service")
MOST_EXPOSURE = 15  # tenths: systemd's scale goes to 10.0
PROGRAM = "/opt/rotator/bin/rotator"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: install it (Debian: apt-get install systemd)"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def settings_of(unit: str) -> list[str]:
    """The lines of a unit that say something."""
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they are, but for the program's place, which is where it is installed here."""
    for unit in UNITS.iterdir():
        if unit.is_file() and unit.suffix in {".service", ".timer"}:
            (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, COMMAND[0]))
    return tmp_path


@pytest.mark.parametrize("unit", [*SERVICES, "rotator-once.timer"])
def test_systemd_finds_nothing_wrong_with_a_unit(unit: str, installed: Path) -> None:
    done = analyze("verify", "--recursive-errors=no", "--man=no", str(installed / unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_what_is_wrong_with_a_unit(installed: Path) -> None:
    """The test before can fail."""
    unit = installed / "rotator.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in analyze("verify", "--recursive-errors=no", "--man=no", str(unit)).stderr


@pytest.mark.parametrize("dropped_in", [(), ("dotenv.conf",)])
@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_exposed_at_most_1_5_of_10(unit: str, dropped_in: tuple[str, ...], installed: Path) -> None:
    text = (installed / unit).read_text()
    for name in dropped_in:  # as systemd reads a drop-in: after the unit
        text = text.replace("[Install]", "") + (UNITS / "drop-ins" / name).read_text()
    (installed / unit).write_text(text)
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSURE}", str(installed / unit))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"exposure level for \S+: [01]\.\d ", done.stdout)


def test_both_services_are_confined_alike_and_get_the_same_credentials() -> None:
    service, once = (settings_of(unit) for unit in SERVICES)
    confined = service[service.index("DynamicUser=yes") : service.index("[Install]")]
    assert once[once.index("DynamicUser=yes") :] == confined
    assert [line for line in service if "Credential" in line] == [line for line in once if "Credential" in line]


def test_the_watchdog_waits_longer_than_a_slow_journal_and_the_manager_longer_than_a_shutdown(tmp_path: Path) -> None:
    settings = dict(line.split("=", 1) for line in settings_of("rotator.service") if "=" in line)
    for name in ("management-key", "vault-role-id", "vault-secret-id"):
        (tmp_path / name).write_text("x")
    loaded = load(UNITS / "rotator.yaml", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings["Type"] == "notify"
    assert settings["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(settings["WatchdogSec"].removesuffix("s")) >= 60
    assert int(settings["TimeoutStopSec"].removesuffix("s")) > loaded.service.shutdown_timeout.total_seconds()
    assert settings["RestartPreventExitStatus"] == "2 243"


def test_every_secret_of_the_example_is_a_credential_that_the_units_name() -> None:
    text = (UNITS / "rotator.yaml").read_text()
    named = set(re.findall(r"\{credential: ([\w-]+)\}", text))
    assert not re.search(r"\{(env|file):", text)
    assert yaml.safe_load(text)["state"]["url"].startswith("sqlite:////var/lib/rotator/")
    for unit in SERVICES:
        offered = re.findall(r"^#?LoadCredential=([\w-]+):(\S+)$", (UNITS / unit).read_text(), re.MULTILINE)
        assert named <= {name for name, _ in offered}
        assert all(path == f"/etc/rotator/credentials/{name}" for name, path in offered)
