"""Secrets in AWS Secrets Manager.

Options of a destination: ``secret_id`` (name or ARN); where the secret is a JSON object, ``field``; ``create``, what to
do where there is no such secret (JSON, see ``aws_content.Creation``); ``managed_rotation``, ``allow`` where AWS's own
rotation may be enabled on it.

- **Version**: the ``VersionId`` under ``AWSCURRENT``; empty where the secret has no value yet or does not exist. A
  write keeps the object's other fields, puts a version under ``AWSPENDING``, reads that very version back, and moves
  ``AWSCURRENT`` from the expected version to it: AWS refuses the move when the label is elsewhere
  (UpdateSecretVersionStage, ``RemoveFromVersionId``), which is the compare-and-set. ``AWSPREVIOUS`` follows by itself.
- **Token**: the rotation id, so the version id names its rotation. AWS lets a token never carry another content
  (PutSecretValue, ``ClientRequestToken``). When a repeat has to (another field changed meanwhile), the token is
  derived from the rotation id and the fingerprint of the content: again the same for the same content.
- **Debris**: beside ``AWSPENDING`` a version of ours has the label ``rotator``, which the next put moves along. A
  pending version without it is somebody else's rotation, and refused before anything is created.
- **Hints**: tags ``rotator:<field>:<name>`` (``rotator:<name>`` without a field), so that consumers of the JSON see
  nothing new. Limits (AWS General Reference, tagging): 50 tags, 128 and 256 characters, letters, digits, blanks and
  ``+-=._:/@``; other characters of a hint become ``_``. That is five managed fields in one secret.
- The label is moved first. When tags or the clean-up of ``AWSPENDING`` then fail, ``OutcomeUnknown`` says that the
  value is there: the caller looks, finds it, and goes on.
- **Where it is**: the ARN that comes with every answer is compared with what the policy expects, at no request.
- **Eventual consistency**: what was written is read again with growing pauses, about three seconds in all.
- **Who changed it** is in CloudTrail only; ``Held.changed_by`` stays empty.
- **Requests**: 2 for a look (value; tags), 2 for a preflight (the same, anew), 6 for a write: read, put, read back,
  move, tag, take ``AWSPENDING`` away. None of them can carry another's work: AWS has no call that writes a value and
  tags, moves two labels, or reads a value with its tags. A creation is 3: value, DescribeSecret, CreateSecret.
- **Least rights**: ``aws_policy``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, timedelta

from rotator.adapters.backends.aws_calls import AwsCalls
from rotator.adapters.backends.aws_content import (
    MOST_TAGS,
    Creation,
    Place,
    Version,
    fields_in,
    hints_in,
    in_arn,
    key_in,
    place_of,
    with_key,
)
from rotator.adapters.backends.aws_granted import rights_of
from rotator.adapters.backends.aws_preflight import CURRENT, MARK, PENDING, PREVIOUS, problem_of
from rotator.adapters.backends.aws_session import AssumeRole, AwsAccess, AwsSession, WebIdentity
from rotator.adapters.backends.patterns import Pattern
from rotator.domain.audit.surroundings import Granted
from rotator.domain.model import Destination, Held, KeyMetadata
from rotator.domain.secret import SecretValue
from rotator.errors import OutcomeUnknown, RotatorError, VersionConflict, WrongDestination
from rotator.ports import Listed, Spot

__all__ = ["AssumeRole", "AwsAccess", "AwsSecretsManagerBackend", "WebIdentity"]

PATIENCE = tuple(timedelta(seconds=seconds) for seconds in (0.2, 0.4, 0.8, 1.6))
"""How long something that was just written is waited for, before it is said to be not there."""


def _sleep(pause: timedelta) -> None:
    time.sleep(pause.total_seconds())


class AwsSecretsManagerBackend:
    """A ``rotator.ports.SecretBackend`` over Secrets Manager.

    :param access: how one logs in, and where; or its fields one by one.
    :param pause: waits; the clock's, so that a shutdown is not kept waiting.
    """

    def __init__(
        self,
        access: AwsAccess | None = None,
        *,
        pause: Callable[[timedelta], None] = _sleep,
        region: str = "",
        endpoint_url: str | None = None,
        profile: str | None = None,
        timeout: float = 10.0,
        pool_size: int = 10,
    ) -> None:
        self._session = AwsSession(
            access
            or AwsAccess(
                region=region, endpoint_url=endpoint_url, profile=profile, timeout=timeout, pool_size=pool_size
            )
        )
        self._calls = AwsCalls(self._session)
        self._pause = pause
        self._lock = threading.Lock()
        self._left: dict[str, str] = {}  # secret to the version that was current before our last write
        self._arns: dict[str, str] = {}  # secret to its ARN: a look need not ask for it again
        self._account = ""

    def read(self, destination: Destination) -> Held:
        """See the port. Two requests: the value, and the tags."""
        place = place_of(destination)
        current = self._current(place)
        described = self._calls.describe(place) or {}
        self._check_arn(place, current.arn or str(described.get("ARN", "")))
        changed = current.created_at or described.get("LastChangedDate")
        return Held(
            value=key_in(place, current),
            version=current.version_id,
            metadata=hints_in(place, described),
            changed_at=changed.astimezone(UTC) if changed else None,
        )

    def read_previous(self, destination: Destination) -> SecretValue | None:
        """The value under ``AWSPREVIOUS``; ``None`` when it is the current one (another field was changed)."""
        place = place_of(destination)
        previous = key_in(place, self._calls.version(place, VersionStage=PREVIOUS))
        current = key_in(place, self._calls.version(place, VersionStage=CURRENT))
        return None if previous is None or (current is not None and previous.same_as(current)) else previous

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:
        """See the port: ``account`` and ``region``, as the secret's ARN has them; before there is one, as STS says.

        Asked once a secret: every later answer about it brings its ARN along, and is checked.
        """
        place = place_of(destination)
        arn = self._arns.get(place.secret_id) or str((self._calls.describe(place) or {}).get("ARN", ""))
        if arn:
            self._arns[place.secret_id] = arn
            return in_arn(arn)
        self._account = self._account or self._calls.account(place)
        return {"region": self._session.region, "account": self._account}

    def check_writable(self, destination: Destination) -> None:
        """See the port. Rights to write can't be known without writing."""
        place = place_of(destination)
        described = self._calls.describe(place)
        if described is None:
            self._check_creatable(place)
            return
        self._check_arn(place, str(described.get("ARN", "")))
        if problem := problem_of(place, described):
            raise WrongDestination(f"{place.name}: {problem}")
        key_in(place, self._calls.version(place, VersionStage=CURRENT))

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        """See the port. Put as pending, read back, make current, tag, take the pending label away."""
        place = place_of(destination)
        current = self._calls.version(place, VersionStage=CURRENT)
        self._check_arn(place, current.arn)
        held = key_in(place, current)
        if held is not None and held.same_as(value):
            self._finish(place, current.version_id, metadata)
            return
        if current.version_id != expected:
            raise VersionConflict(f"{place.name}: the current version is no longer the expected one")
        content = SecretValue(with_key(place, current.content, value, metadata))
        if place.create and not current.version_id and self._calls.describe(place) is None:
            self._create(place, place.create, content, metadata)
            return
        version_id = self._calls.put(place, content, metadata.rotation_id)
        self._read_back(place, version_id, content)
        self._promote(place, version_id, expected)
        self._finish(place, version_id, metadata)

    def destroy(self, destination: Destination, expected: str) -> None:
        """See ``rotator.ports.Destroyer``: the secret itself, at once and without recovery. Two requests.

        A version can't be destroyed alone: AWS deletes one without a label when it likes (User Guide, "Versions"). So
        what somebody puts there between the two requests is destroyed unseen.
        """
        place = place_of(destination)
        current = self._calls.version(place, VersionStage=CURRENT)
        self._check_arn(place, current.arn)
        if not current.version_id:
            return
        if current.version_id != expected:
            raise VersionConflict(f"{place.name}: somebody put another value there")
        self._calls.delete(place)

    def rights(self, places: Sequence[tuple[Destination, bool]]) -> Granted:
        """See ``ports.TellsRights``. One request to STS, and a few to IAM."""
        return rights_of(self._session, places)

    def places(self, pattern: str) -> Listed:
        """See ``ports.Listing``: names of secrets. One request for a hundred of them."""
        wanted = Pattern(pattern)
        found = {pattern} if wanted.is_literal else set(self._calls.names(wanted.beginning))
        names = sorted(name for name in found if wanted.is_literal or wanted.matches(name))
        return Listed(tuple(Spot(options=(("secret_id", name),), name=name) for name in names))

    def fields(self, spot: Spot) -> Mapping[str, SecretValue]:
        """See ``ports.Listing``. One request."""
        place = Place(name=spot.name, secret_id=spot.name, field=None)
        return fields_in(self._calls.version(place, VersionStage=CURRENT))

    def close(self) -> None:
        """Give back connections."""
        self._session.close()

    def _current(self, place: Place) -> Version:
        """What is current. Where that is what our own last write has replaced, the answer may be an old one."""
        current = self._calls.version(place, VersionStage=CURRENT)
        with self._lock:
            left = self._left.pop(place.secret_id, None)
        for pause in PATIENCE if current.version_id == left else ():
            self._pause(pause)
            current = self._calls.version(place, VersionStage=CURRENT)
            if current.version_id != left:
                break
        return current

    def _read_back(self, place: Place, version_id: str, content: SecretValue) -> None:
        for pause in (*PATIENCE, None):
            back = self._calls.version(place, VersionId=version_id).content
            if back is not None and content.same_as(SecretValue(back)):
                return
            if pause is not None:
                self._pause(pause)
        raise OutcomeUnknown(f"{place.name}: the pending version does not read back as it was written")

    def _promote(self, place: Place, version_id: str, expected: str) -> None:
        if not self._calls.move_current(place, version_id, expected):
            if self._calls.version(place, VersionStage=CURRENT).version_id == version_id:
                return  # a repeat of a move that was carried out, or the first version of all
            self._calls.take_label(place, PENDING, version_id)
            self._calls.take_label(place, MARK, version_id)
            raise VersionConflict(f"{place.name}: somebody else wrote in between")
        with self._lock:
            self._left[place.secret_id] = expected

    def _create(self, place: Place, creation: Creation, content: SecretValue, metadata: KeyMetadata) -> None:
        arn = self._calls.create(place, creation, content, metadata)
        with self._lock:
            self._left[place.secret_id] = ""
            self._arns[place.secret_id] = arn

    def _check_creatable(self, place: Place) -> None:
        if place.create is None:
            raise WrongDestination(f"{place.name}: the secret {place.secret_id} does not exist; create it first")
        if place.secret_id.startswith("arn:"):
            raise WrongDestination(f"{place.name}: a secret can be created by its name only, not by an ARN")
        if len(KeyMetadata.__slots__) + len(place.create.tags) > MOST_TAGS:
            raise WrongDestination(f"{place.name}: no room is left for tags ({MOST_TAGS})")
        if place.expect:
            # Asked anew: the credentials can be others by now, and there is no ARN yet that would tell.
            place.check({"account": self._calls.account(place)})

    def _finish(self, place: Place, version_id: str, metadata: KeyMetadata) -> None:
        try:
            self._calls.tag(place, metadata)
            self._calls.take_label(place, PENDING, version_id)
        except RotatorError as error:
            raise OutcomeUnknown(f"{place.name}: the value is current; its tags or label are not right") from error

    def _check_arn(self, place: Place, arn: str) -> None:
        if arn:
            self._arns[place.secret_id] = arn
            place.check(in_arn(arn))
