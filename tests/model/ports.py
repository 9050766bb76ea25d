"""The ports as one holder sees them: each call passes its gate, and each effect is told to the ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.events import Event
from rotator.domain.model import Destination, Held, Identity, IssuedKey, KeyFacts, KeyMetadata, Refused
from rotator.domain.record import PolicyRecord
from rotator.domain.secret import SecretValue
from rotator.errors import IllegalMove, Overtaken
from rotator.ports import Lease, Look, Observation, Work
from tests.fakes.backend import FakeBackend
from tests.fakes.provider import FakeProvider
from tests.model.history import Turn
from tests.model.truth import Truth


@dataclass(slots=True)
class Seat:
    """Which look a holder has under way; there is one at a time."""

    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedProvider:
    """``KeyProvider``."""

    fake: FakeProvider
    gate: Any
    truth: Truth
    seat: Seat

    def create_key(self, project: str, name: str, expires_at: datetime) -> IssuedKey:
        turn = self.seat.turn

        def effect() -> IssuedKey:
            self.truth.manages(turn, "create_key")
            issued = self.fake.create_key(project, name, expires_at)
            self.truth.created(turn, issued.facts)
            return issued

        return self.gate.call("create_key", effect)

    def list_keys(self, project: str) -> Sequence[KeyFacts]:
        turn = self.seat.turn

        def effect() -> Sequence[KeyFacts]:
            self.truth.manages(turn, "list_keys")
            return self.fake.list_keys(project)

        return self.gate.call("list_keys", effect, stale=lambda: self.truth.older_list(project))

    def set_expiration(self, project: str, key_id: str, expires_at: datetime | None) -> None:
        turn = self.seat.turn

        def effect() -> None:
            self.truth.manages(turn, "set_expiration")
            before = self.truth.expires_at(key_id)
            self.fake.set_expiration(project, key_id, expires_at)
            self.truth.expiration_set(turn, key_id, before, expires_at)

        self.gate.call("set_expiration", effect)

    def revoke_key(self, project: str, key_id: str) -> None:
        turn = self.seat.turn

        def effect() -> None:
            self.truth.manages(turn, "revoke_key")
            was_live = key_id in self.fake.live(project)
            if was_live:
                self.truth.about_to_revoke(turn, key_id)
            self.fake.revoke_key(project, key_id)
            if was_live:
                self.truth.listing_changed()

        self.gate.call("revoke_key", effect)

    def identify(self, secret: SecretValue) -> Identity | Refused:
        return self.gate.call("identify", lambda: self.fake.identify(secret))

    def used_until(self, key_ids, since, as_key, organization):
        return self.gate.call("used_until", lambda: self.fake.used_until(key_ids, since, as_key, organization))

    def skew(self) -> timedelta | None:
        return self.fake.skew()

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedBackend:
    """``SecretBackend``."""

    fake: FakeBackend
    gate: Any
    truth: Truth
    seat: Seat

    def read(self, destination: Destination) -> Held:
        turn = self.seat.turn

        def effect() -> Held:
            self.truth.read(turn, destination)
            return self.fake.read(destination)

        return self.gate.call("read", effect)

    def whereabouts(self, destination: Destination) -> Mapping[str, str]:
        return self.fake.whereabouts(destination)

    def read_previous(self, destination: Destination) -> SecretValue | None:
        return self.gate.call("read_previous", lambda: self.fake.read_previous(destination))

    def check_writable(self, destination: Destination) -> None:
        self.gate.call("check_writable", lambda: self.fake.check_writable(destination))

    def write(self, destination: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        turn, sent_at = self.seat.turn, self.truth.now()

        def effect() -> None:
            before = self.truth.holds(destination)
            self.fake.write(destination, value, metadata, expected)
            self.truth.wrote(turn, destination, before, sent_at)

        self.gate.call("write", effect)

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedJournal:
    """``Journal``."""

    real: SqlJournal
    gate: Any
    truth: Truth
    seat: Seat

    def load(self, policy: str) -> PolicyRecord:
        return self.gate.call("load", lambda: self.real.load(policy))

    def taken(self, lease: Lease) -> PolicyRecord:
        return self.gate.call("load", lambda: self.real.taken(lease))

    def records(self) -> Mapping[str, PolicyRecord]:
        return self.real.records()

    def looks(self) -> Mapping[str, Look]:
        return self.real.looks()

    def works(self) -> Mapping[str, Work]:
        return self.real.works()

    def look(self, policy: str) -> Look | None:
        return self.real.look(policy)

    def acquire(self, policy: str, holder: str, now: datetime, ttl: timedelta) -> Lease:
        turn = self.seat.turn

        def effect() -> Lease:
            lease = self.real.acquire(policy, holder, now, ttl)
            self.truth.owner[policy] = turn
            return lease

        return self.gate.call("acquire", effect)

    def release(self, lease: Lease) -> None:
        self.gate.call("release", lambda: self.real.release(lease))

    def append(self, lease: Lease, events: Sequence[Event], now: datetime) -> PolicyRecord:
        turn = self.seat.turn

        def effect() -> PolicyRecord:
            try:
                record = self.real.append(lease, events, now)
            except Overtaken:  # an operator was faster than a decision: foreseen, and the next look decides anew
                raise
            except IllegalMove as error:
                self.truth.blame(f"defect: {type(events[0]).__name__} is an illegal move", str(error))
                raise
            if turn.policy.assisted:
                self.truth.recorded(turn, events)
            return record

        return self.gate.call("append", effect)

    def renew(self, lease: Lease, now: datetime) -> None:
        self.gate.call("renew", lambda: self.real.renew(lease, now))

    def note_look(self, lease, look, seen, *, known, now) -> None:
        self.gate.call("note_look", lambda: self.real.note_look(lease, look, seen, known=known, now=now))

    def observations(self, scope: str, since: datetime) -> Mapping[str, Observation]:
        return self.gate.call("observations", lambda: self.real.observations(scope, since))

    def seen_holding(self, key_ids, fingerprints):
        return self.real.seen_holding(key_ids, fingerprints)

    def others_with(self, key_id, policy):
        return self.real.others_with(key_id, policy)

    def begun_since(self, moment, besides):
        return self.real.begun_since(moment, besides)

    def request(self, policy: str, event: Event, now: datetime) -> None:
        self.real.request(policy, event, now)

    def close(self) -> None:
        self.real.close()
