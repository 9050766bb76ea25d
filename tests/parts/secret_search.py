"""Looks for secrets in what a process wrote, in every form in which they could stand there."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

_PIECE = 12
"""So many bytes of a form are looked up; a thousand secrets cost no more than one."""
_STEP = 12
"""So far apart are the places that are looked at: one of the first pieces of a form begins at one of them."""


def forms(secret: str) -> dict[str, bytes]:
    """The ways in which a secret could have been written."""
    raw = secret.encode()
    made = {
        "plain": raw,
        "first half": raw[: len(raw) // 2] if len(raw) >= 24 else raw,
        "second half": raw[len(raw) // 2 :] if len(raw) >= 24 else raw,
        "hex": raw.hex().encode(),
        "quoted": quote(secret, safe="").encode(),
        "quoted plus": quote_plus(secret).encode(),
        "json": json.dumps(secret)[1:-1].encode(),
        "utf-16": secret.encode("utf-16-le"),
    }
    for shift in range(3):  # where in a longer text the secret began
        skip, end = (0, 2, 3)[shift], (shift + len(raw)) * 8 // 6
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            made[f"{name}, shifted by {shift}"] = encode(b"\0" * shift + raw)[skip:end]
    return made


def search(known: Iterable[str], written: Mapping[str, bytes]) -> list[str]:
    """Where a secret was found, and in which form; never the secret."""
    table: dict[bytes, list[tuple[str, int, bytes]]] = {}
    short: list[tuple[str, bytes]] = []
    for number, secret in enumerate(sorted(known)):
        for form, text in forms(secret).items():
            name = f"{form} of secret {number}"
            if len(text) < _STEP + _PIECE - 1:
                short.append((name, text))
                continue
            for before in range(_STEP):
                table.setdefault(text[before : before + _PIECE], []).append((name, before, text))
    found: dict[str, None] = {}
    for where, content in written.items():
        found |= {f"{where}: {name}": None for name, text in short if text in content}
        for place in range(0, len(content) - _PIECE + 1, _STEP):
            for name, before, text in table.get(content[place : place + _PIECE], ()):
                if place >= before and content.startswith(text, place - before):
                    found[f"{where}: {name}"] = None
    return list(found)


def files(folder: Path, *, but: Path) -> dict[str, bytes]:
    """Every file below, with its name."""
    return {
        str(path): path.name.encode() + b"\n" + path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path != but
    }
