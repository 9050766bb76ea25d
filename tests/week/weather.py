"""Random faults at the ports, drawn from a seed: most hours are fair, some are storms."""

from __future__ import annotations

import random
from typing import Any

from rotator.errors import BackendUnavailable, OutcomeUnknown, ProviderUnavailable, VersionConflict
from tests.model.faults import Crash

CHANGES = {"create_key", "write", "revoke_key", "set_expiration"}
BACKEND = {"read", "read_previous", "check_writable", "whereabouts", "write"}
FREE = {"close", "skew"}


class Weather:
    """``storm``: how likely a call fails now; ``crashes``: how likely the process ends at a changing call."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.storm = self.crashes = 0.0
        self.struck = 0

    def turn(self) -> None:
        """Another hour."""
        stormy = self.dice.random() < 0.1
        self.storm = self.dice.choice((0.02, 0.1, 0.4)) if stormy else 0.0005
        self.crashes = 0.1 if stormy else 0.005

    def clear(self) -> None:
        self.storm = self.crashes = 0.0

    def call(self, name: str, effect: Any) -> Any:
        if name in CHANGES and self.dice.random() < self.crashes:
            self.struck += 1
            if self.dice.random() < 0.5:
                effect()
            raise Crash
        if self.dice.random() >= self.storm:
            return effect()
        self.struck += 1
        if name == "write" and self.dice.random() < 0.2:
            raise VersionConflict("somebody wrote")
        if name in CHANGES and self.dice.random() < 0.5:
            if self.dice.random() < 0.5:
                effect()
            raise OutcomeUnknown(f"{name}: no answer")
        raise (BackendUnavailable if name in BACKEND else ProviderUnavailable)(f"{name}: 503")


class Exposed:
    """A port whose calls the weather meets."""

    def __init__(self, port: Any, weather: Weather) -> None:
        self._port, self._weather = port, weather

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._port, name)
        if name in FREE:
            return call
        return lambda *args, **given: self._weather.call(name, lambda: call(*args, **given))
