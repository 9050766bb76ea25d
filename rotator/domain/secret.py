"""The only type that holds a key's secret, and what may be known of it elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import weakref
from typing import NewType, NoReturn, SupportsIndex

Fingerprint = NewType("Fingerprint", str)
"""The first 128 bits of a domain-separated SHA-256 of a secret, as 32 hexadecimal digits.

A key has more than 200 bits of entropy, so its fingerprint does not help anybody to guess it. A value that
a person typed may have less, so a fingerprint leaves memory only for values that the provider knows as keys.
"""

_SEPARATOR = b"rotator fingerprint v1\0"
_MASK = "SecretValue(**********)"

# What the redacting log processor looks for. Weak: knowing a secret must not keep it alive.
_alive: weakref.WeakValueDictionary[int, SecretValue] = weakref.WeakValueDictionary()


class SecretValue:
    """A secret in memory. It can't be printed, pickled, copied, hashed or compared by accident.

    ``reveal()`` is the one way to the text; it is called by adapters, in the line that sends it, and by
    ``domain.layout``, which puts a key into the text that an adapter sends.
    """

    __slots__ = ("__weakref__", "_text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError("a SecretValue is made from a str")
        self._text = text
        _alive[id(self)] = self

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def fingerprint(self) -> Fingerprint:
        """What may be written down instead of the secret."""
        return Fingerprint(hashlib.sha256(_SEPARATOR + self._text.encode("utf-8", "surrogatepass")).hexdigest()[:32])

    def same_as(self, other: SecretValue | Unjudged) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(
            self._text.encode("utf-8", "surrogatepass"), other.reveal().encode("utf-8", "surrogatepass")
        )

    def is_header_safe(self) -> bool:
        """Whether the text can be sent in an HTTP header: printable ASCII without blanks, and not empty.

        HTTP libraries quote a header that they refuse in their exception; such a value must never reach them.
        """
        return bool(self._text) and all("!" <= character <= "~" for character in self._text)

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return _MASK

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("compare secrets with same_as(), or by fingerprint")

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a SecretValue can't be pickled or copied")


class Unjudged:
    """What anybody may have sent: hidden like a secret, and yet none.

    What is written meanwhile is not searched for it: whoever sends the name of a metric would blank that everywhere.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """What was sent."""
        return self._text

    def __repr__(self) -> str:
        return "Unjudged(**********)"

    __str__ = __repr__


def secrets_in_memory() -> list[str]:
    """The text of every ``SecretValue`` that is alive, for the redacting log processor alone."""
    # valuerefs() copies in one step; values() would fail when another thread makes a secret meanwhile.
    return [secret.reveal() for secret in (ref() for ref in _alive.valuerefs()) if secret is not None]
