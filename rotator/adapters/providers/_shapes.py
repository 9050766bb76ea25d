"""What the provider's answers must look like. ``Malformed`` says what is wrong and repeats nothing of it.

Shapes: the key-management contract of this project; ``types/whoami_*.py`` of the official SDK 3.1.1 for
``GET /v3/whoami``; the platform's API reference for the flat ``GET /v1/whoami``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from rotator.domain.model import Identity, IssuedKey, KeyFacts, KeyKind
from rotator.domain.secret import SecretValue
from rotator.domain.text import printable


class Malformed(Exception):
    """An answer that breaks the contract."""


def issued_key(payload: object, project: str) -> IssuedKey:
    """``201`` of a creation: the key object and ``key``."""
    answer = _object(payload, "the answer")
    return IssuedKey(_facts(answer, project), SecretValue(_text(answer, "key")))


def updated_key(payload: object, project: str, key_id: str) -> KeyFacts:
    """``200`` of a change: the key object, of that key."""
    facts = _facts(_object(payload, "the answer"), project)
    if facts.key_id != key_id:
        raise Malformed("id is not the key that was asked for")
    return facts


def key_page(payload: object, project: str) -> tuple[list[KeyFacts], str | None]:
    """``200`` of a list: its rows, and the cursor of the next page (``None`` on the last one)."""
    page = _object(payload, "the answer")
    rows = page.get("data")
    if not isinstance(rows, list):
        raise Malformed("data is not a list")
    return [_facts(_object(row, "a row"), project) for row in rows], _optional_text(page, "next_cursor") or None


def identity(payload: object) -> Identity:
    """``200`` of ``GET /v3/whoami``: ``type`` and nested objects. A type that is no key is ``KeyKind.OTHER``."""
    answer = _object(payload, "the answer")
    kind = _text(answer, "type")
    if kind == KeyKind.PROJECT:
        return Identity(
            kind=KeyKind.PROJECT,
            key_id=_text(_object(answer.get("api_key"), "api_key"), "id"),
            project=_text(_object(answer.get("project"), "project"), "id"),
            project_name=_name(_object(answer.get("project"), "project").get("name")),
            organization=_text(_object(answer.get("organization"), "organization"), "id"),
        )
    if kind == KeyKind.LEGACY:
        return Identity(
            kind=KeyKind.LEGACY,
            key_id=_text(_object(answer.get("api_key"), "api_key"), "id"),
            project=None,
            organization=_text(_object(answer.get("organization"), "organization"), "id"),
        )
    return Identity(kind=KeyKind.OTHER, key_id="", project=None)


def flat_identity(payload: object) -> Identity:
    """``200`` of ``GET /v1/whoami``. It has no type: a key that names no project is the organisation's."""
    answer = _object(payload, "the answer")
    project = _optional_text(answer, "project_id") or None
    return Identity(
        kind=KeyKind.LEGACY if project is None else KeyKind.PROJECT,
        key_id=_text(answer, "api_key_id"),
        project=project,
        organization=_text(answer, "organization_id"),
        project_name=_name(answer.get("project_name")),
    )


def usage_page(payload: object) -> tuple[list[tuple[str, datetime]], str | None]:
    """``200`` of ``GET /v1/billing/usage``: which key was billed in a window that ended when, and the next cursor."""
    page = _object(payload, "the answer")
    windows = page.get("data")
    if not isinstance(windows, list):
        raise Malformed("data is not a list")
    billed = []
    for window in (_object(row, "a window") for row in windows):
        end, items = _moment(window, "end_time"), window.get("line_items")
        if end is None or not isinstance(items, list):
            raise Malformed("a window lacks end_time or line_items")
        attributes = (_object(item, "a line item").get("attributes") for item in items)
        ids = {one.get("api_key_id") for one in attributes if isinstance(one, dict)}
        billed += [(key_id, end) for key_id in ids if isinstance(key_id, str)]
    return billed, _optional_text(page, "next_cursor") or None


def rfc3339(moment: datetime) -> str:
    """A time as the contract writes it. ``ValueError`` for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _facts(row: dict[str, object], project: str) -> KeyFacts:
    facts = KeyFacts(
        key_id=_text(row, "id"),
        name=printable(_optional_text(row, "name") or ""),  # a person's key may have none; ours always does
        project=_text(row, "project_id"),
        created_at=_moment(row, "created_at"),
        expires_at=_moment(row, "expires_at"),
        last_used_at=_moment(row, "last_used_at"),
        created_by=printable(_optional_text(row, "created_by") or "") or None,
        creator_left=_creator_left(row),
    )
    if facts.project != project:
        raise Malformed("project_id is not the project that was asked for")
    return facts


def _creator_left(row: dict[str, object]) -> bool | None:
    """``created_by_active`` says that the creator is still there; an optional field of the contract."""
    active = row.get("created_by_active")
    if active is not None and not isinstance(active, bool):
        raise Malformed("created_by_active is not true or false")
    return None if active is None else not active


def _object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Malformed(f"{name} is not a JSON object")
    return value


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise Malformed(f"{name} is not a string, or empty, or can't be printed")
    return value


def _name(value: object) -> str:
    """A name for people: nothing depends on it, so that whatever is no text is none."""
    return value if isinstance(value, str) and value.isprintable() else ""


def _optional_text(fields: dict[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise Malformed(f"{name} is not a string")
    return value


def _moment(fields: dict[str, object], name: str) -> datetime | None:
    text = _optional_text(fields, name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Malformed(f"{name} is not an RFC 3339 time with an offset")
