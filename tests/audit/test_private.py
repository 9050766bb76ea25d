"""The file of a report is private, whatever lay there before, and whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rotator.entrypoints.audit.private import put_privately


@pytest.mark.parametrize("mode", [None, 0o644, 0o666, 0o400])
def test_it_is_private_whatever_lay_there_before(tmp_path: Path, mode: int | None) -> None:
    out = tmp_path / "report.html"
    if mode is not None:
        out.write_text("an older one")
        out.chmod(mode)
    put_privately(out, "ü\n")
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (b"\xc3\xbc\n", 0o600)
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_who_reads_the_older_one_reads_on_and_the_newer_one_is_another_file(tmp_path: Path) -> None:
    """A descriptor that somebody has open on a public file shows nothing of what is written there."""
    out = tmp_path / "report.html"
    out.write_text("older")
    with out.open() as reader:
        put_privately(out, "newer")
        assert reader.read() == "older"


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(tmp_path / "report")
    (tmp_path / "report").write_text("older")
    put_privately(tmp_path / "latest", "newer")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "report").read_text() == "newer"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    put_privately(pipe, "report")
    reader.join(timeout=10)
    assert read == ["report"]
    assert pipe.is_fifo()


def test_what_fails_leaves_nothing_and_what_was_there_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("older")
    with pytest.raises(UnicodeEncodeError):
        put_privately(out, "\ud800")
    assert (out.read_text(), [one.name for one in tmp_path.iterdir()]) == ("older", ["report.html"])
    with pytest.raises(OSError, match="No such file"):
        put_privately(tmp_path / "nowhere" / "x", "report")
