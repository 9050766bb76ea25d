"""What can go wrong on purpose. *When* it does is decided by ``rotator.simulator.plan``; ``wire`` carries it out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rotator.simulator.fields import Fields

_STATUSES = range(200, 600)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.6.2
_PRINTABLE = re.compile(r"[ -~]*")
_STALE_BY = 60.0  # seconds


class Effect(StrEnum):
    """What goes wrong; "before" and "after" say whether the request was carried out meanwhile."""

    # --- no answer, or one of somebody else
    ERROR_BEFORE = "error_before"  # an error answer (``status``, default 500); not carried out
    ERROR_AFTER = "error_after"  # carried out, then an error answer (``status``, default 500)
    STATUS = "status"  # the same as error_before, default 503: with ``retry_after`` a rate limit
    REFUSE_KEYS = "refuse_keys"  # 401 invalid_api_key, whatever the credential; not carried out
    HANG = "hang"  # no answer for ``delay`` seconds, then carried out (a late effect); without delay never
    HANG_AFTER = "hang_after"  # carried out, then never an answer
    LATE_ANSWER = "late_answer"  # carried out at once, the true answer ``delay`` seconds later
    RESET_BEFORE = "reset_before"  # the connection breaks; not carried out
    RESET_AFTER = "reset_after"  # carried out, then the connection breaks
    HTML = "html"  # a page of some proxy (``status``, default 200); not carried out
    TRUNCATED = "truncated"  # carried out; the connection breaks in the middle of the answer's body, if it has one
    TRUNCATED_JSON = "truncated_json"  # carried out; a complete answer of which the body is the first half

    # --- lies: carried out, and an answer that is well-formed and wrong (``rotator.simulator.lies``)
    WRONG_PROJECT = "wrong_project"  # list, create, update, whoami: another project
    OTHER_KEY_ID = "other_key_id"  # create, update, whoami: the id of another key of the project
    OTHER_NAME = "other_name"  # create: another name (``name``)
    BORN_EXPIRED = "born_expired"  # create: the new key expired an hour ago, and is refused
    EMPTY_LIST = "empty_list"  # list: no rows
    PARTIAL_LIST = "partial_list"  # list: every second row is missing, the newest one of the page first
    STALE_LIST = "stale_list"  # list: as it was ``age`` seconds ago (default 60)
    PHANTOM_ROW = "phantom_row"  # list: one more row (``name``, default the newest row's), of a key that is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    :param status: of an error answer or a page; 0 takes the effect's default.
    :param headers: of an error answer: ``Retry-After``, ``x-ratelimit-reset``, ...
    :param delay: seconds to wait before anything else happens (``late_answer``: before the answer); ``None`` for
        none (``hang``: for ever).
    :param age: seconds, of a stale list.
    :param name: of a key that is not there, or not so called.
    """

    effect: Effect
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float | None = None
    age: float = _STALE_BY
    name: str = ""


def fault(wish: Fields) -> Fault:
    """A fault as a rule writes it; ``BadField`` names what is wrong with it."""
    effect = wish.choice("effect", Effect)
    status = int(wish.number("status", 0))
    if status and status not in _STATUSES:
        raise wish.bad("status", f"{_STATUSES.start} to {_STATUSES.stop - 1} is wanted")
    if effect is Effect.LATE_ANSWER and not wish.has("delay"):
        raise wish.bad("delay", f"{effect} needs it: how many seconds later the answer comes")
    for name, takers in (("age", (Effect.STALE_LIST,)), ("name", (Effect.OTHER_NAME, Effect.PHANTOM_ROW))):
        if wish.has(name) and effect not in takers:
            raise wish.bad(name, f"only {' and '.join(takers)} can have it")
    return Fault(
        effect=effect,
        status=status,
        headers=_headers(wish),
        delay=wish.number("delay") if wish.has("delay") else None,
        age=wish.between("age", 0, 1e9, _STALE_BY),
        name=wish.text("name", ""),
    )


def _headers(wish: Fields) -> dict[str, str]:
    headers = wish.texts("headers")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _PRINTABLE.fullmatch(value):
            raise wish.bad("headers", "names and values that HTTP allows are wanted")
    for field_, header in (("retry_after", "Retry-After"), ("ratelimit_reset", "x-ratelimit-reset")):
        if wish.has(field_):
            headers[header] = wish.text_or_number(field_)
            if not _PRINTABLE.fullmatch(headers[header]):
                raise wish.bad(field_, "a value that HTTP allows is wanted")
    return headers
