"""Where a key lies in the content of an AWS secret, and its hints in the tags. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rotator.domain.layout import PLAIN, Layout
from rotator.domain.model import Destination, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import WrongDestination

LARGEST = 65_536  # bytes of SecretString, Secrets Manager quotas
MOST_TAGS, _TAG_KEY, _TAG_VALUE = 50, 128, 256
_NOT_IN_TAGS = re.compile(r"[^\w +\-=.:/@]")
_ARN_PARTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """How a secret that does not exist is created (CreateSecret); AWS's defaults where nothing is said."""

    kms_key_id: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    replica_regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One field of one secret, or the whole of it.

    :param create: what to do where there is no such secret; ``None``: that is an error.
    :param managed_rotation: AWS's own rotation may be enabled on the secret.
    """

    name: str
    secret_id: str
    field: str | None
    layout: Layout = PLAIN
    expect: tuple[tuple[str, str], ...] = ()
    create: Creation | None = None
    managed_rotation: bool = False

    @property
    def prefix(self) -> str:
        """What the keys of its tags begin with."""
        return f"rotator:{self.field}:" if self.field else "rotator:"

    def check(self, found: Mapping[str, str]) -> None:
        """Raise ``WrongDestination`` where the account or region is another one than the policy says."""
        for name, expected in self.expect:
            if found.get(name, expected) != expected:
                raise WrongDestination(f"{self.name}: {name} should be {expected}, and AWS says {found[name]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The content of one version; it is in no repr. ``content`` is ``None`` where there is no value yet."""

    content: str | None = None
    version_id: str = ""
    arn: str = ""
    created_at: datetime | None = None

    __repr__ = object.__repr__


def place_of(destination: Destination) -> Place:
    """Read the options; ``WrongDestination`` where they name no secret, or make no key of a tag."""
    secret_id, create = destination.option("secret_id"), destination.option("create")
    if not secret_id:
        raise WrongDestination(f"{destination}: an AWS destination needs a secret_id")
    place = Place(
        name=destination.name,
        secret_id=secret_id,
        field=destination.option("field") or None,
        layout=destination.layout,
        expect=destination.expect,
        create=creation_of(create) if create else None,
        managed_rotation=destination.option("managed_rotation") == "allow",
    )
    longest = len(place.prefix) + max(map(len, KeyMetadata.__slots__))
    if _NOT_IN_TAGS.search(place.prefix) or longest > _TAG_KEY:
        raise WrongDestination(f"{destination}: the field's name can't be part of a tag's key")
    return place


def creation_of(text: str) -> Creation:
    """The option ``create`` of a destination, which is JSON."""
    given = json.loads(text)
    return Creation(**{**given, "replica_regions": tuple(given.get("replica_regions", ()))})


def in_arn(arn: str) -> dict[str, str]:
    """``region`` and ``account`` of an ARN; empty where it is none."""
    parts = arn.split(":")
    return {"region": parts[3], "account": parts[4]} if len(parts) >= _ARN_PARTS else {}


def _object(place: Place, content: str) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except ValueError:
        fields = None  # the cause would quote the secret
    if not isinstance(fields, dict):
        raise WrongDestination(f"{place.name}: the secret is no JSON object, but the policy names a field")
    return fields


def key_in(place: Place, version: Version) -> SecretValue | None:
    """The key in a version; ``None`` where it is missing or empty, ``WrongDestination`` where it is no text."""
    if version.content is None:
        return None
    value = _object(place, version.content).get(place.field) if place.field else version.content
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise WrongDestination(f"{place.name}: the field holds no text")
    try:
        return place.layout.decode(SecretValue(value))
    except WrongDestination as error:
        raise WrongDestination(f"{place.name}: {error}") from None


def fields_in(version: Version) -> dict[str, SecretValue]:
    """Every text in a version: the fields of a JSON object, or the whole content under an empty name."""
    if not version.content:
        return {}
    try:
        fields = json.loads(version.content)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return {"": SecretValue(version.content)}
    return {name: SecretValue(text) for name, text in fields.items() if isinstance(text, str) and text}


def with_key(place: Place, content: str | None, key: SecretValue, metadata: KeyMetadata) -> str:
    """The whole content with the new key and what lies beside it; ``WrongDestination`` over the size limit."""
    facts = metadata.as_pairs()
    text = place.layout.encode(key, facts).reveal()
    if place.field:
        fields = {} if content is None else _object(place, content)
        text = json.dumps({**fields, place.field: text, **place.layout.fields(facts)}, ensure_ascii=False)
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise WrongDestination(f"{place.name}: the secret would be larger than {LARGEST} bytes")
    return text


def tags_of(described: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a DescribeSecret answer."""
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags") or ()}


def hints_in(place: Place, described: Mapping[str, Any]) -> dict[str, str]:
    """The hints of this field among the tags of a DescribeSecret answer."""
    names = {place.prefix + name: name for name in KeyMetadata.__slots__}
    return {names[key]: text for key, text in tags_of(described).items() if key in names and text}


def as_tags(place: Place, metadata: KeyMetadata) -> list[dict[str, str]]:
    """The hints as TagResource takes them; an empty one overwrites what a former rotation left."""
    pairs = metadata.as_pairs()
    return [
        {"Key": place.prefix + name, "Value": _NOT_IN_TAGS.sub("_", pairs.get(name, ""))[:_TAG_VALUE]}
        for name in KeyMetadata.__slots__
    ]
