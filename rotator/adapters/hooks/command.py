"""A hook that is a command: a program with arguments, never a shell.

It gets an environment of its own, for the service's holds credentials; and its output goes nowhere, for nobody knows
what it prints.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from rotator import process
from rotator.domain.text import duration
from rotator.errors import HookFailed
from rotator.ports import News

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STEP = 100
"""Milliseconds after which it is looked whether the service is to stop."""

# Python ignores these, and an ignored signal stays ignored in a new program. Source: signal(7).
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHook:
    """Succeeds when the program ends with 0 in time.

    :param command: the program's absolute path, and its arguments.
    :param timeout: then it gets SIGTERM, with all in its process group.
    :param patience: so much later what is left of that group gets SIGKILL.
    """

    command: tuple[str, ...]
    timeout: timedelta
    patience: timedelta = timedelta(seconds=5)

    def tell(self, hook: str, news: News, pulse: Callable[[], None]) -> None:
        """See ``ports.HookRunner``."""
        environ = _environment(hook, news)
        with process.child(lambda: self._start(environ)) as pid:
            handle = os.pidfd_open(pid)
            try:
                try:
                    in_time = _ends(handle, self.timeout, pulse)
                except BaseException:
                    self._end(pid)
                    raise
                if not in_time:
                    self._end(pid)
            finally:
                _, status = os.waitpid(pid, 0)
                os.close(handle)
        if not in_time:
            raise HookFailed(f"it did not end within {duration(self.timeout)}, and was ended")
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            raise HookFailed(f"it ended with {code}" if code > 0 else f"{signal.Signals(-code).name} ended it")

    def _start(self, environ: Mapping[str, str]) -> int:
        """In a session of its own, so that it can be ended with all that it starts.

        Not by ``subprocess``: the service blocks signals in all its threads, and a child would inherit that.
        """
        nothing = [
            (os.POSIX_SPAWN_OPEN, number, os.devnull, flags, 0)
            for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY))
        ]
        try:
            return os.posix_spawn(
                self.command[0],
                self.command,
                environ,
                file_actions=nothing,
                setsid=True,
                setsigmask=(),
                setsigdef=_IGNORED,
            )
        except OSError as error:
            raise HookFailed(f"it can't be started: {error.strerror}") from None
        except ValueError:  # the provider's text is not what a variable can hold
            raise HookFailed(
                "it can't be started: what it would be told has a character that no variable can hold"
            ) from None

    def _end(self, pid: int) -> None:
        """The whole group. Its leader is not reaped yet, so that the number can't be another one's meanwhile.

        Others of the group may live on when the leader has ended: a shell does not wait for what it has started.
        """
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + self.patience.total_seconds()
        while process.is_group_alive(pid) and time.monotonic() < deadline:
            time.sleep(_STEP / 1000)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _ends(handle: int, within: timedelta, pulse: Callable[[], None]) -> bool:
    """Whether the process of that handle ends in time."""
    deadline = time.monotonic() + within.total_seconds()
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    while not poll.poll(_STEP):
        pulse()
        if time.monotonic() >= deadline:
            return False
    return True


def _environment(hook: str, news: News) -> dict[str, str]:
    return {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/"),
        "ROTATOR_HOOK": hook,
        "ROTATOR_INSTANCE": news.instance,
        "ROTATOR_POLICY": news.policy,
        "ROTATOR_PROJECT": news.project,
        "ROTATOR_KEY_ID": news.key_id,
        "ROTATOR_OLD_KEY_IDS": json.dumps(news.old_key_ids),
        "ROTATOR_DESTINATIONS": json.dumps(news.destinations),
        **({"ROTATOR_TEST": "1"} if news.test else {}),
    }
