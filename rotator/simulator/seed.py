"""A whole platform from one JSON object, from a file or through the control API.

::

    {"settings": {"accept_after": 0, "refuse_after": 0, "list_after": 0, "date_skew": 0},
     "organizations": [
       {"id": "org_a", "name": "A", "billing_usage": true, "legacy_key": {"secret": "..."},
        "users": [{"id": "user_u", "name": "U"}],
        "management_keys": [{"id": "key_m", "name": "rotator", "secret": "...", "read_only": false}],
        "projects": [
          {"id": "proj_p", "name": "P", "slug": "p",
           "keys": [{"id": "key_k", "name": "by hand", "secret": "...", "created_by": "user_u",
                     "created_at": "2026-01-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z"}]}]}]}

Everything but the names is optional; ids and secrets that are not given are drawn. The first project of an
organisation is its default project.
"""

from __future__ import annotations

from rotator.simulator.fields import Fields
from rotator.simulator.model import Platform
from rotator.simulator.records import KeyKind, Settings

_FAR = 1e9  # seconds: about 30 years, within which every date can be written


def plant(platform: Platform, seed: Fields) -> dict[str, str]:
    """Add what the seed says to the platform; returns the secrets of its keys by key id.

    :raises BadField: a field is missing, of another type or unknown.
    """
    secrets: dict[str, str] = {}
    platform.settings = settings(seed.object("settings"), platform.settings)
    for organization in seed.objects("organizations"):
        secrets |= _organization(platform, organization)
    seed.nothing_else()
    return secrets


def settings(wish: Fields, old: Settings) -> Settings:
    """The settings that are named, the others as they were."""
    new = Settings(
        accept_after=wish.number("accept_after", old.accept_after),
        refuse_after=wish.number("refuse_after", old.refuse_after),
        list_after=wish.number("list_after", old.list_after),
        date_skew=wish.between("date_skew", -_FAR, _FAR, old.date_skew),
    )
    wish.nothing_else()
    return new


def _organization(platform: Platform, wish: Fields) -> dict[str, str]:
    organization = platform.add_organization(
        wish.text("name"), id_=wish.text("id", ""), billing_usage=wish.flag("billing_usage", default=True)
    )
    secrets: dict[str, str] = {}
    for user in wish.objects("users"):
        platform.add_user(organization.id, user.text("name"), id_=user.text("id", ""))
        user.nothing_else()
    for key in wish.objects("management_keys"):
        secrets |= _key(platform, key, KeyKind.MANAGEMENT, organization.id, None)
    for project in wish.objects("projects"):
        made = platform.add_project(
            organization.id, project.text("name"), id_=project.text("id", ""), slug=project.text("slug", "")
        )
        for key in project.objects("keys"):
            secrets |= _key(platform, key, KeyKind.PROJECT, organization.id, made.id)
        project.nothing_else()
    if wish.has("legacy_key"):
        legacy = wish.object("legacy_key")
        key_, secret = platform.regenerate_legacy_key(organization.id, legacy.text("secret", ""))
        legacy.nothing_else()
        secrets[key_.id] = secret
    wish.nothing_else()
    return secrets


def _key(platform: Platform, wish: Fields, kind: KeyKind, organization: str, project: str | None) -> dict[str, str]:
    key, secret = platform.add_key(
        kind,
        organization,
        wish.text("name"),
        project_id=project,
        id_=wish.text("id", ""),
        secret=wish.text("secret", ""),
        created_at=wish.moment("created_at"),
        expires_at=wish.moment("expires_at"),
        created_by=wish.text("created_by") if wish.has("created_by") else None,
        read_only=wish.flag("read_only", default=False),
    )
    wish.nothing_else()
    return {key.id: secret}
