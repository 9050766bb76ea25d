"""The key-management contract: this project's own page, for Together publishes no such endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import cast

from rotator.simulator.exchange import KEY, KEYS, Answer, Call, Failed, Handler, error, refusal
from rotator.simulator.fields import BadField
from rotator.simulator.model import Platform
from rotator.simulator.paging import as_cursor, limit_of, position_of
from rotator.simulator.records import Key, KeyKind, Project

_LONGEST_NAME = 256
Row = dict[str, object]


def routes(platform: Platform) -> dict[str, dict[str, Handler]]:
    """Path template to method to handler."""
    keys = _Keys(platform)
    return {
        KEYS: {"GET": keys.list, "POST": keys.create},
        KEY: {"PATCH": keys.update, "DELETE": keys.revoke},
    }


def rfc3339(moment: datetime | None) -> str | None:
    """A time as the contract writes it: RFC 3339 in UTC."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def key_object(key: Key) -> dict[str, object]:
    """One key of a project's list."""
    return {
        "id": key.id,
        "name": key.name,
        "project_id": key.project,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "last_used_at": rfc3339(key.last_used_at),
        "created_by": key.created_by,
    }


def key_page(call: Call, keys: Iterable[Key]) -> dict[str, object]:
    """The page of a project's list that the call asks for; ``keys`` are all of the list, in order of creation."""
    after, limit = position_of(call), limit_of(call)
    rows = [*islice((key for key in keys if key.sequence > after), limit + 1)]
    cursor = as_cursor(rows[limit - 1].sequence) if len(rows) > limit else None
    return {"object": "list", "data": [key_object(key) for key in rows[:limit]], "next_cursor": cursor}


def authenticated(platform: Platform, call: Call) -> Key:
    """The key of the call's credential; ``Failed`` with a 401 where the platform does not let it in."""
    key = platform.authenticate(call.bearer())
    if key is None:
        raise Failed(refusal())
    return key


class _Keys:
    """A management credential sees and changes the projects of its organisation."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def _project(self, call: Call, *, changes: bool) -> tuple[Project, Key]:
        key = authenticated(self._platform, call)
        if key.kind is not KeyKind.MANAGEMENT or (changes and key.read_only):
            raise Failed(error(403, "permission_denied", "this credential may not do that"))
        return self._platform.project(call.path["project_id"], key.organization), key

    def list(self, call: Call) -> Answer:
        project, _ = self._project(call, changes=False)
        page = key_page(call, self._platform.live_keys(project))
        return Answer(200, page | {"data": [self._with_creator(row) for row in cast("list[Row]", page["data"])]})

    def _with_creator(self, row: Row) -> Row:
        """With whether the person who made the key is still there; nothing is said of other creators."""
        person = self._platform.users.get(str(row["created_by"]))
        return row if person is None else {**row, "created_by_active": not person.removed}

    def create(self, call: Call) -> Answer:
        project, manager = self._project(call, changes=True)
        wish = call.fields()
        name = wish.text("name")
        if len(name) > _LONGEST_NAME:
            raise BadField("name", f"at most {_LONGEST_NAME} characters are allowed")
        expires_at = self._expiration(wish.moment("expires_at"))
        key, secret = self._platform.add_key(
            KeyKind.PROJECT,
            project.organization,
            name,
            project_id=project.id,
            expires_at=expires_at,
            created_by=manager.id,
        )
        return Answer(201, {**key_object(key), "key": secret})

    def update(self, call: Call) -> Answer:
        project, _ = self._project(call, changes=True)
        key = self._own(project, call.path["key_id"])
        wish = call.fields()
        if not wish.has("expires_at") and not wish.is_null("expires_at"):
            raise BadField("expires_at", "an RFC 3339 time or null is wanted")
        key.expires_at = self._expiration(wish.moment("expires_at"))
        return Answer(200, key_object(key))

    def revoke(self, call: Call) -> Answer:
        project, _ = self._project(call, changes=True)
        self._platform.revoke(self._own(project, call.path["key_id"]))
        return Answer(204)

    def _own(self, project: Project, key_id: str) -> Key:
        legacy = self._platform.organization(project.organization).legacy_key
        if legacy and key_id == legacy:
            return self._platform.key(key_id)
        return self._platform.live_key(project, key_id)

    def _expiration(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= self._platform.now():
            raise BadField("expires_at", "a time in the future is wanted")
        return moment
