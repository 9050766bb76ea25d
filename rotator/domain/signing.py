"""Secrets that sign webhooks. Source: the Standard Webhooks specification, 1.0.0, "Signature scheme". Pure."""

from __future__ import annotations

import base64
import binascii

from rotator.domain.secret import SecretValue

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64

SIGNING_FORM = f"'{_PREFIX}' and {_SHORTEST} to {_LONGEST} bytes in base64"
"""What each of them has to be, in words."""


def signing_keys(secret: SecretValue) -> list[bytes]:
    """The keys in it, a word each; none where a word is of another form.

    The library would take any text for one, and sign with what is left of it.
    """
    found = []
    for text in secret.reveal().split():
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            return []
        if not text.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
            return []
        found.append(key)
    return found
