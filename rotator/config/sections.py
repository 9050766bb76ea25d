"""Everything but policies: state, backends, providers, service, log."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from rotator.config.check import Faults, shown
from rotator.config.places import place
from rotator.config.secrets import (
    BackendRef,
    CredentialRef,
    EnvRef,
    FileRef,
    SecretRef,
    looks_like_secret,
    resolve,
)
from rotator.config.settings import (
    AppRoleSettings,
    AwsSettings,
    BackendSettings,
    DotenvSettings,
    LogSettings,
    ServiceSettings,
    TogetherSettings,
    TokenSettings,
    VaultSettings,
)
from rotator.config.shapes import (
    AUTHS,
    BACKENDS,
    REFERENCES,
    AppRoleShape,
    AwsShape,
    LogShape,
    ServiceShape,
    StateShape,
    TogetherShape,
    TokenShape,
    VaultShape,
)
from rotator.config.source import FieldPath
from rotator.errors import MissingSecret

DEFAULT_STATE_DIRECTORY = "/var/lib/rotator"
EMBEDDED = "dotenv"
"""The backend that exists without being configured."""

_REFERENCE = "allowed: a reference: {env: NAME}, {file: PATH}, {credential: NAME} or {backend: NAME, ...}"


def service(shape: ServiceShape) -> ServiceSettings:
    """The service section."""
    return ServiceSettings(workers=shape.workers, lease=shape.lease, shutdown_timeout=shape.shutdown_timeout)


def log(shape: LogShape) -> LogSettings:
    """The log section."""
    return LogSettings(level=shape.level, format=shape.format)


class SectionReader:
    """Reads the sections of one file; what is wrong goes to ``faults``."""

    def __init__(self, faults: Faults, environ: Mapping[str, str], folder: Path) -> None:
        self._faults = faults
        self._environ = environ
        self._folder = folder

    def state_url(self, state: StateShape | None) -> str:
        """Where the journal is."""
        if state is None:
            folder = self._environ.get("STATE_DIRECTORY", DEFAULT_STATE_DIRECTORY).split(":")[0]
            return f"sqlite:///{folder}/state.db"
        scheme, _, rest = state.url.partition("://")
        if scheme.startswith("postgresql"):
            self._faults.add(("state", "url"), "a PostgreSQL URL", "allowed: sqlite; PostgreSQL is not supported yet")
        elif scheme != "sqlite" or not rest.startswith("/") or rest.strip("/") == "":
            self._faults.add(
                ("state", "url"), shown(state.url), "allowed: sqlite:////absolute/path or sqlite:///relative"
            )
        elif not rest.startswith("//"):
            return f"sqlite:///{self._folder / rest.removeprefix('/')}"
        return state.url

    def backends(self, given: object) -> dict[str, BackendSettings]:
        """The backends by name, the embedded one included."""
        made: dict[str, BackendSettings] = {EMBEDDED: DotenvSettings()}
        for name, value, path in self._named(given, "backends"):
            kind = value.get("type")
            shape = self._faults.one_of(BACKENDS, kind, (*path, "type"), "a type of backend")
            checked = self._faults.check(shape, value, path) if shape else None
            if isinstance(checked, VaultShape):
                self._url(checked.url, (*path, "url"), plain_http=True)
                auth = self._auth(checked.auth, (*path, "auth"))
                self._file(checked.ca_file, (*path, "ca_file"))
                if auth:
                    made[name] = VaultSettings(
                        url=checked.url.rstrip("/"),
                        auth=auth,
                        namespace=checked.namespace,
                        ca_file=checked.ca_file,
                        timeout=checked.timeout,
                    )
            elif isinstance(checked, AwsShape):
                if checked.endpoint_url is not None:
                    self._url(checked.endpoint_url, (*path, "endpoint_url"), plain_http=False)
                made[name] = AwsSettings(
                    region=checked.region,
                    endpoint_url=checked.endpoint_url,
                    profile=checked.profile,
                    timeout=checked.timeout,
                )
            elif checked is not None:
                made[name] = DotenvSettings()
        return made

    def providers(self, given: object, backends: Mapping[str, BackendSettings]) -> dict[str, TogetherSettings]:
        """The providers by name."""
        made: dict[str, TogetherSettings] = {}
        for name, value, path in self._named(given, "providers"):
            if value.get("issuance") == "assisted":
                allowed = "allowed: api; assisted issuance is not available in this version yet"
                self._faults.add((*path, "issuance"), "'assisted'", allowed)
                continue
            if not self._faults.one_of({"together": 1}, value.get("type"), (*path, "type"), "a type of provider"):
                continue
            checked = self._faults.check(TogetherShape, value, path)
            if checked is None:
                continue
            self._url(checked.base_url, (*path, "base_url"), plain_http=False)
            key = self._reference(checked.management_key, (*path, "management_key"), backends)
            if key:
                made[name] = TogetherSettings(
                    base_url=checked.base_url.rstrip("/"),
                    management_key=key,
                    paths=checked.paths.model_dump(exclude_none=True),
                    timeout=checked.timeout,
                )
        if not made and not self._faults.found:
            self._faults.add(("providers",), "no provider", "allowed: at least one")
        return made

    def _named(self, given: object, section: str) -> list[tuple[str, Mapping[str, object], FieldPath]]:
        if not isinstance(given, Mapping):
            self._faults.add((section,), shown(given), "allowed: a mapping of names")
            return []
        named: list[tuple[str, Mapping[str, object], FieldPath]] = []
        for name, value in given.items():
            if isinstance(value, Mapping):
                named.append((str(name), value, (section, str(name))))
            else:
                self._faults.add((section, str(name)), shown(value), "allowed: a mapping that begins with 'type'")
        return named

    def _auth(self, given: object, path: FieldPath) -> TokenSettings | AppRoleSettings | None:
        method = given.get("method") if isinstance(given, Mapping) else None
        shape = self._faults.one_of(AUTHS, method, (*path, "method"), "a method")
        checked = self._faults.check(shape, given, path) if shape else None
        if isinstance(checked, TokenShape):
            token = self._reference(checked.token, (*path, "token"), {})
            return TokenSettings(token=token) if token else None
        if isinstance(checked, AppRoleShape):
            role_id = self._reference(checked.role_id, (*path, "role_id"), {})
            secret_id = self._reference(checked.secret_id, (*path, "secret_id"), {})
            if role_id and secret_id:
                return AppRoleSettings(role_id=role_id, secret_id=secret_id, mount=checked.mount)
        return None

    def _reference(self, given: object, path: FieldPath, backends: Mapping[str, BackendSettings]) -> SecretRef | None:
        if not isinstance(given, Mapping):
            # Whatever is written here in full is meant as the secret: it is not shown.
            self._faults.add(path, "a value written into the configuration", f"{_REFERENCE}; never the secret itself")
            return None
        if "backend" in given and backends:
            made = place(given, path, backends, self._folder, self._faults)
            return BackendRef(made.destination) if made else None
        kind = next((name for name in REFERENCES if name in given), None)
        if kind is None:
            self._faults.add(path, "a mapping without a known reference", _REFERENCE)
            return None
        if self._faults.check(REFERENCES[kind], given, path) is None:
            return None
        text = str(given[kind])
        ref: EnvRef | FileRef | CredentialRef
        match kind:
            case "env":
                ref = EnvRef(text)
            case "file":
                ref = FileRef(self._folder / text)
            case _:
                ref = CredentialRef(text)
        try:
            resolve(ref, self._environ)
        except MissingSecret as error:
            found = "a reference whose name looks like a secret" if looks_like_secret(text) else str(error)
            self._faults.add(path, found, "allowed: a secret that is there")
            return None
        return ref

    def _url(self, url: str, path: FieldPath, *, plain_http: bool) -> None:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            self._faults.add(path, shown(url), "allowed: an https URL")
        elif parts.scheme == "http" and not plain_http and not _is_loopback(parts.hostname):
            self._faults.add(path, shown(url), "allowed: https (plain http only to this machine)")

    def _file(self, name: str | None, path: FieldPath) -> None:
        if name is not None and not (self._folder / name).is_file():
            self._faults.add(path, shown(name), "allowed: a file that exists")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
