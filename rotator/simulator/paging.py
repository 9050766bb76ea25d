"""Pages of a list: ``limit``, ``after`` and ``next_cursor``, as the SDK's cursor pages have them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from rotator.simulator.exchange import Answer, Call
from rotator.simulator.fields import BadField

_T = TypeVar("_T")

_LARGEST_PAGE = 1000


def page(call: Call, things: Sequence[_T], shape: Callable[[_T], object], **more: object) -> Answer:
    """The page of ``things`` that the call asks for; ``more`` stands beside it."""
    start, limit = position_of(call), limit_of(call)
    end = start + limit
    cursor = as_cursor(end) if end < len(things) else None
    data = [shape(thing) for thing in things[start:end]]
    return Answer(200, {"object": "list", "data": data, "next_cursor": cursor, **more})


def limit_of(call: Call) -> int:
    """How many rows the call wants at most; ``BadField`` where it says nonsense."""
    text = call.query.get("limit", "100")
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= _LARGEST_PAGE:
        raise BadField("limit", f"1 to {_LARGEST_PAGE} is wanted")
    return int(text)


def as_cursor(position: int) -> str:
    """A cursor that stands behind ``position``, which is 1 or more."""
    return base64.urlsafe_b64encode(f"after:{position}".encode()).decode()


def position_of(call: Call) -> int:
    """Behind which position the call wants to go on; 0 for the start, ``BadField`` where it says nonsense."""
    text = call.query.get("after", "")
    if not text:
        return 0
    try:
        word, _, position = base64.urlsafe_b64decode(text).decode("ascii").partition(":")
        if word == "after":
            return int(position)
    except (binascii.Error, ValueError):
        pass
    raise BadField("after", "a cursor from next_cursor is wanted")
