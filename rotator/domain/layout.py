"""How a key lies in a destination: alone or in a JSON template, with facts in fields beside it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rotator.domain.secret import SecretValue
from rotator.errors import WrongDestination

KEY = "{key}"
FACTS = ("key_id", "project", "policy", "instance", "rotation_id", "created", "expires")
"""What can stand in a template or beside the key, by its name in ``KeyMetadata``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The format of a value.

    :param template: a JSON object, as text; ``{key}`` in exactly one of its texts is the key, ``{key_id}`` and the
        other ``FACTS`` are filled in. Empty: the value is the key alone.
    :param beside: further fields of the same secret, each with the name of its fact.
    """

    template: str = ""
    beside: tuple[tuple[str, str], ...] = field(default=())

    def encode(self, key: SecretValue, facts: Mapping[str, str]) -> SecretValue:
        """The whole value."""
        if not self.template:
            return key
        texts = {KEY: key.reveal(), **{f"{{{name}}}": facts.get(name, "") for name in FACTS}}
        return SecretValue(json.dumps(_mapped(json.loads(self.template), lambda text: _filled(text, texts))))

    def decode(self, value: SecretValue | None) -> SecretValue | None:
        """The key in a value; ``None`` where there is none.

        A value that is no JSON object is a key that a person put there alone, or that was written before there was
        a template. ``WrongDestination`` where it is an object of another form: it is not ours to replace.
        """
        if value is None or not self.template:
            return value
        found: Any = _object(value.reveal())
        if found is None:
            return value
        path, around = _place_of_key(json.loads(self.template))
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        before, after = around.split(KEY)
        if not isinstance(found, str) or not (found.startswith(before) and found.endswith(after)):
            raise WrongDestination("what it holds does not have the form of the template")
        key = found[len(before) : len(found) - len(after)]
        return SecretValue(key) if key else None

    def fields(self, facts: Mapping[str, str]) -> dict[str, str]:
        """What is written beside the key."""
        return {name: facts.get(fact, "") for name, fact in self.beside}


PLAIN = Layout()
"""The key alone."""


def problem_of(template: Mapping[str, Any]) -> str:
    """What is wrong with a template, fit for people; empty when nothing is."""
    count = json.dumps(template, default=str).count(KEY)
    if count != 1:
        return f"{KEY} {'is missing' if not count else f'stands there {count} times'}"
    try:
        _place_of_key(template)
    except ValueError as error:
        return str(error)
    except KeyError:
        return f"{KEY} stands in a name"
    return ""


def _mapped(node: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 -- whatever JSON can say
    if isinstance(node, str):
        return change(node)
    if isinstance(node, Mapping):
        return {name: _mapped(value, change) for name, value in node.items()}
    if isinstance(node, list):
        return [_mapped(value, change) for value in node]
    return node


def _filled(text: str, texts: Mapping[str, str]) -> str:
    # One pass over the template's text: what was filled in is not looked through again.
    made, rest = "", text
    while rest:
        name = next((name for name in texts if rest.startswith(name)), None)
        made += texts[name] if name else rest[0]
        rest = rest[len(name) if name else 1 :]
    return made


def _place_of_key(node: Mapping[str, Any]) -> tuple[list[str], str]:
    """The path to the text with the key, and that text. ``ValueError`` where it can't be found again."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            try:
                path, text = _place_of_key(value)
            except KeyError:
                continue
            return [name, *path], text
        if isinstance(value, str) and KEY in value:
            if any(f"{{{fact}}}" in value for fact in FACTS):
                raise ValueError(f"{KEY} and a fact stand in one text, so that the key can't be found again")
            return [name], value
        if isinstance(value, list) and KEY in json.dumps(value):
            raise ValueError(f"{KEY} stands in a list")
    raise KeyError(KEY)


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
