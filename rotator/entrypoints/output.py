"""What can't be printed (a full disk, a reader that has gone) stops no work, and is told at the end.

A command may have changed something before its first line, and much of its work may come after it.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from rotator.entrypoints import exits


def end_with(command: Callable[[], object]) -> NoReturn:
    """Run ``command``, and end the process with its exit code, or with 1 where nobody could read what is fine or found.

    Why is told in one line; not where the reader has gone, who did so on purpose.
    """
    sys.stdout, output = _never_failing(sys.stdout)
    sys.stderr, _ = _never_failing(sys.stderr)
    code: object = exits.OK
    try:
        command()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    if output.lost is not None:
        if output.lost.errno != errno.EPIPE:
            sys.stderr.write(f"rotator: the output can't be written: {output.lost.strerror}\n")
        code = exits.FAILED if code in {None, exits.OK, exits.FOUND} else code
    sys.exit(code)  # type: ignore[arg-type]  # as it was given


class _File(io.FileIO):
    """A file whose ``write`` never fails. What comes after the first loss is lost, too: a gap would go unseen.

    Nothing that is lost waits in a buffer of Python's: it would be tried again at the end, and spoil the exit code.

    :ivar lost: why; ``None`` where nothing was.
    """

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - whatever has bytes
        """See ``io.RawIOBase``."""
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = error
        return len(data)


def _never_failing(stream: TextIO | None) -> tuple[TextIO, _File]:
    """In place of ``stream``, which is ``None`` where the process was started without: then nothing can be written."""
    if stream is None:
        file = _File(os.open(os.devnull, os.O_RDONLY), "w")
        return io.TextIOWrapper(io.BufferedWriter(file), "utf-8", "backslashreplace"), file
    assert isinstance(stream, io.TextIOWrapper), "as Python makes it"
    file = _File(stream.fileno(), "w", closefd=False)
    at_once = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(io.BufferedWriter(file), stream.encoding, stream.errors, line_buffering=at_once), file
