"""Bad weather: faults of every kind, drawn from a seed, until told to clear up."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from types import TracebackType
from typing import Any, Self

from tests.backends.proxy import Answer, Fault, Request
from tests.soak.stage import TIMEOUT, Stage

_MANAGEMENT = {
    "list": {"method": "GET", "path_regex": "api-keys"},
    "create": {"method": "POST", "path_regex": "api-keys"},
    "shorten": {"method": "PATCH", "path_regex": "api-keys"},
    "revoke": {"method": "DELETE", "path_regex": "api-keys"},
    "whoami": {"method": "GET", "path_regex": "whoami$"},
    "usage": {"method": "GET", "path_regex": "billing/usage$"},
}
"""What the rotator calls; a consumer's own calls meet no fault."""

_RULES: dict[str, dict[str, Any]] = {
    "429": {"effect": "status", "status": 429, "retry_after": "1"},
    "503": {"effect": "status", "status": 503},
    "500, not carried out": {"effect": "error_before"},
    "500, carried out": {"effect": "error_after"},
    "reset, not carried out": {"effect": "reset_before"},
    "reset, carried out": {"effect": "reset_after"},
    "answer cut off": {"effect": "truncated"},
    "a proxy's page": {"effect": "html", "status": 502},
    "latency": {"effect": "hang", "delay": 0.7},
    "carried out after the time-out": {"effect": "hang", "delay": TIMEOUT + 1.5},
}
_USUAL = ("list", "create", "create", "create", "revoke", "revoke", "whoami", "whoami", "usage", "shorten")


def _aws_error(code: str) -> Answer:
    body = json.dumps({"__type": code, "message": "no"}).encode()
    return Answer(400, body, (("Content-Type", "application/x-amz-json-1.1"),))


def _vault_error(status: int) -> Answer:
    return Answer(status, b'{"errors":["no"]}', (("Content-Type", "application/json"),))


_AWS: dict[str, Answer | Fault] = {
    "AWS throttling": _aws_error("ThrottlingException"),
    "AWS answer lost": Fault.LOST_ANSWER,
    "AWS request lost": Fault.LOST_REQUEST,
}
_AWS_CALLS = ("PutSecretValue", "UpdateSecretVersionStage", "GetSecretValue", "TagResource", "DescribeSecret")
_VAULT: dict[str, Answer | Fault] = {
    "OpenBao 503": _vault_error(503),
    "OpenBao 429": _vault_error(429),
    "OpenBao answer lost": Fault.LOST_ANSWER,
    "OpenBao request lost": Fault.LOST_REQUEST,
}
_VAULT_CALLS = ("GET", "POST", "PUT", "PATCH")
_SILENCE = "carried out, never answered"
KINDS = (*_RULES, _SILENCE, *_AWS, *_VAULT, "seal")


class Weather:
    """A thread that makes things go wrong. ``struck`` counts, by kind, what has."""

    def __init__(self, stage: Stage, rng: random.Random, *, rough: float = 1.0) -> None:
        """``rough``: how many faults are added each half second, about, for each of the three services."""
        self._stage, self._rng, self._rough = stage, rng, rough
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._blow, daemon=True)
        self._lock = threading.Lock()
        self.struck: Counter[str] = Counter()
        self.failure = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.clear_up()

    def clear_up(self) -> None:
        """Nothing goes wrong any more; what did not strike yet is forgotten."""
        self._stopping.set()
        self._thread.join()

    @property
    def missing(self) -> list[str]:
        """The kinds that did not strike yet."""
        return [kind for kind in KINDS if not self.struck[kind]]

    def _blow(self) -> None:
        try:
            until_seal, waiting = self._rng.randint(6, 12), list[str]()
            while not self._stopping.wait(0.5):
                self._reap(waiting)
                if until_seal % 5 == 0:
                    self._forget()  # what waits for a rare call would pile up, and then nothing would pass
                until_seal -= 1
                if not until_seal:
                    until_seal = self._rng.randint(15, 40)
                    self._seal()
                waiting = self._provider_faults()
                self._proxy_faults()
        except Exception as error:  # noqa: BLE001 - the run fails with it
            self.failure = f"the weather failed: {type(error).__name__}: {error}"
        finally:
            self._stage.simulator.clear_faults()
            self._forget()

    def _provider_faults(self) -> list[str]:
        """Rules for the next half second. What never came so far is drawn more often."""
        kinds = [self._rng.choice(list(_RULES)) for _ in range(self._how_many())]
        kinds += [kind for kind in _RULES if not self.struck[kind]][:2]
        rules = [{"match": _MANAGEMENT[self._rng.choice(_USUAL)], **_RULES[kind]} for kind in kinds]
        self._stage.simulator.faults(rules)
        return kinds

    def _reap(self, kinds: list[str]) -> None:
        report = self._stage.simulator._call("GET", "faults")
        for kind, rule in zip(kinds, report, strict=True):
            self.struck[kind] += rule["fired"]
        self._stage.simulator.clear_faults()

    def _forget(self) -> None:
        self._stage.wire.forget_silences()
        for proxy in (self._stage.aws.proxy, self._stage.vault):
            proxy.forget_faults()

    def _proxy_faults(self) -> None:
        for _ in range(self._how_many()):
            kind, target = self._rng.choice(list(_AWS)), self._rng.choice(_AWS_CALLS)
            self._stage.aws.proxy.break_once(self._counted(kind, "target", target), _AWS[kind])
            kind, method = self._rng.choice(list(_VAULT)), self._rng.choice(_VAULT_CALLS)
            self._stage.vault.break_once(self._counted(kind, "method", method), _VAULT[kind])

        if self._rng.random() < self._rough / 8:
            self._stage.wire.silence_once(lambda: self.struck.update([_SILENCE]))

    def _counted(self, kind: str, attribute: str, wanted: str) -> Any:
        def matches(request: Request) -> bool:
            if getattr(request, attribute) != wanted:
                return False
            with self._lock:
                self.struck[kind] += 1
            return True

        return matches

    def _seal(self) -> None:
        self._stage.openbao.seal()
        try:
            self._stopping.wait(self._rng.uniform(0.5, 3))
        finally:
            self._stage.openbao.unseal()
        self.struck["seal"] += 1

    def _how_many(self) -> int:
        whole = int(self._rough)
        return whole + (self._rng.random() < self._rough - whole)
