"""A backend in memory that keeps the whole contract, and fails where a test says so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rotator.domain.model import Destination, Held, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import VersionConflict, WrongDestination

Call = Literal["read", "read_previous", "whereabouts", "check_writable", "write", "destroy"]
When = Literal["before", "after"]


@dataclass
class _Place:
    """One place with several fields, one version for all of them, as in KV v2."""

    version: int = 0
    fields: dict[str, SecretValue] = field(default_factory=dict)
    previous: dict[str, SecretValue] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)


class FakeBackend:
    """Implements ``rotator.ports.SecretBackend``. ``calls`` counts by name; ``changes`` lists what was written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[tuple[tuple[str, str], ...], _Place] = {}
        self._faults: dict[tuple[Call, int, When], Exception] = {}
        self.calls: Counter[str] = Counter()
        self.changes: list[str] = []
        self.closed = False
        self.place = "here"

    def fail(self, call: Call, error: Exception, *, nth: int = 1, when: When = "before") -> None:
        """The ``nth`` such call from now raises ``error``, before or after its effect."""
        self._faults[call, self.calls[call] + nth, when] = error

    def put_by_hand(self, destination: Destination, text: str | None) -> None:
        """What a person does: write or delete, whatever was there."""
        with self._lock:
            place, name = self._find(destination)
            self._store(place, {name: None if text is None else SecretValue(text)})

    def read(self, destination: Destination) -> Held:
        """See the port."""
        number = self._begin("read")
        with self._lock:
            place, name = self._find(destination)
            held = Held(
                value=_key_in(place.fields.get(name), destination),
                version=str(place.version),
                metadata=dict(place.metadata.get(name, {})),
            )
        self._end("read", number)
        return held

    def read_previous(self, destination: Destination) -> SecretValue | None:
        """See the port."""
        number = self._begin("read_previous")
        with self._lock:
            place, name = self._find(destination)
            previous = _key_in(place.previous.get(name), destination)
        self._end("read_previous", number)
        return previous

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:
        """See the port. ``place`` is whatever a test sets."""
        self._end("whereabouts", self._begin("whereabouts"))
        return {"place": self.place}

    def check_writable(self, destination: Destination) -> None:
        """See the port."""
        number = self._begin("check_writable")
        with self._lock:
            place, name = self._find(destination)
            _key_in(place.fields.get(name), destination)
        self._end("check_writable", number)

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """See the port."""
        number = self._begin("write")
        with self._lock:
            place, name = self._find(destination)
            held = _key_in(place.fields.get(name), destination)
            ours = held is not None and held.same_as(value)
            if not ours and str(place.version) != expected:
                raise VersionConflict(f"{destination}: at version {place.version}, not {expected}")
            facts = metadata.as_pairs()
            texts = {name: destination.layout.encode(value, facts)}
            texts |= {other: SecretValue(text) for other, text in destination.layout.fields(facts).items()}
            if not all(name in place.fields and place.fields[name].same_as(text) for name, text in texts.items()):
                self._store(place, texts, same_key=ours)
            if not ours:
                self.changes.append(destination.name)
            place.metadata[name] = facts
        self._end("write", number)

    def destroy(self, destination: Destination, expected: str) -> None:
        """See ``Destroyer``."""
        number = self._begin("destroy")
        with self._lock:
            place, _ = self._find(destination)
            if str(place.version) != expected:
                raise VersionConflict(f"{destination}: at version {place.version}, not {expected}")
            place.fields.clear()
            place.previous.clear()
            place.metadata.clear()
        self._end("destroy", number)

    def close(self) -> None:
        """See the port."""
        self.closed = True

    def _find(self, destination: Destination) -> tuple[_Place, str]:
        options = tuple(sorted(pair for pair in destination.options if pair[0] != "field"))
        return self._places.setdefault(options, _Place()), destination.option("field") or ""

    def _store(self, place: _Place, fields: Mapping[str, SecretValue | None], *, same_key: bool = False) -> None:
        place.version += 1
        for name, value in fields.items():
            old = place.fields.pop(name, None)
            if old is not None and not same_key:
                place.previous[name] = old
            if value is not None:
                place.fields[name] = value

    def _begin(self, call: Call) -> int:
        with self._lock:
            self.calls[call] += 1
            number = self.calls[call]
        self._raise(call, number, "before")
        return number

    def _end(self, call: Call, number: int) -> None:
        self._raise(call, number, "after")

    def _raise(self, call: Call, number: int, when: When) -> None:
        error = self._faults.pop((call, number, when), None)
        if error is not None:
            raise error


def _key_in(whole: SecretValue | None, destination: Destination) -> SecretValue | None:
    try:
        return destination.layout.decode(whole)
    except WrongDestination as error:
        raise WrongDestination(f"{destination}: {error}") from None
