"""References to secrets, and the search for secrets where none may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import MissingSecret

_SHAPES = re.compile(
    r"tgp_v1_\w{8}"  # Together
    r"|\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9]{20}"  # Vault and OpenBao tokens
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS access key ids
    r"|://[^/\s:@]*:[^/\s@]+@"  # a password in a URL
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_LONG_AND_MIXED = re.compile(r"(?=\S*[0-9])(?=\S*[a-z])(?=\S*[A-Z])[A-Za-z0-9+/=_-]{24,}")


@dataclass(frozen=True, slots=True)
class EnvRef:
    """``{env: NAME}``: an environment variable."""

    name: str


@dataclass(frozen=True, slots=True)
class FileRef:
    """``{file: PATH}``: the content of a file, without its last line end."""

    path: Path


@dataclass(frozen=True, slots=True)
class CredentialRef:
    """``{credential: NAME}``: a systemd credential, a file in ``$CREDENTIALS_DIRECTORY``. Source: systemd.exec(5)."""

    name: str


@dataclass(frozen=True, slots=True)
class BackendRef:
    """``{backend: NAME, ...}``: read from one of the configured backends when it is needed."""

    destination: Destination


SecretRef = EnvRef | FileRef | CredentialRef | BackendRef


def resolve(ref: EnvRef | FileRef | CredentialRef, environ: Mapping[str, str]) -> SecretValue:
    """The secret itself. Raises ``MissingSecret``."""
    match ref:
        case EnvRef(name):
            text, where = environ.get(name, ""), f"environment variable {name}"
        case FileRef(path):
            text, where = _read(path), f"file {path}"
        case CredentialRef(name):
            directory = environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise MissingSecret(f"credential {name}, but no CREDENTIALS_DIRECTORY in the environment")
            text, where = _read(Path(directory) / name), f"credential {name}"
    if not text:
        raise MissingSecret(f"{where}, which is not set or empty")
    return SecretValue(text)


def looks_like_secret(text: str) -> bool:
    """Whether a text must not be shown in an error."""
    return bool(_SHAPES.search(text) or _LONG_AND_MIXED.fullmatch(text.strip()))


def holds_secret(text: str) -> bool:
    """Whether a text has something in it that has the certain shape of a credential."""
    return bool(_SHAPES.search(text))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise MissingSecret(f"file {path}, which can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise MissingSecret(f"file {path}, which is no text") from None
