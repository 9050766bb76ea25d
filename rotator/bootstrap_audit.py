"""The part of ``bootstrap`` for an audit: what looks at everything, and what lies around the keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import make_url

from rotator.adapters.files import file_seen, folders_above, name_of, service_user
from rotator.bootstrap import Application
from rotator.config import (
    BackendRef,
    CredentialRef,
    DotenvSettings,
    EnvRef,
    FileRef,
    SecretRef,
    Settings,
    TogetherSettings,
    VaultSettings,
    Watched,
    references,
    resolve,
)
from rotator.config.connections import connections
from rotator.config.vault_settings import TokenFileSettings
from rotator.domain.audit.seen import Limits
from rotator.domain.audit.surroundings import Credential, FileSeen, Granted, Purpose, Surroundings
from rotator.domain.model import Destination, Identity, KeyKind
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.errors import BackendError, MissingSecret, ProviderError
from rotator.ports import Journal, KeyProvider, SecretBackend
from rotator.service.audit import Auditor
from rotator.service.guard import GuardedBackend

_EXTENSIONS = ("", "-wal", "-shm", "-journal")


def auditor(
    application: Application, journal: Journal | None, limits: Limits, verify: Callable[[], Sequence[str]] | None
) -> Auditor:
    """What gathers; without a journal where there is none.

    :param verify: see ``Auditor``.
    """
    providers, backends = application.endpoints
    return Auditor(
        providers=providers,
        backends=backends,
        journal=journal,
        policies=application.settings.policies,
        workers=application.settings.service.workers,
        now=application.clock.now,
        limits=limits,
        verify=verify,
    )


def state_file(settings: Settings) -> Path | None:
    """The journal's file, where it is one."""
    url = make_url(settings.state_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Looks at what lies around the keys.

    :param settings: as they were given; those of the application may lack the journal.
    :param lying: which values lie in which destinations.
    """

    application: Application
    settings: Settings
    lying: Mapping[Fingerprint, tuple[str, ...]]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def look(self, policies: frozenset[str], *, narrowed: bool) -> tuple[Surroundings, tuple[str, ...]]:
        """All of it, and what could not be known.

        :param policies: whose destinations are looked at.
        :param narrowed: at nothing else: what is everybody's matters to no single policy.
        """
        unknown: list[str] = []
        settings = self.settings
        if narrowed:
            return Surroundings(files=tuple(self._destinations(policies))), ()
        seen = Surroundings(
            files=tuple({one.path: one for one in self._files(policies, unknown)}.values()),
            connections=tuple(connections(settings, self.environ)),
            credentials=tuple(self._credentials()),
            rights=tuple(self._rights(unknown)),
        )
        return seen, tuple(unknown)

    def _files(self, policies: frozenset[str], unknown: list[str]) -> Iterator[FileSeen]:
        settings, journal = self.settings, state_file(self.settings)
        user = service_user(journal)
        if user not in {0, os.geteuid()}:
            unknown.append(
                f"whether {name_of(user)}, whom the journal belongs to, is the service's user: to judge whom the "
                "rotator's files belong to, run this as the service's user"
            )
        paths = [(path.absolute(), Purpose.CONFIGURATION) for path in Watched(settings.source).files()]
        if journal:
            paths += [(journal.with_name(journal.name + end), Purpose.STATE) for end in _EXTENSIONS]
        paths += [(path, Purpose.CREDENTIAL) for path in self._credential_files()]
        for folder in sorted({folder for path, _ in paths for folder in folders_above(path)}):
            paths.append((folder, Purpose.FOLDER))
        if settings.history.anchor_file:  # anybody may read it, and its directory may be one of logs
            paths.append((settings.history.anchor_file, Purpose.ANCHORS))
        for path, purpose in paths:
            if found := file_seen(path, purpose, users=frozenset({0, user})):
                yield found
        yield from self._destinations(policies)

    def _destinations(self, policies: frozenset[str]) -> Iterator[FileSeen]:
        for policy in self.settings.policies:
            for place in policy.destinations if policy.name in policies else ():
                path = _path_of(self.settings, place)
                if path and (found := file_seen(path, Purpose.DESTINATION, policy=policy.name)):
                    yield found

    def _credential_files(self) -> Iterator[Path]:
        settings = self.settings
        for ref in _references(settings):
            if isinstance(ref, FileRef):
                yield ref.path
        for backend in settings.backends.values():
            if isinstance(backend, VaultSettings):
                if isinstance(backend.auth, TokenFileSettings):
                    yield backend.auth.path
                if backend.client_key:
                    yield Path(backend.client_key)
        if settings.http and settings.http.tls:
            yield settings.http.tls[1]

    def _credentials(self) -> Iterator[Credential]:
        """The management keys. Each is asked about once: what kind of key it is."""
        settings, (providers, backends) = self.settings, self.application.endpoints
        for name, one in settings.providers.items():
            if not isinstance(one, TogetherSettings) or (ref := getattr(one, "management_key", None)) is None:
                continue
            secret, since = self._resolved(ref, backends)
            yield Credential(
                name=f"management key of provider {name}",
                since=since,
                kind=_kind(providers, name, secret) if secret else None,
                projects=len({policy.project for policy in settings.policies if policy.provider == name}),
                lies_in=self.lying.get(secret.fingerprint(), ()) if secret else (),
            )

    def _resolved(
        self, ref: SecretRef, backends: Callable[[str], SecretBackend]
    ) -> tuple[SecretValue | None, datetime | None]:
        """The credential, and since when it lies where it lies, as far as that tells."""
        with suppress(MissingSecret, BackendError):
            if isinstance(ref, BackendRef):
                held = backends(ref.destination.backend).read(ref.destination)
                return held.value, held.changed_at
            return resolve(ref, self.environ), _written_at(ref)
        return None, None

    def _rights(self, unknown: list[str]) -> Iterator[Granted]:
        settings, (_, backends) = self.settings, self.application.endpoints
        for name in settings.backends:
            places = list(_uses(settings, name))
            if not places:
                continue
            try:
                backend = backends(name)
                found = backend.rights(places) if isinstance(backend, GuardedBackend) else None
            except BackendError as error:
                unknown.append(f"backend {name}: {error}")
            else:
                if found is not None:
                    yield replace(found, backend=f"backend {name}")


def _kind(providers: Callable[[str], KeyProvider], name: str, secret: SecretValue) -> KeyKind | None:
    try:
        answer = providers(name).identify(secret)
    except (ProviderError, BackendError):  # a credential for management alone is refused here
        return None
    return answer.kind if isinstance(answer, Identity) else None


def _written_at(ref: EnvRef | FileRef | CredentialRef) -> datetime | None:
    """A credential of systemd is written anew at each start, and a variable has no age."""
    if not isinstance(ref, FileRef):
        return None
    with suppress(OSError):
        return datetime.fromtimestamp(ref.path.stat().st_mtime, UTC)
    return None


def _references(settings: Settings) -> Iterator[SecretRef]:
    """Every reference to a secret of ours."""
    tables = (settings.providers, settings.backends, settings.hooks, settings.notifications)
    parts = [part for table in tables for part in table.values()]
    for part in (*parts, settings.http, settings.history):
        yield from references(_fields(part))
    yield from references([settings.state_password])


def _fields(part: object) -> object:
    """Settings as mappings and lists, however deep."""
    if hasattr(part, "__dataclass_fields__") and not isinstance(part, EnvRef | FileRef | CredentialRef | BackendRef):
        return {name: _fields(getattr(part, name)) for name in part.__dataclass_fields__}
    return part


def _path_of(settings: Settings, place: Destination) -> Path | None:
    kind = settings.backends[place.backend]
    path = place.option("path")
    return Path(path) if path and isinstance(kind, DotenvSettings) else None


def _uses(settings: Settings, backend: str) -> Iterator[tuple[Destination, bool]]:
    for policy in settings.policies:
        for place in policy.destinations:
            if place.backend == backend:
                yield place, True
    for ref in _references(settings):
        if isinstance(ref, BackendRef) and ref.destination.backend == backend:
            yield ref.destination, False
