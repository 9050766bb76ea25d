"""What must be true when a run is at rest. Each violation is a sentence, with the promise that it breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.test_secrets_recorded import files, search
from tests.faults.installation import FIELD, Installation

Rows = list[dict[str, Any]]


def at_the_end(at: Installation, faults: int) -> list[str]:
    """Everything that is not as it must be.

    :param faults: how many there were: each may cost one more key, which is revoked.
    """
    keys, contents = at.stage.simulator.keys(), at.contents()
    ours = at.ours(keys)
    return [
        *_one_key(at, ours, contents),
        *_not_too_many(ours, faults),
        *_nothing_of_others(at, keys, contents),
        *_old_key_ended(at, keys),
        *_no_secret_left(at),
    ]


def _one_key(at: Installation, ours: Rows, contents: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    live = {key["id"] for key in ours if key["state"] == "live"}
    held = at.held(contents)
    if len(set(held.values())) != 1 or set(held.values()) - live:
        names = {key["id"]: f"key {number} ({key['state']})" for number, key in enumerate(ours, 1)}
        told = ", ".join(f"{place} {names.get(key_id, 'another key')}" for place, key_id in held.items())
        yield f"not one live key of ours in every place: {told} (promise 4)"
    leaked = live - set(held.values())
    if leaked:
        yield f"{len(leaked)} live key of ours that no place holds (promise 4)"
    if not all(at.accepted(secret) for secret in {str(content.get(FIELD)) for content in contents.values()}):
        yield "a place holds a key that the provider refuses (promise 1)"


def _not_too_many(ours: Rows, faults: int) -> Iterator[str]:
    if len(ours) > 1 + faults:
        yield f"{len(ours)} keys were made, with {faults} faults"


def _nothing_of_others(at: Installation, keys: Rows, contents: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for place, content in at.expected().items():
        if {**contents[place], FIELD: ""} != content:
            yield f"something beside the key was changed in {place} (promise 7)"
    mode = at.dotenv.stat().st_mode & 0o777
    if mode != 0o600:
        yield f"the dotenv file has mode {mode:o}"
    now = {key["id"]: key for key in keys}
    touched = [key["name"] for key in at.foreign if now.get(key["id"]) != key]
    if touched:
        yield f"keys of others were touched: {', '.join(touched)} (promise 7)"


def _old_key_ended(at: Installation, keys: Rows) -> Iterator[str]:
    states = [key["state"] for key in keys if key["id"] == at.by_hand]
    if states != ["revoked"]:
        yield f"the replaced key is {states[0]}"


def _no_secret_left(at: Installation) -> Iterator[str]:
    """Promise 3, over everything that was written: log, output, journal, and what lies about."""
    left = [path for folder in (at.dotenv.parent, at.folder / "tmp") for path in folder.iterdir() if path != at.dotenv]
    if left:
        yield f"{len(left)} temporary file was left beside a place (promise 3)"
    gate = at.stage.gate
    known = {*gate.secrets.values(), *gate.tokens, *at.environ.values(), *at.neighbours.values()}
    known |= {at.stage.aws_key, at.stage.openbao.token.reveal()}
    found = search(known, files(at.folder, but=at.dotenv))
    for path in sorted({Path(one.partition(": ")[0]) for one in found}):
        yield f"{'a temporary file' if path in left else path.name} shows a secret (promise 3)"
