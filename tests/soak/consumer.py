"""Consumers: each reads a key where it is kept, and calls the API with it, all the time.

Reads its task as JSON from standard input, prints ``ready``, then a line for each refused call, and its counts when
it is stopped. One thread uses the official SDK, the others bare HTTP. Only fingerprints are printed.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.exceptions
import httpx
from dotenv import dotenv_values
from together import APIConnectionError, AuthenticationError, Together

from rotator.domain.secret import SecretValue

FIELD = "TOGETHER_API_KEY"
THREADS = 2
PAUSE = 0.02  # seconds between two calls of one thread
MOST_LINES = 50
_UNREACHABLE = (httpx.TransportError, APIConnectionError, botocore.exceptions.HTTPClientError)


class Consumers:
    """All threads, and what they have seen."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._aws = boto3.Session("testing", "testing", region_name=task["aws"]["region"]).client(
            "secretsmanager", endpoint_url=task["aws"]["url"]
        )
        self._vault = httpx.Client(
            base_url=f"{task['vault']['url']}/v1/{task['vault']['mount']}/data/",
            headers={"X-Vault-Token": task["vault"]["token"]},
            trust_env=False,
            timeout=20,
        )
        self._api = httpx.Client(base_url=task["base_url"], trust_env=False, timeout=20)

    def read(self, place: dict[str, str]) -> str | None:
        """The key that a place holds; ``None`` where it can't be read now (sealed, throttled)."""
        match place["kind"]:
            case "dotenv":
                return dotenv_values(place["where"])[FIELD]
            case "openbao":
                answer = self._vault.get(place["where"])
                return str(answer.json()["data"]["data"][FIELD]) if answer.status_code == 200 else None
            case _:
                try:
                    answer = self._aws.get_secret_value(SecretId=place["where"])
                except botocore.exceptions.ClientError:
                    return None
                return str(json.loads(answer["SecretString"])[FIELD])

    def by_http(self, key: str) -> bool:
        """Whether a call with this key is accepted."""
        body = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}
        answer = self._api.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})
        return answer.status_code == 200

    def by_sdk(self, key: str) -> bool:
        """The same with the official SDK."""
        client = Together(api_key=key, base_url=self.task["base_url"], max_retries=0)
        try:
            client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "hello"}])
        except AuthenticationError:
            return False
        finally:
            client.close()
        return True

    def run(self, call: Callable[[str], bool], name: str, seed: int) -> None:
        """One thread: place after place, until told to stop."""
        places = list(self.task["places"])
        random.Random(seed).shuffle(places)
        while True:
            for place in places:
                if self.stopping.wait(PAUSE):
                    return
                self.once(place, call, name)

    def once(self, place: dict[str, str], call: Callable[[str], bool], name: str) -> None:
        begun = time.monotonic()
        try:
            key = self.read(place)
            if not key:
                self._count("unreadable" if key is None else "empty")
                return
            accepted = call(key)
        except _UNREACHABLE:  # everything is being stopped
            self._count("unreachable")
            return
        self._count("calls", f"calls {name}")
        took = time.monotonic() - begun
        if accepted:
            return
        # A consumer that takes longer from reading its key to using it than the grace lasts is late itself.
        what = "late" if took > self.task["grace"] else "refused"
        self._count(what)
        told = {"what": what, "policy": place["policy"], "place": place["name"], "took": round(took, 3)}
        told |= {"at": datetime.now(UTC).isoformat(), "fingerprint": SecretValue(key).fingerprint(), "client": name}
        if self.counts[what] <= MOST_LINES:
            print(json.dumps(told), flush=True)

    def _count(self, *names: str) -> None:
        with self.lock:
            self.counts.update(names)


def main() -> None:
    consumers = Consumers(json.load(sys.stdin))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: consumers.stopping.set())
    clients = [(consumers.by_sdk, "sdk"), *[(consumers.by_http, "http")] * THREADS]
    threads = [
        threading.Thread(target=consumers.run, args=(*client, seed), daemon=True) for seed, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.2)
        if not consumers.stopping.is_set() and not all(thread.is_alive() for thread in threads):
            sys.exit("a consumer ended by itself")
    print(json.dumps({"what": "counts", **consumers.counts}), flush=True)


if __name__ == "__main__":
    main()
