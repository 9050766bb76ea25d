"""Promise 3, second line: whatever is logged, and however, no secret is in the line."""

import errno
import io
import json
import logging
import os
import subprocess
import sys

import pytest
import structlog

from rotator import telemetry
from rotator.config import load
from rotator.domain.secret import SecretValue
from rotator.entrypoints.shared import wired
from tests.e2e.installation import document, in_file, policy

TEXT = "tgp_v1_" + "Q" * 43
ODD = "a-credential-without-any-known-shape"


@pytest.fixture
def out():
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    telemetry.configure(level="debug", style="json", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    sys.excepthook = sys.__excepthook__


def raise_with(text):
    local = text
    raise ValueError(f"a library's message with {local}")


def test_promise_3_every_command_with_a_runtime_logs_as_configured_and_no_secret(tmp_path, monkeypatch, out):
    structlog.reset_defaults()
    monkeypatch.setattr(sys, "stderr", out)
    file = tmp_path / "rotator.yaml"
    file.write_text(json.dumps(document(tmp_path, "http://127.0.0.1:9", [policy(in_file(tmp_path / ".env"))])))
    with wired(load(file, {}, secrets=False), read_only=True):
        structlog.get_logger().info("not told")
        structlog.get_logger().error("told", value=TEXT)
    assert [(line["event"], line["value"]) for line in map(json.loads, out.getvalue().splitlines())] == [
        ("told", telemetry.MASK)
    ]


@pytest.mark.parametrize("text", [TEXT, ODD])
def test_promise_3_a_secret_in_any_place_of_a_line_is_redacted(out, text):
    alive = SecretValue(text)
    log = structlog.get_logger()
    log.info("plain", value=text)
    event = f"in the event {text}"
    log.info(event)
    log.info("deep", value={"a": [{"b": (text,)}], text: 1})
    log.info("object", value=ValueError(text), secret=alive, raw=text.encode())
    log.bind(bound=text).info("bound")
    try:
        raise_with(text)
    except ValueError:
        log.exception("crashed")
        logging.getLogger("some.library").exception("crashed in %s", text)
    logging.getLogger("some.library").warning("extra", extra={"field": text})
    assert text not in out.getvalue()
    assert out.getvalue().count(telemetry.MASK) >= 7
    assert alive.reveal() == text


def test_shapes_of_credentials_are_redacted_although_nobody_knows_them(out):
    shapes = [TEXT, "hvs." + "C" * 90, "AKIA" + "ABCDEFGH12345678", "Authorization: Bearer abc.def-ghi"]
    for shape in shapes:
        structlog.get_logger().info("seen", value=shape)
    for shape in ("tgp_v1_Q", "hvs.C", "AKIAABC", "abc.def"):
        assert shape not in out.getvalue()


def test_ordinary_words_stay_readable(out):
    structlog.get_logger().info("destination.published", destination="vault:secret/apps/chat#TOGETHER_API_KEY", n=3)
    line = json.loads(out.getvalue())
    assert (line["destination"], line["n"]) == ("vault:secret/apps/chat#TOGETHER_API_KEY", 3)


@pytest.mark.parametrize("name", ["botocore.parsers", "httpcore.http11", "httpx", "urllib3.connectionpool", "hvac"])
def test_libraries_that_log_requests_and_bodies_stay_silent_at_debug_level(out, name):
    logging.getLogger(name).debug("Response body: %s", ODD)
    assert out.getvalue() == ""


def test_an_uncaught_exception_shows_neither_secret_nor_local_variables():
    script = f"""
from rotator import telemetry
from rotator.config import load
from rotator.domain.secret import SecretValue
from rotator.entrypoints.shared import wired
from tests.e2e.installation import document, in_file, policy
telemetry.configure(level="debug", style="console")
kept = SecretValue("{ODD}")
def crash():
    local = kept.reveal()
    raise RuntimeError(local)
crash()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError" in done.stderr
    assert done.stderr.count(ODD) == done.stderr.count(f'SecretValue("{ODD}")')


def test_no_line_for_a_terminal_has_what_a_terminal_obeys(out):
    stream = io.StringIO()
    telemetry.configure(level="debug", style="console", stream=stream)
    words = "named \x1b[2J\x1b]0;owned\x07 by ada"
    structlog.get_logger().info("seen", name=words)
    logging.getLogger("some.library").warning("it said %s", words)
    try:
        raise_with(words)
    except ValueError:
        structlog.get_logger().exception("crashed")
    text = stream.getvalue()
    assert text.count("owned") >= 3
    assert not set(text) & set("\x1b\x07")
    assert len(text.splitlines()) > 4, "a traceback keeps its lines"


class Disk(io.StringIO):
    """A stream whose disk may be full: then a line is cut, or not written at all."""

    full = False

    def write(self, text):
        if not self.full:
            return super().write(text)
        super().write(text[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(out):
    stream = Disk()
    telemetry.configure(level="debug", style="json", stream=stream)
    return stream


def test_a_line_that_can_not_be_written_is_lost_and_counted_and_stops_nobody_who_logs(disk):
    log = structlog.get_logger()
    log.info("before")
    assert (telemetry.log_trouble(), telemetry.lines_lost()) == ("", 0)
    disk.full = True
    log.info("lost")
    logging.getLogger("some.library").warning("lost as well")
    assert telemetry.lines_lost() == 2
    assert telemetry.log_trouble() == "the log can't be written: No space left on device"
    telemetry.tell_of_lost_lines()
    disk.full = False
    log.info("after")
    assert (telemetry.log_trouble(), telemetry.lines_lost()) == ("", 3)
    for _ in range(2):
        telemetry.tell_of_lost_lines()
    whole = [json.loads(line)["event"] for line in disk.getvalue().splitlines() if line.endswith("}")]
    assert whole == ["before", "after", "log.lines_lost"], "what was cut spoils no other line"


def test_a_log_whose_reader_has_gone_stops_nobody_and_spoils_no_exit_code():
    script = """
import os, sys
from rotator import telemetry
import structlog
reader, writer = os.pipe()
os.dup2(writer, 2)
telemetry.configure(level="debug", style="json")
os.close(reader)
for number in range(3):
    structlog.get_logger().info("said", number=number)
print(telemetry.lines_lost(), telemetry.log_trouble())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3 the log can't be written: Broken pipe\n"), done.stderr
