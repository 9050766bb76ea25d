"""Notifications: the section, and the names by which policies choose channels."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec

from rotator.config.check import Faults
from rotator.config.secrets import SIGNING, Follow
from rotator.config.settings import AppriseSettings, ChannelSettings, WebhookSettings
from rotator.config.shapes.notifications import CHANNELS, AppriseShape, ChannelShape, WebhookShape
from rotator.config.source import FieldPath
from rotator.domain.channel import Rules
from rotator.domain.notices import Kind, Level

_LONGEST = timedelta(minutes=1)


class ChannelReader:
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

    def read(self, given: object) -> dict[str, ChannelSettings]:
        """The channels by name."""
        typed = self._faults.typed(given, "notifications", CHANNELS, "a type of channel")
        made = {name: self._channel(name, checked, path) for name, checked, path in typed}
        return {name: settings for name, settings in made.items() if settings}

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
                self._faults.bound(checked.timeout, _LONGEST, (*path, "timeout"))
                if find_spec("apprise") is None:
                    allowed = "allowed: once it is installed: pip install 'rotator[notifications]'"
                    self._faults.add((*path, "type"), "'apprise', a package that is missing", allowed)
                url = self._reference(checked.url, (*path, "url"))
                return AppriseSettings(rules=rules, url=url, timeout=checked.timeout) if url else None
            case WebhookShape():
                self._faults.bound(checked.timeout, _LONGEST, (*path, "timeout"))
                self._url(checked.url, (*path, "url"))
                secret = self._reference(checked.secret, (*path, "secret"), form=SIGNING)
                if secret is None:
                    return None
                return WebhookSettings(rules=rules, url=checked.url, secret=secret, timeout=checked.timeout)
            case _:
                return None
