"""Hooks: the section, and the names by which policies ask for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from rotator.config.check import Faults, shown
from rotator.config.secrets import IN_HEADER, Follow
from rotator.config.settings import CommandHookSettings, HookSettings, HttpHookSettings
from rotator.config.shapes.fields import Shape
from rotator.config.shapes.hooks import HOOKS, CommandHookShape, HttpHookShape, SystemdHookShape
from rotator.config.source import FieldPath

_LONGEST = timedelta(minutes=10)
"""A look that waits longer for one hook is no progress any more."""

_SYSTEMCTL = ("/usr/bin/systemctl", "--no-ask-password")


class HookReader:
    """Reads the section; what is wrong goes to ``faults``."""

    def __init__(
        self,
        faults: Faults,
        *,
        reference: Follow,
        url: Callable[[str, FieldPath], None],
    ) -> None:
        self._faults = faults
        self._reference = reference
        self._url = url

    def read(self, given: object) -> dict[str, HookSettings]:
        """The hooks by name."""
        typed = self._faults.typed(given, "hooks", HOOKS, "a type of hook")
        made = {name: self._hook(checked, path) for name, checked, path in typed}
        return {name: settings for name, settings in made.items() if settings}

    def _hook(self, checked: Shape, path: FieldPath) -> HookSettings | None:
        timeout: timedelta = getattr(checked, "timeout")  # noqa: B009 - every shape in the table has it
        self._faults.bound(timeout, _LONGEST, (*path, "timeout"))
        match checked:
            case CommandHookShape():
                if not checked.command[0].startswith("/"):
                    allowed = "allowed: the absolute path of a program (there is no shell that would search for it)"
                    self._faults.add((*path, "command", 0), shown(checked.command[0]), allowed)
                return CommandHookSettings(command=tuple(checked.command), timeout=timeout)
            case SystemdHookShape():
                return CommandHookSettings(command=(*_SYSTEMCTL, checked.action, "--", checked.unit), timeout=timeout)
            case HttpHookShape():
                self._url(checked.url, (*path, "url"))
                given, where = checked.token, (*path, "token")
                token = None if given is None else self._reference(given, where, form=IN_HEADER)
                return HttpHookSettings(url=checked.url, token=token, timeout=timeout)
            case _:
                return None
