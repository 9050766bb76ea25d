"""A first inventory: which keys already lie in the backends, and whose each is. It lists, reads and asks whoami.

**What is sent to the provider.** A whoami carries the value itself, so a secret of somebody else's must never be asked
about. Sent is only a value that begins with ``tgp_v1_``, as the platform's keys do, or one in a field that the operator
has named; and only if it could be a key at all: a short text without blanks. What looks as if it might hold a key and
was not sent is told by its place, and never with its content. A key is asked about once, wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from rotator.domain.model import Identity, Refused
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.errors import BackendError, ProviderError
from rotator.ports import KeyProvider, Listing, Spot

PREFIX = "tgp_v1_"
"""What the platform's keys begin with (seen, not documented); the legacy organisation key may not."""

_LONGEST = 512  # characters of a value that is asked about


class Sending(StrEnum):
    """What is done about a field."""

    ASK = "ask"
    OTHER_FORM = "its value has another form than a key's, and was not sent; name the field with --field to ask"
    WITHIN = "a key stands within another text there: write the policy by hand, with a template"
    NO_KEY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One field that holds a key."""

    backend: str
    spot: Spot
    field: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.backend}:{self.spot.name}" + (f"#{self.field}" if self.field else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One value, and all places that hold it.

    :param answer: what the provider says of it; a text where it could not be asked.
    """

    places: tuple[Place, ...]
    answer: Identity | Refused | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What was found, in the order of the places. ``aside`` and ``problems``: name of a place, and what is with it."""

    found: tuple[Found, ...]
    aside: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]
    looked_at: int


@dataclass(slots=True)
class _Pile:
    """What is gathered on the way; the secrets are in memory only, and in no repr."""

    secrets: dict[Fingerprint, SecretValue] = field(default_factory=dict, repr=False)
    places: dict[Fingerprint, list[Place]] = field(default_factory=dict)
    aside: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def sending(name: str, value: SecretValue, named: Collection[str]) -> Sending:
    """What is done about a field of this name and value.

    :param named: fields that the operator wants to be asked about whatever they hold.
    """
    text = value.reveal()
    could_be = value.is_header_safe() and len(text) <= _LONGEST
    if could_be and (text.startswith(PREFIX) or name in named):
        return Sending.ASK
    if PREFIX in text:
        return Sending.WITHIN
    return Sending.OTHER_FORM if "together" in name.lower() or name in named else Sending.NO_KEY


def take_inventory(
    searches: Sequence[tuple[str, str]],
    *,
    listings: Callable[[str], Listing],
    provider: Callable[[], KeyProvider],
    named: Collection[str],
    workers: int,
) -> Inventory:
    """Look through backends.

    :param searches: backend and pattern.
    :param provider: who is asked; only where there is something to ask.
    """
    pile = _Pile()
    spots = _spots(searches, listings, pile)
    with ThreadPoolExecutor(workers, thread_name_prefix="inventory") as pool:
        read = pool.map(lambda one: _fields(listings, *one), spots)
        for (backend, spot), fields in zip(spots, read, strict=True):
            _sort(pile, backend, spot, fields, named)
        ask = _asking(provider) if pile.secrets else str
        answers = list(pool.map(ask, pile.secrets.values()))
    found = [
        Found(places=tuple(places), answer=answer) for places, answer in zip(pile.places.values(), answers, strict=True)
    ]
    return Inventory(found=tuple(found), aside=tuple(pile.aside), problems=tuple(pile.problems), looked_at=len(spots))


def _spots(
    searches: Sequence[tuple[str, str]], listings: Callable[[str], Listing], pile: _Pile
) -> list[tuple[str, Spot]]:
    found: dict[tuple[str, Spot], None] = {}
    for backend, pattern in searches:
        try:
            listed = listings(backend).places(pattern)
        except BackendError as error:
            pile.problems.append((f"{backend}:{pattern}", str(error)))
            continue
        pile.problems += [(f"{backend}:{name}", why) for name, why in listed.problems]
        found |= dict.fromkeys((backend, spot) for spot in listed.spots)
    return list(found)


def _fields(listings: Callable[[str], Listing], backend: str, spot: Spot) -> Mapping[str, SecretValue] | str:
    try:
        return listings(backend).fields(spot)
    except BackendError as error:
        return str(error)


def _sort(
    pile: _Pile, backend: str, spot: Spot, fields: Mapping[str, SecretValue] | str, named: Collection[str]
) -> None:
    if isinstance(fields, str):
        pile.problems.append((f"{backend}:{spot.name}", fields))
        return
    for name, value in fields.items():
        place = Place(backend=backend, spot=spot, field=name)
        what = sending(name, value, named)
        if what is Sending.ASK:
            fingerprint = value.fingerprint()
            pile.secrets.setdefault(fingerprint, value)
            pile.places.setdefault(fingerprint, []).append(place)
        elif what is not Sending.NO_KEY:
            pile.aside.append((place.name, str(what)))


def _asking(provider: Callable[[], KeyProvider]) -> Callable[[SecretValue], Identity | Refused | str]:
    def ask(secret: SecretValue) -> Identity | Refused | str:
        try:
            return provider().identify(secret)
        except (ProviderError, BackendError) as error:
            return str(error)

    return ask
