"""Notifications: the section, and the names by which policies choose channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec

from rotator.config.check import Faults, shown
from rotator.config.secrets import SecretRef
from rotator.config.settings import AppriseSettings, ChannelSettings, WebhookSettings
from rotator.config.shapes.notifications import CHANNELS, AppriseShape, ChannelShape, WebhookShape
from rotator.config.source import FieldPath
from rotator.domain.channel import Rules
from rotator.domain.notices import Kind, Level
from rotator.domain.text import duration

_LONGEST = timedelta(minutes=1)


class ChannelReader:
    """Reads the section; what is wrong goes to ``faults``."""

    def __init__(
        self,
        faults: Faults,
        *,
        reference: Callable[[object, FieldPath], SecretRef | None],
        url: Callable[[str, FieldPath], None],
    ) -> None:
        self._faults = faults
        self._reference = reference
        self._url = url

    def read(self, given: object) -> dict[str, ChannelSettings]:
        """The channels by name."""
        made: dict[str, ChannelSettings] = {}
        for name, value, path in self._faults.named(given, "notifications"):
            shape = self._faults.one_of(CHANNELS, value.get("type"), (*path, "type"), "a type of channel")
            checked = self._faults.check(shape, value, path) if shape else None
            if checked and (settings := self._channel(name, checked, path)):
                made[name] = settings
        return made

    def _channel(self, name: str, checked: ChannelShape, path: FieldPath) -> ChannelSettings | None:
        rules = Rules(
            name=name,
            events=frozenset(map(str, checked.events or Kind)),
            policies=tuple(checked.policies),
            level=Level(checked.level),
            per_hour=checked.max_per_hour,
            failed_after=checked.failed_after,
        )
        match checked:
            case AppriseShape():
                self._check_timeout(checked.timeout, path)
                if find_spec("apprise") is None:
                    allowed = "allowed: once it is installed: pip install 'rotator[notifications]'"
                    self._faults.add((*path, "type"), "'apprise', a package that is missing", allowed)
                url = self._reference(checked.url, (*path, "url"))
                return AppriseSettings(rules=rules, url=url, timeout=checked.timeout) if url else None
            case WebhookShape():
                self._check_timeout(checked.timeout, path)
                self._url(checked.url, (*path, "url"))
                secret = self._reference(checked.secret, (*path, "secret"))
                if secret is None:
                    return None
                return WebhookSettings(rules=rules, url=checked.url, secret=secret, timeout=checked.timeout)
            case _:
                return None

    def _check_timeout(self, timeout: timedelta, path: FieldPath) -> None:
        if timeout > _LONGEST:
            self._faults.add((*path, "timeout"), duration(timeout), f"allowed: at most {duration(_LONGEST)}")


def channel_names(
    given: Sequence[str], path: FieldPath, channels: Mapping[str, ChannelSettings], written: object, faults: Faults
) -> tuple[str, ...]:
    """The channels that a policy, or the defaults, name.

    :param written: the section as written: the faults of an entry that can't be made are reported where it stands.
    """
    for number, name in enumerate(given):
        if name in given[:number]:
            faults.add((*path, number), shown(name), "allowed: each channel once")
        elif not (name in written if isinstance(written, Mapping) else written):
            faults.one_of(channels, name, (*path, number), "a configured channel")
    return tuple(given)
