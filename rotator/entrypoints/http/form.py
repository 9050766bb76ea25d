"""The form of the page of a link: what a person says with it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs

from rotator.domain.record import Expiration
from rotator.domain.secret import SecretValue, Unjudged

_FIELDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A key, and the expiration that it was given."""

    key: SecretValue
    expires: Expiration


def read(sent: Unjudged) -> Form:
    """The form. Only for who has an open link: its key becomes a secret. Raises ``ValueError`` with a sentence."""
    try:
        fields = parse_qs(sent.reveal(), keep_blank_values=True, errors="replace", max_num_fields=_FIELDS)
    except ValueError:
        raise ValueError("that was not this form: nothing was taken") from None
    said = {name: values[-1] for name, values in fields.items()}
    key = SecretValue(said.pop("key", ""))
    if not key.reveal().strip():
        raise ValueError("the key is missing: nothing was handed over")
    return Form(key=key, expires=_expiration(said))


def _expiration(said: dict[str, str]) -> Expiration:
    date = said.get("date", "")
    answer = said.get("expires", "")
    if answer not in {"as-requested", "other", "never"}:
        raise ValueError("that was not this form: nothing was taken")
    if date and answer != "other":
        raise ValueError("you chose a date, and another answer: nothing was taken, send the key again")
    if answer == "never":
        return Expiration(None)
    try:
        # What was asked for may be another by now: what counts is what the person had before their eyes.
        return Expiration.on(date if answer == "other" else said.get("asked", ""))
    except ValueError:
        why = "say on which date the key expires (YYYY-MM-DD): nothing was taken, send the key again"
        raise ValueError(why if answer == "other" else "that was not this form: nothing was taken") from None
