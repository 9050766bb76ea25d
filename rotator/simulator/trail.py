"""The trail of requests: what was asked, in order, so that a test can prove what did not happen.

The last 20,000 are kept. Each is one JSON object; no secret is in it.

===============  ==============================================================================================
``n``            1 for the first request since the start or the last reset; without a gap
``at``           when it arrived, by the platform's clock
``method``       of HTTP
``template``     the path with its placeholders, ``(no such path)`` for others
``project_id``   of the path, or null
``key_id``       of the path, or null
``credential``   the id of the key that authorised it, let in or not; null where the platform knows no such key
``effect``       of the fault that met it, or null
``done_at``      when it was carried out or turned down, or null: it never reached the platform
``status``       of the answer; null while there is none, and for ever where none was given
===============  ==============================================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import dropwhile

from rotator.simulator.keys import rfc3339
from rotator.simulator.records import Key

_KEPT = 20_000


@dataclass(slots=True)
class Step:
    """One request; what is not known yet is filled in later."""

    n: int
    at: datetime
    method: str
    template: str
    project_id: str | None
    key_id: str | None
    credential: str | None
    effect: str | None
    done_at: datetime | None = None
    status: int | None = None

    def report(self) -> dict[str, object]:
        """See the module."""
        return {
            "n": self.n,
            "at": rfc3339(self.at),
            "method": self.method,
            "template": self.template,
            "project_id": self.project_id,
            "key_id": self.key_id,
            "credential": self.credential,
            "effect": self.effect,
            "done_at": rfc3339(self.done_at),
            "status": self.status,
        }


class Trail:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=_KEPT)
        self._last = 0

    def clear(self) -> None:
        """Forget all of them, and count from 1."""
        self._steps.clear()
        self._last = 0

    def begin(
        self,
        *,
        at: datetime,
        method: str,
        template: str,
        path: Mapping[str, str],
        credential: Key | None,
        effect: str | None,
    ) -> Step:
        """A request has arrived; ``path`` holds the values of the template's placeholders."""
        self._last += 1
        key_id = None if credential is None else credential.id
        step = Step(self._last, at, method, template, path.get("project_id"), path.get("key_id"), key_id, effect)
        self._steps.append(step)
        return step

    def report(self, after: int = 0) -> list[dict[str, object]]:
        """Those with a number greater than ``after``."""
        return [step.report() for step in dropwhile(lambda step: step.n <= after, self._steps)]
