"""Adapters that are made when they are first needed, and once; part of ``bootstrap``."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from rotator.ports import KeyProvider, SecretBackend

_Adapter = TypeVar("_Adapter", bound=KeyProvider | SecretBackend)


class Lazy(Generic[_Adapter]):
    """Adapters by their name in the configuration, each made when it is first asked for.

    Making one can take as long as a backend that holds its credential hangs: it keeps nobody from another one.
    """

    def __init__(self, make: Callable[[str], _Adapter]) -> None:
        self._make: Callable[[str], _Adapter] = make
        self._made: dict[str, _Adapter] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def __call__(self, name: str) -> _Adapter:
        made = self._made.get(name)
        if made is None:
            with self._lock:
                lock = self._locks[name]
            with lock:
                made = self._made.get(name)
                if made is None:
                    made = self._made[name] = self._make(name)
        return made

    def made(self) -> list[tuple[str, _Adapter]]:
        """What was needed so far, by name."""
        return list(self._made.items())

    def close(self) -> None:
        """Close every one that was made, side by side: each may ask a server that hangs. What fails is told."""
        made, self._made = self._made, {}
        threads = [
            threading.Thread(target=_close, args=(name, adapter), name=f"closing {name}", daemon=True)
            for name, adapter in made.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _close(name: str, adapter: KeyProvider | SecretBackend) -> None:
    try:
        adapter.close()
    except Exception:  # noqa: BLE001 - whatever a library says at its end
        structlog.get_logger().exception("adapter.not_closed", adapter=name)
