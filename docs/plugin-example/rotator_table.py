"""Secrets in a table of an SQLite file, which its owner makes; and keys from a gateway that speaks Together's API."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from rotator.adapters.providers.together import TogetherProvider
from rotator.domain.model import Destination, Held, KeyMetadata
from rotator.errors import BackendDenied, BackendUnavailable, VersionConflict, WrongDestination
from rotator.plugins import BackendPlugin, Context, File, Options, ProviderPlugin, SecretValue, Text

SCHEMA = "CREATE TABLE secrets (name, field, value, previous, hints, version, PRIMARY KEY (name, field))"
READ = "SELECT value, previous, hints, version FROM secrets WHERE name = ? AND field = ?"
WRITE = """INSERT INTO secrets VALUES (:name, :field, :value, NULL, :hints, 1) ON CONFLICT DO UPDATE
    SET version = version + 1, previous = iif(:ours, previous, value), value = :value, hints = :hints
    WHERE (value, hints) <> (:value, :hints)"""
ERRORS = {"SQLITE_READONLY": BackendDenied, "SQLITE_ERROR": WrongDestination, "SQLITE_NOTADB": WrongDestination}


class TableBackend:
    """See ``rotator.ports.SecretBackend``: it says what each call promises."""

    def __init__(self, file: str) -> None:
        self._file = file

    @contextmanager
    def _row(self, at: Destination) -> Iterator[tuple[sqlite3.Connection, tuple[str, str, str, int]]]:
        try:
            with closing(sqlite3.connect(f"file:{self._file}?mode=rw", uri=True, isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")  # nobody else writes until the end
                found = database.execute(READ, (at.option("name"), at.option("field"))).fetchone()
                yield database, found or ("", "", "{}", 0)
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise ERRORS.get(error.sqlite_errorname, BackendUnavailable)(f"{at}: {error.sqlite_errorname}") from None

    def _key(self, at: Destination, text: str) -> SecretValue | None:
        try:
            return at.layout.decode(SecretValue(text) if text else None)
        except WrongDestination as error:
            raise WrongDestination(f"{at}: {error}") from None

    def read(self, at: Destination) -> Held:
        with self._row(at) as (_, (value, _, hints, version)):
            return Held(value=self._key(at, value), version=str(version), metadata=json.loads(hints))

    def read_previous(self, at: Destination) -> SecretValue | None:
        with self._row(at) as (_, (_, previous, _, _)):
            return self._key(at, previous)

    def whereabouts(self, at: Destination) -> Mapping[str, str]:  # noqa: ARG002 -- the port's signature
        return {"file": self._file}

    def check_writable(self, at: Destination) -> None:
        self.read(at)  # which locks it for writing

    def write(self, at: Destination, value: SecretValue, metadata: KeyMetadata, expected: str) -> None:
        facts = metadata.as_pairs()
        with self._row(at) as (database, (text, _, _, version)):
            held = self._key(at, text)
            ours = held is not None and held.same_as(value)
            if not ours and str(version) != expected:
                raise VersionConflict(f"{at}: at version {version}, not {expected}")
            fields = {at.option("field"): at.layout.encode(value, facts).reveal(), **at.layout.fields(facts)}
            for field, new in fields.items():
                hints = json.dumps(facts) if field == at.option("field") else "{}"
                row = {"name": at.option("name"), "field": field, "value": new, "hints": hints, "ours": ours}
                database.execute(WRITE, row)

    def close(self) -> None:
        """Nothing is kept open."""


class TableSettings(Options):
    file: File


class TablePlace(Options):
    name: Text
    field: Text


class Table(BackendPlugin[TableSettings, TablePlace]):
    contract = 1
    settings, place, tells = TableSettings, TablePlace, ("file",)

    def identity(self, settings: TableSettings, place: TablePlace) -> tuple[str, ...]:
        return (settings.file, place.name)

    def make(self, settings: TableSettings, context: Context) -> TableBackend:  # noqa: ARG002 -- it needs no more
        return TableBackend(settings.file)


class GatewaySettings(Options):
    base_url: Text
    token: SecretValue


class Gateway(ProviderPlugin[GatewaySettings]):
    contract = 1
    settings = GatewaySettings

    def make(self, settings: GatewaySettings, context: Context) -> TogetherProvider:
        return TogetherProvider(base_url=settings.base_url, management_key=settings.token, now=context.now)
