"""The section of one Vault or OpenBao, checked: how it is reached, and how one logs in."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from rotator.config.check import Faults, shown
from rotator.config.secrets import IN_HEADER, Follow
from rotator.config.settings import LimitsSettings, VaultSettings
from rotator.config.shapes.backends import (
    AUTHS,
    AppRoleShape,
    AwsIamShape,
    CertShape,
    JwtShape,
    KubernetesShape,
    TokenFileShape,
    TokenShape,
    UserpassShape,
    VaultShape,
)
from rotator.config.source import FieldPath
from rotator.config.vault_settings import (
    AppRoleSettings,
    AuthSettings,
    AwsIamSettings,
    CertSettings,
    JwtSettings,
    KubernetesSettings,
    TokenFileSettings,
    TokenSettings,
    UserpassSettings,
)

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_HEADER = re.compile(r"[!-~]+")  # X-Vault-Namespace
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")


class _CheckUrl(Protocol):
    def __call__(self, url: str, path: FieldPath, *, plain_http: bool) -> None: ...


class VaultReader:
    """Makes the settings of one backend.

    :param reference: checks a reference to a secret; ``None`` after its faults were added.
    :param url: checks a URL.
    """

    def __init__(
        self,
        faults: Faults,
        folder: Path,
        *,
        reference: Follow,
        url: _CheckUrl,
    ) -> None:
        self._faults = faults
        self._folder = folder
        self._reference = reference
        self._url = url

    def settings(self, shape: VaultShape, path: FieldPath, limits: LimitsSettings) -> VaultSettings | None:
        """The backend; ``None`` after the faults of its login were added."""
        self._url(shape.url, (*path, "url"), plain_http=True)
        if shape.proxy is not None:
            self._url(shape.proxy, (*path, "proxy"), plain_http=True)
        if shape.server_name is not None and not _HOST.fullmatch(shape.server_name):
            self._faults.add((*path, "server_name"), shown(shape.server_name), "allowed: the name of a host")
        if shape.namespace is not None and not _HEADER.fullmatch(shape.namespace):
            allowed = "allowed: letters, digits and signs of ASCII, without blanks"
            self._faults.add((*path, "namespace"), shown(shape.namespace), allowed)
        auth = self._auth(shape.auth, (*path, "auth"))
        if isinstance(auth, CertSettings) and (shape.client_cert is None or urlsplit(shape.url).scheme != "https"):
            found = "the method cert without client_cert" if shape.client_cert is None else "the method cert, for http"
            self._faults.add((*path, "auth", "method"), found, "allowed: with client_cert, for an https URL")
        if auth is None:
            return None
        certificate, key = self._client(shape, path)
        return VaultSettings(
            url=shape.url.rstrip("/"),
            auth=auth,
            namespace=shape.namespace,
            ca_file=self._file(shape.ca_file, (*path, "ca_file")),
            client_cert=certificate,
            client_key=key,
            server_name=shape.server_name,
            proxy=shape.proxy,
            nodes=self._nodes(shape, path),
            timeout=shape.timeout,
            limits=limits,
        )

    def _nodes(self, shape: VaultShape, path: FieldPath) -> tuple[str, ...]:
        for index, node in enumerate(shape.nodes):
            before = len(self._faults.found)
            self._url(node, (*path, "nodes", index), plain_http=True)
            if len(self._faults.found) == before and urlsplit(node).scheme != urlsplit(shape.url).scheme:
                self._faults.add((*path, "nodes", index), shown(node), "allowed: the same scheme as in 'url'")
        return tuple(node.rstrip("/") for node in shape.nodes)

    def _client(self, shape: VaultShape, path: FieldPath) -> tuple[str | None, str | None]:
        """The files of the client certificate, after a look whether they fit together."""
        before = len(self._faults.found)
        certificate = self._file(shape.client_cert, (*path, "client_cert"))
        key = self._file(shape.client_key, (*path, "client_key"))
        if key is not None and certificate is None:
            self._faults.add((*path, "client_key"), "a key without its certificate", "allowed: with client_cert")
        elif certificate is not None and len(self._faults.found) == before:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_pass_phrase)
            except (OSError, ValueError):
                allowed = "allowed: a certificate and its key in PEM, without pass phrase"
                self._faults.add((*path, "client_cert"), "files that can't be used together", allowed)
        return certificate, key

    def _auth(self, given: object, path: FieldPath) -> AuthSettings | None:
        if not isinstance(given, Mapping):
            found = "nothing" if given is None else "a value written into the configuration"
            self._faults.add(path, found, "allowed: a mapping that begins with 'method'")
            return None
        method = given.get("method")
        shape = self._faults.one_of(AUTHS, method, (*path, "method"), "a method")
        checked = self._faults.check(shape, given, path) if shape else None
        match checked:
            case TokenFileShape():
                return self._token_file(checked, path)
            case CertShape():
                return CertSettings(role=checked.role, mount=_mount(checked.mount))
            case AwsIamShape():
                return self._aws(checked, path)
            case None:
                return None
            case _:
                return self._with_secret(checked, path)

    def _with_secret(
        self, shape: TokenShape | AppRoleShape | KubernetesShape | JwtShape | UserpassShape, path: FieldPath
    ) -> AuthSettings | None:
        match shape:
            case TokenShape():
                token = self._reference(shape.token, (*path, "token"), form=IN_HEADER)
                return TokenSettings(token=token) if token else None
            case AppRoleShape(mount=mount, wrapped_for_role=role):
                role_id = self._reference(shape.role_id, (*path, "role_id"))
                sent = IN_HEADER if role else None  # the wrapping token; a secret id is in the body
                secret_id = self._reference(shape.secret_id, (*path, "secret_id"), form=sent)
                if not (role_id and secret_id):
                    return None
                return AppRoleSettings(role_id=role_id, secret_id=secret_id, mount=_mount(mount), wrapped_for_role=role)
            case KubernetesShape(mount=mount, role=role):
                token = self._reference({"file": shape.token_file}, (*path, "token_file"))
                return KubernetesSettings(token=token, role=role, mount=_mount(mount)) if token else None
            case JwtShape(mount=mount):
                token = self._reference(shape.token, (*path, "token"))
                return JwtSettings(token=token, role=shape.role, mount=_mount(mount)) if token else None
            case UserpassShape(mount=mount, username=name):
                password = self._reference(shape.password, (*path, "password"))
                return UserpassSettings(username=name, password=password, mount=_mount(mount)) if password else None

    def _token_file(self, shape: TokenFileShape, path: FieldPath) -> TokenFileSettings | None:
        file = self._file(shape.path, (*path, "path"))
        return TokenFileSettings(path=Path(file)) if file else None

    def _aws(self, shape: AwsIamShape, path: FieldPath) -> AwsIamSettings:
        if not _REGION.fullmatch(shape.region):
            self._faults.add((*path, "region"), shown(shape.region), "allowed: a region of AWS, such as eu-central-1")
        return AwsIamSettings(
            role=shape.role,
            region=shape.region,
            server_id=shape.server_id,
            profile=shape.profile,
            mount=_mount(shape.mount),
        )

    def _file(self, name: str | None, path: FieldPath) -> str | None:
        return self._faults.file(name, self._folder, path)


def _mount(path: str) -> str:
    return path.strip("/")


def _no_pass_phrase() -> str:
    """OpenSSL would ask for one at the terminal."""
    return ""
