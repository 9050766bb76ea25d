"""Everything but policies: state, backends, providers, service, log, http."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rotator.config.assisted import checked_console
from rotator.config.aws import aws_settings
from rotator.config.check import Faults, as_written, one_line, shown
from rotator.config.history import history_settings
from rotator.config.hooks import HookReader
from rotator.config.hosts import is_loopback, listening, origin_of, wrong_with
from rotator.config.notifications import ChannelReader
from rotator.config.places import place
from rotator.config.plugged import PluggedReader
from rotator.config.secrets import (
    IN_HEADER,
    BackendRef,
    CredentialRef,
    EnvRef,
    FileRef,
    Form,
    SecretRef,
    holds_secret,
    looks_like_secret,
    named,
    resolve,
)
from rotator.config.settings import (
    BackendSettings,
    ChannelSettings,
    DotenvSettings,
    HistorySettings,
    HookSettings,
    HttpSettings,
    LimitsSettings,
    LogSettings,
    ProviderSettings,
    ServiceSettings,
    TogetherSettings,
)
from rotator.config.shapes.aws import AwsShape
from rotator.config.shapes.backends import BACKENDS, DotenvShape, VaultShape
from rotator.config.shapes.document import Defaults, HttpShape, LogShape, ServiceShape, TlsShape
from rotator.config.shapes.fields import LimitsShape, Shape
from rotator.config.shapes.providers import PROVIDERS, TogetherAssistedShape, TogetherShape
from rotator.config.shapes.secrets import REFERENCES
from rotator.config.shapes.state import StateShape
from rotator.config.source import FieldPath
from rotator.config.state import default_url, is_postgresql, postgresql_url, sqlite_url
from rotator.config.vault import VaultReader
from rotator.errors import MissingSecret

EMBEDDED = "dotenv"
"""The backend that exists without being configured."""

_REFERENCE = "allowed: a reference: {env: NAME}, {file: PATH}, {credential: NAME} or {backend: NAME, ...}"
_LOGIN = "allowed: a reference: {env: NAME}, {file: PATH} or {credential: NAME}"


def service(shape: ServiceShape) -> ServiceSettings:
    """The service section."""
    return ServiceSettings(
        workers=shape.workers,
        max_rotations_per_run=shape.max_rotations_per_run,
        lease=shape.lease,
        shutdown_timeout=shape.shutdown_timeout,
        reload=shape.reload,
    )


def log(shape: LogShape) -> LogSettings:
    """The log section."""
    return LogSettings(level=shape.level, format=shape.format)


class SectionReader:
    """Reads the sections of one file; what is wrong goes to ``faults``."""

    def __init__(
        self, faults: Faults, environ: Mapping[str, str], folder: Path, *, secrets: bool = True, forms: bool = False
    ) -> None:
        self._faults = faults
        self._environ = environ
        self._secrets, self._forms = secrets, forms
        self._folder = folder
        self._unmade: set[str] = set()  # backends with faults of their own
        self.reserved: dict[tuple[str, ...], str] = {}
        """Places that hold credentials of ours: no policy may write there."""

    def state(self, given: StateShape | None) -> tuple[str, SecretRef | None]:
        """Where the journal is, and the password for it."""
        given = given or StateShape()
        path = ("state", "password")
        password = None if given.password is None else self._reference(given.password, path)
        if given.url and is_postgresql(given.url):
            return postgresql_url(given.url, self._environ, self._faults), password
        if given.password is not None:
            self._faults.add(path, "a password for a file", "allowed: with a PostgreSQL URL only")
        url = sqlite_url(given.url, self._folder, self._faults) if given.url else default_url(self._environ)
        return url, None

    def history(self, given: StateShape | None) -> HistorySettings:
        """What becomes of the journal's events."""
        return history_settings(
            given or StateShape(),
            self._folder,
            self._faults,
            reference=self._reference,
            url=partial(self._url, plain_http=False),
        )

    def backends(self, given: object) -> dict[str, BackendSettings]:
        """The backends by name, the embedded one included."""
        made: dict[str, BackendSettings] = {EMBEDDED: DotenvSettings()}
        for name, value, path in self._faults.named(given, "backends"):
            kind = value.get("type")
            if isinstance(kind, str) and kind not in BACKENDS:
                if plugged := self._plugged().backend(value, path, BACKENDS):
                    made[name] = plugged
                continue
            shape = self._faults.one_of(BACKENDS, kind, (*path, "type"), "a type of backend")
            checked = self._faults.check(shape, value, path) if shape else None
            if settings := self._backend(checked, path):
                made[name] = settings
        self._unmade = set(given if isinstance(given, Mapping) else ()) - set(made)
        return made

    def _backend(self, checked: Shape | None, path: FieldPath) -> BackendSettings | None:
        if isinstance(checked, VaultShape):
            vault = VaultReader(self._faults, self._folder, reference=self._reference, url=self._url)
            return vault.settings(checked, path, _limits(checked.limits))
        if isinstance(checked, AwsShape):
            for where in ("endpoint_url", "sts_endpoint_url"):
                if (url := getattr(checked, where)) is not None:
                    self._url(url, (*path, where), plain_http=False)
            return aws_settings(checked, path, self._faults, reference=self._reference, file=self._file)
        if isinstance(checked, DotenvShape):
            return DotenvSettings(limits=_limits(checked.limits))
        return None

    def providers(self, given: object, backends: Mapping[str, BackendSettings]) -> dict[str, ProviderSettings]:
        """The providers by name."""
        made: dict[str, ProviderSettings] = {}
        for name, value, path in self._faults.named(given, "providers"):
            kind = value.get("type")
            if isinstance(kind, str) and kind not in PROVIDERS:
                if plugged := self._plugged(backends).provider(value, path, PROVIDERS):
                    made[name] = plugged
                continue
            if not self._faults.one_of(PROVIDERS, kind, (*path, "type"), "a type of provider"):
                continue
            is_assisted = value.get("issuance") == "assisted"
            if settings := self._assisted(value, path) if is_assisted else self._api(value, path, backends):
                made[name] = settings
        if not made and not self._faults.found:
            self._faults.add(("providers",), "no provider", "allowed: at least one")
        return made

    def _api(
        self, value: Mapping[str, object], path: FieldPath, backends: Mapping[str, BackendSettings]
    ) -> TogetherSettings | None:
        """Keys are made over an endpoint."""
        checked = self._faults.check(TogetherShape, value, path)
        if checked is None:
            return None
        self._url(checked.base_url, (*path, "base_url"), plain_http=False)
        key = self._reference(checked.management_key, (*path, "management_key"), backends, form=IN_HEADER)
        return _together(checked, key) if key else None

    def _assisted(self, value: Mapping[str, object], path: FieldPath) -> TogetherSettings | None:
        """People make keys."""
        if "management_key" in value:
            allowed = "allowed: none: people make and revoke keys, and nothing of ours may"
            self._faults.add((*path, "management_key"), "a key with issuance: assisted", allowed)
            value = {name: one for name, one in value.items() if name != "management_key"}
        checked = self._faults.check(TogetherAssistedShape, value, path)
        if checked is None:
            return None
        self._url(checked.base_url, (*path, "base_url"), plain_http=False)
        checked_console(checked.assisted.console_url, (*path, "assisted", "console_url"), self._faults)
        return replace(_together(checked, None), assisted=checked.assisted)

    def http(self, given: HttpShape | None) -> HttpSettings | None:
        """Where the service listens; a place that others than this machine reach asks for a token."""
        if given is None:
            return None
        path = ("http", "token")
        token = None if given.token is None else self._reference(given.token, path)
        place = listening(given.listen)
        if place is None:
            self._faults.add(("http", "listen"), shown(given.listen), "allowed: ADDRESS:PORT such as 127.0.0.1:9464")
            return None
        if given.token is None and not is_loopback(place[0]):
            found = f"no token, but others reach {place[0]}"
            self._faults.add(path, found, f"{_LOGIN}; or an address of this machine alone")
        return HttpSettings(
            host=place[0],
            port=place[1],
            token=token,
            tls=self._certificate(given.tls) if given.tls else None,
            url=None if given.url is None else self._reached_by(given.url),
        )

    def _reached_by(self, url: str) -> str | None:
        """The name that stands in links, and that forms come back from; a path would lead to another page."""
        path = ("http", "url")
        self._url(url, path, plain_http=False)
        if holds_secret(url) or wrong_with(url):
            return None
        origin = origin_of(url)
        if origin is None:
            self._faults.add(path, shown(url), "allowed: an https URL without a path: the service answers at its root")
        return origin

    def _certificate(self, given: TlsShape) -> tuple[Path, Path]:
        """The listener's; a pair that it could not use is found before it is needed."""
        path = ("http", "tls")
        files = [self._file(getattr(given, name), (*path, name)) for name in ("certificate", "key")]
        certificate, key = self._folder / given.certificate, self._folder / given.key
        if self._secrets and all(file is not None and os.path.isfile(file) for file in files):  # noqa: PTH113 - see file()
            from rotator.config.tls import server_context  # noqa: PLC0415 - few configurations have one

            try:
                server_context(certificate, key)
            except OSError as error:
                self._faults.add(path, one_line(f"no pair that can be used: {error}"), "allowed: PEM files of one pair")
        return certificate, key

    def hooks(self, given: object, defaults: Sequence[str]) -> dict[str, HookSettings]:
        """The hooks by name; ``defaults`` has those that policies run which name none."""
        url = partial(self._url, plain_http=False)
        made = HookReader(self._faults, reference=self._reference, url=url).read({} if given is None else given)
        self._faults.chosen(defaults, made, given, ("defaults", "hooks"), "hook")
        return made

    def notifications(self, given: object, defaults: Defaults) -> dict[str, ChannelSettings]:
        """The channels by name; ``defaults`` has those that hear of policies which name none."""
        url = partial(self._url, plain_http=False)
        made = ChannelReader(self._faults, reference=self._reference, url=url).read({} if given is None else given)
        for field in ("notify", "escalate"):
            self._faults.chosen(getattr(defaults, field) or (), made, given, ("defaults", field), "channel")
        return made

    def _file(self, name: str | None, path: FieldPath) -> str | None:
        return self._faults.file(name, self._folder, path)

    def _plugged(self, backends: Mapping[str, BackendSettings] | None = None) -> PluggedReader:
        return PluggedReader(
            faults=self._faults,
            folder=self._folder,
            reference=lambda given, path: self._reference(given, path, backends),
            backends=backends or {},
        )

    def _reference(
        self,
        given: object,
        path: FieldPath,
        backends: Mapping[str, BackendSettings] | None = None,
        *,
        form: Form | None = None,
    ) -> SecretRef | None:
        """A reference, after a look whether it leads somewhere.

        :param backends: where it may lead besides; a backend's own credential never comes from a backend.
        :param form: of the secret; what lies in a backend is not looked at.
        """
        allowed = _LOGIN if backends is None else _REFERENCE
        if not isinstance(given, Mapping):
            # Whatever is written here in full is meant as the secret: it is not shown.
            found = "nothing" if given is None else "a value written into the configuration"
            self._faults.add(path, found, f"{allowed}; never the secret itself")
            return None
        if "backend" in given and backends is not None:
            if isinstance(given["backend"], str) and given["backend"] in self._unmade:
                return None
            made = place(given, path, backends, self._folder, self._faults)
            if made is not None:
                self.reserved[made.identity] = as_written(path)
            return BackendRef(made.destination) if made is not None else None
        kind = next((name for name in REFERENCES if name in given), None)
        if kind is None:
            what = "a reference to a backend" if "backend" in given else "a mapping without a known reference"
            self._faults.add(path, what, allowed)
            return None
        if self._faults.check(REFERENCES[kind], given, path, hide=True) is None:
            return None
        return self._followed(self._made(kind, str(given[kind])), str(given[kind]), path, form)

    def _followed(
        self, ref: EnvRef | FileRef | CredentialRef, name: str, path: FieldPath, form: Form | None
    ) -> SecretRef | None:
        """The reference, if a secret is where it leads."""
        if not self._secrets:
            return ref
        try:
            secret = resolve(ref, self._environ)
        except MissingSecret as error:
            found, allowed = str(error), "allowed: a secret that is there"
        else:
            if form is None or not self._forms or form.fits(secret):
                return ref
            found, allowed = f"{named(ref)}, {form.found}", form.allowed
        hidden = looks_like_secret(name)
        self._faults.add(path, "a reference whose name looks like a secret" if hidden else one_line(found), allowed)
        return None

    def _made(self, kind: str, text: str) -> EnvRef | FileRef | CredentialRef:
        match kind:
            case "env":
                return EnvRef(text)
            case "file":
                return FileRef(self._folder / text)
            case _:
                return CredentialRef(text)

    def _url(self, url: str, path: FieldPath, *, plain_http: bool) -> None:
        if holds_secret(url):
            return  # reported as such, with all others in the file
        if allowed := wrong_with(url, plain_http=plain_http):
            self._faults.add(path, shown(url), allowed)


def _limits(shape: LimitsShape) -> LimitsSettings:
    return LimitsSettings(rate=shape.rate, concurrency=shape.concurrency)


def _together(checked: TogetherShape | TogetherAssistedShape, key: SecretRef | None) -> TogetherSettings:
    return TogetherSettings(
        base_url=checked.base_url.rstrip("/"),
        management_key=key,
        paths=checked.paths.model_dump(exclude_none=True),
        timeout=checked.timeout,
        limits=_limits(checked.limits),
    )
