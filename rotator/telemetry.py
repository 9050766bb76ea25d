"""Logging: structlog, JSON or for a terminal, with a redacting processor as second line of defence.

The first line is that no call hands a secret to a logger. The second, here, replaces every secret that is alive
in memory, and everything that is shaped like a credential, in every line that leaves the process.

A log that can't be written (a full disk, a reader that has gone) stops nobody: lines are lost, counted and told of.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
from collections.abc import MutableMapping
from typing import ClassVar, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from rotator.domain.secret import SecretValue, secrets_in_memory
from rotator.domain.text import printable, printable_lines

MASK = "[redacted]"

_SHAPES = re.compile(
    r"tgp_v1_[\w-]+"  # Together
    r"|\bhv[sbr]\.[\w.-]{20,}"  # Vault tokens; the random part is base64url
    r"|\b[sbr]\.[A-Za-z0-9]{20,}[\w.-]*"  # OpenBao tokens
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS access key ids
    r"|(?<=Bearer )[^\s'\"]+"
)

_CHATTY = ("alembic", "apprise", "apscheduler", "asyncio", "boto3", "botocore", "httpcore", "httpx", "hvac", "oauthlib",
           "requests", "requests_oauthlib", "sqlalchemy", "stamina", "urllib3")  # fmt: skip
"""Libraries that log requests, headers or bodies at debug level: they stay at warning, whatever we are set to."""

_SHORTEST = 8
"""A shorter text is not searched for: it would mask half of every line, and no credential is that short."""


def configure(*, level: str, style: str, stream: TextIO | None = None) -> None:
    """Set up logging for the whole process.

    :param level: ``debug``, ``info``, ``warning`` or ``error``.
    :param style: ``json``, ``console``, or ``auto``: ``console`` where the stream is a terminal.
    :param stream: standard error by default, so that standard output stays for results.
    """
    given = stream or sys.stderr
    out = _Lines.current = _Lines(given)
    console = style == "console" or (style == "auto" and given.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain text, because tracebacks with local variables would show what we take care to hide.
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=given.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(default=repr)
    )
    ending: list[Processor] = [_harmless, renderer] if console else [renderer]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", out)),
        cache_logger_on_first_use=True,
    )
    _capture_standard_logging(shared, ending, level, out)
    sys.excepthook = _log_uncaught


def lines_lost() -> int:
    """How many lines of the log could not be written since it was set up."""
    return _Lines.current.lost if _Lines.current else 0


def log_trouble() -> str:
    """Why the last line could not be written; empty where it was."""
    problem = _Lines.current.problem if _Lines.current else ""
    return f"the log can't be written: {problem}" if problem else ""


def tell_of_lost_lines() -> None:
    """Log how many, unless that was told. To be called until it is written: so the log is known to be well again."""
    lines = _Lines.current
    if lines and lines.lost > lines.told:
        structlog.get_logger().error("log.lines_lost", lines=lines.lost)
        if not lines.problem:
            lines.told = lines.lost


def redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Replace secrets in every value of a log line, however deep."""
    alive = [secret for secret in secrets_in_memory() if len(secret) >= _SHORTEST]
    return {key: _clean(value, alive) for key, value in event_dict.items()}


def redact_text(text: str) -> str:
    """The same for a text that goes somewhere else than to the log."""
    return _clean_text(text, [secret for secret in secrets_in_memory() if len(secret) >= _SHORTEST])


def shown(text: str) -> str:
    """As people read it: redacted, and harmless to a terminal. Before it is laid out: a layout cuts it into lines."""
    return printable(redact_text(text))


def _clean(value: object, alive: list[str]) -> object:
    match value:
        case str():
            return _clean_text(value, alive)
        case None | bool() | int() | float():
            return value
        case SecretValue():
            return MASK
        case MutableMapping():
            return {str(_clean(key, alive)): _clean(item, alive) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(item, alive) for item in value]
        case _:
            return _clean_text(repr(value) if not isinstance(value, BaseException) else str(value), alive)


def _clean_text(text: str, alive: list[str]) -> str:
    for secret in alive:
        if secret in text:
            text = text.replace(secret, MASK)
    return _SHAPES.sub(MASK, text)


def _harmless(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Without what a terminal would obey: JSON escapes it, lines for a terminal do not."""
    return {key: printable_lines(value) if isinstance(value, str) else value for key, value in event_dict.items()}


class _Lines(io.TextIOBase):
    """Where the log goes. A line that can't be written is lost and counted, and whoever logs goes on.

    A file is written to as it is: what waited in a buffer of Python's would be tried again at the end of the process,
    and a failure there spoils its exit code.

    :ivar lost: lines so far.
    :ivar told: how many of them were told of.
    :ivar problem: of the last line; empty where it was written.
    """

    current: ClassVar[_Lines | None] = None

    def __init__(self, stream: TextIO) -> None:
        self.lost = self.told = 0
        self.problem = ""
        self._lock = threading.Lock()
        try:
            file = io.FileIO(stream.fileno(), "w", closefd=False)
        except OSError:  # it is no file, but in memory
            self._stream: io.TextIOBase | TextIO = stream
        else:
            self._stream = io.TextIOWrapper(file, stream.encoding, "backslashreplace", write_through=True)

    def write(self, text: str) -> int:
        """One line. Never raises ``OSError``."""
        with self._lock:
            # What was cut in the middle spoils its own line alone.
            whole = f"\n{text}" if self.problem else text
            try:
                self._stream.write(whole)
                self._stream.flush()
            except OSError as error:
                self.lost += 1
                self.problem = error.strerror or type(error).__name__
            else:
                self.problem = ""
        return len(text)


def _capture_standard_logging(shared: list[Processor], ending: list[Processor], level: str, out: _Lines) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: object) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return
    structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))
