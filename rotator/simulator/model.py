"""The platform's rules, without HTTP: organisations, projects, users, keys, use.

What is public of these rules stands in the platform's documentation (pages "API keys and authentication",
"Projects"): a project key works only in its project; a key outlives the collaborator who made it; a key made
before there were projects belongs to the default project; the legacy organisation key can't be revoked, only
regenerated. A secret is shown once, so the platform keeps its digest only.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from rotator.simulator.records import Key, KeyKind, Missing, Organization, Project, Refusal, Settings, User
from rotator.simulator.usage import Ledger

_T = TypeVar("_T")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Platform:
    """All organisations of the simulated platform. Not safe for several threads: one event loop owns it."""

    def __init__(self, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._wall = wall
        self.reset()

    def reset(self) -> None:
        """Forget everything, the clock's advance too."""
        self.organizations: dict[str, Organization] = {}
        self.projects: dict[str, Project] = {}
        self.users: dict[str, User] = {}
        self.keys: dict[str, Key] = {}
        self.settings = Settings()
        self.ledger = Ledger()
        self._by_digest: dict[bytes, Key] = {}
        self._advance = timedelta(0)

    # --- time ---------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The platform's time: the wall clock and what a test added to it."""
        return self._wall() + self._advance

    def advance(self, duration: timedelta) -> None:
        """Let time pass at once."""
        self._advance += duration

    # --- what exists ----------------------------------------------------------------------------------------

    def organization(self, organization_id: str) -> Organization:
        """That organisation, or ``Missing``."""
        return _found(self.organizations.get(organization_id), "organization")

    def project(self, project_id: str, organization_id: str | None = None) -> Project:
        """That project (of that organisation, where one is named), or ``Missing``."""
        project = self.projects.get(project_id)
        if project is not None and organization_id is not None and project.organization != organization_id:
            project = None
        return _found(project, "project")

    def key(self, key_id: str) -> Key:
        """That key of any kind, or ``Missing``."""
        return _found(self.keys.get(key_id), "key")

    def live_key(self, project: Project, key_id: str) -> Key:
        """That key of the project, or ``Missing`` when it was revoked, has expired, or never was there."""
        key = _found(project.keys.get(key_id), "key")
        if key.is_expired(self.now()):
            raise Missing("key")
        return key

    def live_keys(self, project: Project) -> Iterator[Key]:
        """What the project's list shows now, in order of creation."""
        now = self.now()
        shown = now - timedelta(seconds=self.settings.list_after)
        return (key for key in project.keys.values() if key.created_at <= shown and not key.is_expired(now))

    def keys_listed_at(self, project: Project, moment: datetime) -> Iterator[Key]:
        """What the project's list showed at a moment before now: keys with the dates that they have today."""
        shown = moment - timedelta(seconds=self.settings.list_after)
        return (
            key
            for key in self.keys.values()
            if key.project == project.id
            and key.created_at <= shown
            and not key.is_expired(moment)
            and (key.revoked_at is None or key.revoked_at > moment)
        )

    # --- making -----------------------------------------------------------------------------------------------

    def add_organization(self, name: str, *, id_: str = "", billing_usage: bool = True) -> Organization:
        """A new organisation, with no project and no key."""
        organization = Organization(_free(self.organizations, id_ or new_id("org")), name, billing_usage)
        self.organizations[organization.id] = organization
        return organization

    def add_project(self, organization_id: str, name: str, *, id_: str = "", slug: str = "") -> Project:
        """A new project; the first one of an organisation is its default project."""
        organization = self.organization(organization_id)
        slug = slug or "-".join(name.lower().split())
        project = Project(_free(self.projects, id_ or new_id("proj")), name, slug, organization.id)
        self.projects[project.id] = project
        organization.default_project = organization.default_project or project.id
        return project

    def add_user(self, organization_id: str, name: str, *, id_: str = "") -> User:
        """A new collaborator."""
        user = User(_free(self.users, id_ or new_id("user")), name, self.organization(organization_id).id)
        self.users[user.id] = user
        return user

    def remove_user(self, user_id: str) -> None:
        """The person leaves the organisation; the keys that they made stay."""
        _found(self.users.get(user_id), "user").removed = True

    def add_key(
        self,
        kind: KeyKind,
        organization_id: str,
        name: str,
        *,
        project_id: str | None = None,
        expires_at: datetime | None = None,
        created_at: datetime | None = None,
        created_by: str | None = None,
        read_only: bool = False,
        id_: str = "",
        secret: str = "",
    ) -> tuple[Key, str]:
        """A new credential and its secret. A project key without a project belongs to the default one."""
        organization = self.organization(organization_id)
        if kind is KeyKind.PROJECT:
            project_id = self.project(project_id or organization.default_project, organization.id).id
        secret = secret or new_secret()
        now = self.now()
        key = Key(
            id=_free(self.keys, id_ or new_id("key")),
            name=name,
            kind=kind,
            organization=organization.id,
            project=project_id if kind is KeyKind.PROJECT else None,
            created_by=created_by,
            created_at=created_at or now,
            accepted_from=(created_at or now) + timedelta(seconds=self.settings.accept_after),
            sequence=len(self.keys) + 1,
            digest=_digest(secret),
            expires_at=expires_at,
            read_only=read_only,
        )
        if key.digest in self._by_digest:
            raise Refusal("another key has this secret")
        self.keys[key.id] = key
        self._by_digest[key.digest] = key
        if key.project is not None:
            self.projects[key.project].keys[key.id] = key
        return key, secret

    # --- changing ---------------------------------------------------------------------------------------------

    def revoke(self, key: Key) -> None:
        """Revoke for ever. ``Refusal`` for the legacy organisation key, which can only be regenerated."""
        if key.kind is KeyKind.LEGACY:
            raise Refusal("the legacy organization key can't be revoked, only regenerated")
        now = self.now()
        if key.revoked_at is None:
            key.revoked_at = now
            key.refused_from = now + timedelta(seconds=self.settings.refuse_after)
        if key.project is not None:
            self.projects[key.project].keys.pop(key.id, None)

    def regenerate_legacy_key(self, organization_id: str, secret: str = "") -> tuple[Key, str]:
        """Give the organisation a legacy key, or its legacy key a new secret; the old secret ends at once."""
        organization = self.organization(organization_id)
        if not organization.legacy_key:
            key, secret = self.add_key(KeyKind.LEGACY, organization_id, "legacy organization key", secret=secret)
            organization.legacy_key = key.id
            return key, secret
        key, secret = self.keys[organization.legacy_key], secret or new_secret()
        del self._by_digest[key.digest]
        key.digest = _digest(secret)
        self._by_digest[key.digest] = key
        return key, secret

    # --- use ----------------------------------------------------------------------------------------------------

    def authenticate(self, secret: str) -> Key | None:
        """The key of that secret, if the platform lets it in now. Does not count as use."""
        key = self.owner(secret)
        if key is None or not key.is_accepted(self.now()):
            return None
        person = self.users.get(key.created_by or "") if key.kind is KeyKind.USER else None
        return None if person is not None and person.removed else key

    def owner(self, secret: str) -> Key | None:
        """The key of that secret, let in or not."""
        return self._by_digest.get(_digest(secret))

    def note_use(self, key: Key) -> None:
        """The key was used now."""
        key.last_used_at = self.now()
        key.uses += 1


def new_id(kind: str) -> str:
    """An id as the platform writes it: ``key_``, ``proj_``, ``org_``."""
    return f"{kind}_{secrets.token_hex(10)}"


def new_secret() -> str:
    """``tgp_v1_`` and 43 URL-safe characters (256 bits)."""
    return "tgp_v1_" + secrets.token_urlsafe(32)


def _found(thing: _T | None, what: str) -> _T:
    if thing is None:
        raise Missing(what)
    return thing


def _free(taken: dict[str, _T], id_: str) -> str:
    if id_ in taken:
        raise Refusal("this id is taken")
    return id_
