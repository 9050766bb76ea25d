"""Whether a policy of IAM allows a request: what the rotator's own policies use of the language, and no more.

Source: IAM User Guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators" and "Multivalued
context keys". An operator or element that is not known here is an error, so that nothing is allowed by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Context = Mapping[str, Sequence[str]]
"""A value list for each key that the request has."""


def allows(policy: Mapping[str, Any], action: str, resource: str, context: Context | None = None) -> bool:
    """Whether some statement allows it. Denials are not known here."""
    return any(_applies(statement, action, resource, context or {}) for statement in policy["Statement"])


def _applies(statement: Mapping[str, Any], action: str, resource: str, context: Context) -> bool:
    unknown = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if unknown or statement["Effect"] != "Allow":
        raise ValueError(f"not known here: {unknown or statement['Effect']}")
    return (
        any(_like(pattern.lower(), action.lower()) for pattern in statement["Action"])
        and any(_like(pattern, resource) for pattern in statement["Resource"])
        and all(
            _holds(operator, _listed(expected), context.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _holds(operator: str, expected: list[str], found: Sequence[str] | None) -> bool:
    match operator:
        case "Null":
            return (found is None) == (expected == ["true"])
        case "StringEquals":
            return found is not None and len(found) == 1 and found[0] in expected
        case "ForAnyValue:StringEquals":
            return any(one in expected for one in found or ())
        case "ForAllValues:StringLike":
            return all(any(_like(pattern, one) for pattern in expected) for one in found or ())
        case _:
            raise ValueError(f"not known here: {operator}")


def _like(pattern: str, text: str) -> bool:
    """``*`` and ``?``, and nothing else."""
    parts = re.split(r"([*?])", pattern)
    expression = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
