"""A report has no secret, and shows where all of them are: its file is private, whatever lay there before."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def put_privately(output: Path, text: str) -> None:
    """The text, in a file of mode 0600 that is there as a whole or not at all. Raises ``OSError``.

    What is no file (a pipe, ``/dev/stdout``) is written to as it is.
    """
    target = Path(os.path.realpath(output))  # a link stays one
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(output.stat().st_mode):
            with output.open("w", encoding="utf-8", newline="") as stream:
                stream.write(text)
            return
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
