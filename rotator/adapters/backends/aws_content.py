"""Where a key lies in the content of an AWS secret, and its hints in the tags. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rotator.domain.model import Destination, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import WrongDestination

_LARGEST = 65_536  # bytes of SecretString, Secrets Manager quotas
MOST_TAGS, _TAG_KEY, _TAG_VALUE = 50, 128, 256
_NOT_IN_TAGS = re.compile(r"[^\w +\-=.:/@]")


@dataclass(frozen=True, slots=True)
class Place:
    """One field of one secret, or the whole of it."""

    name: str
    secret_id: str
    field: str | None

    @property
    def prefix(self) -> str:
        """What the keys of its tags begin with."""
        return f"rotator:{self.field}:" if self.field else "rotator:"


@dataclass(frozen=True, slots=True)
class Version:
    """The content of one version; it is in no repr. ``content`` is ``None`` where there is no value yet."""

    content: str | None
    version_id: str

    __repr__ = object.__repr__


def place_of(destination: Destination) -> Place:
    """Read the options; ``WrongDestination`` where they name no secret, or make no key of a tag."""
    secret_id, field = destination.option("secret_id"), destination.option("field")
    if not secret_id:
        raise WrongDestination(f"{destination}: an AWS destination needs a secret_id")
    place = Place(destination.name, secret_id, field or None)
    longest = len(place.prefix) + max(map(len, KeyMetadata.__slots__))
    if _NOT_IN_TAGS.search(place.prefix) or longest > _TAG_KEY:
        raise WrongDestination(f"{destination}: the field's name can't be part of a tag's key")
    return place


def _object(place: Place, content: str) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except ValueError:
        fields = None  # the cause would quote the secret
    if not isinstance(fields, dict):
        raise WrongDestination(f"{place.name}: the secret is no JSON object, but the policy names a field")
    return fields


def value_in(place: Place, version: Version) -> SecretValue | None:
    """The key in a version; ``None`` where it is missing or empty, ``WrongDestination`` where it is no text."""
    if version.content is None:
        return None
    value = _object(place, version.content).get(place.field) if place.field else version.content
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise WrongDestination(f"{place.name}: the field holds no text")
    return SecretValue(value)


def with_value(place: Place, content: str | None, value: SecretValue) -> str:
    """The whole content with the new key; ``WrongDestination`` over the size limit."""
    text = value.reveal()
    if place.field:
        fields = {} if content is None else _object(place, content)
        text = json.dumps({**fields, place.field: text}, ensure_ascii=False)
    if len(text.encode("utf-8", "surrogatepass")) > _LARGEST:
        raise WrongDestination(f"{place.name}: the secret would be larger than {_LARGEST} bytes")
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
