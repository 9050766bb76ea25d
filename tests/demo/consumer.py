"""A consumer, as a user of the platform would write it: it reads its key where it is kept, and calls the API.

Usage: ``consumer.py dotenv PATH BASE_URL`` or ``consumer.py vault PATH BASE_URL`` (with VAULT_ADDR, VAULT_TOKEN).
Prints ``{"calls": N, "refused": N}`` when it is stopped by SIGTERM or SIGINT.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable

import hvac
from dotenv import dotenv_values
from together import AuthenticationError, Together

FIELD = "TOGETHER_API_KEY"


def main() -> None:
    kind, path, base_url = sys.argv[1:]
    read = {"dotenv": from_dotenv, "vault": from_vault}[kind](path)
    running, calls, refused = True, 0, 0

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    clients: dict[str, Together] = {}
    print("ready", flush=True)
    while running:
        key = read()
        if key not in clients:
            clients = {key: Together(api_key=key, base_url=base_url, max_retries=0)}
        calls += 1
        try:
            clients[key].chat.completions.create(model="demo", messages=[{"role": "user", "content": "hello"}])
        except AuthenticationError:
            refused += 1
        time.sleep(0.02)
    print(json.dumps({"calls": calls, "refused": refused}), flush=True)


def from_dotenv(path: str) -> Callable[[], str]:
    return lambda: dotenv_values(path)[FIELD] or ""


def from_vault(path: str) -> Callable[[], str]:
    client = hvac.Client(url=os.environ["VAULT_ADDR"], token=os.environ["VAULT_TOKEN"])

    def read() -> str:
        answer = client.secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)
        return str(answer["data"]["data"][FIELD])

    return read


if __name__ == "__main__":
    main()
