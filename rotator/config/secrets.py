"""References to secrets, and the search for secrets where none may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rotator.config.source import FieldPath
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.domain.signing import SIGNING_FORM, signing_keys
from rotator.errors import MissingSecret
from rotator.secret_file import secret_text

_SHAPES = re.compile(
    r"tgp_v1_[\w-]{8}"  # Together; the random part is base64url, so it may have a '-' anywhere
    r"|\bhv[sbr]\.[\w-]{20}"  # Vault tokens; base64url too
    r"|\b[sbr]\.[A-Za-z0-9]{20}"  # OpenBao tokens
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS access key ids
    r"|://[^/\s:@]*:[^/\s@]+@"  # a password in a URL
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
)
# For display alone, where a false alarm only hides a value: better one too many than one too few.
_BEGINNINGS = re.compile(r"tgp_v1_|\bhv[sbr]\.|\b(?:AKIA|ASIA)|://\S*@|[?&]\S+=")
_RANDOM = re.compile(
    r"[0-9a-fA-F-]{32,}"  # hexadecimal, UUIDs (the secret id of an AppRole is one)
    r"|(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}"  # one run of letters and digits
    r"|(?=[\w+=-]*[0-9])(?=[\w+=-]*[a-z])(?=[\w+=-]*[A-Z])[\w+=-]{24,}"
)
_COMMENT = re.compile(r"(?:^|\s)#.*")
_BASE64 = re.compile(r"(?=\S*[0-9])(?=\S*[a-z])(?=\S*[A-Z])[A-Za-z0-9+/=_-]{24,}")


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


@dataclass(frozen=True, slots=True)
class Form:
    """What a secret is like where it is of use: told when it is looked for, not when it is needed.

    :param found: what is wrong with one that does not fit, without the secret.
    """

    fits: Callable[[SecretValue], bool]
    found: str
    allowed: str


IN_HEADER = Form(
    SecretValue.is_header_safe,
    "which has blanks or characters that can't be sent",
    "allowed: printable ASCII without blanks, as it is sent in a header",
)

SIGNING = Form(
    lambda secret: bool(signing_keys(secret)),
    "which is of another form",
    f"allowed: {SIGNING_FORM}; several with blanks between them",
)


class Follow(Protocol):
    """Makes a reference of what is written, after a look whether a secret of this form is where it leads."""

    def __call__(self, given: object, path: FieldPath, *, form: Form | None = None) -> SecretRef | None:
        """``None`` after its faults were added."""
        ...


def resolve(ref: EnvRef | FileRef | CredentialRef, environ: Mapping[str, str]) -> SecretValue:
    """The secret itself; blanks alone are none. Raises ``MissingSecret``."""
    match ref:
        case EnvRef(name):
            text, empty = environ.get(name, ""), "which is not set or empty"
        case FileRef(path):
            text, empty = secret_text(path), "which is empty"
        case CredentialRef(name):
            directory = environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise MissingSecret(f"credential {name}, but no CREDENTIALS_DIRECTORY in the environment")
            text, empty = secret_text(Path(directory) / name), "which is empty"
    if not text.strip():
        raise MissingSecret(f"{named(ref)}, {empty}")
    return SecretValue(text)


def named(ref: EnvRef | FileRef | CredentialRef) -> str:
    """Where it leads, in words."""
    match ref:
        case EnvRef(name):
            return f"environment variable {name}"
        case FileRef(path):
            return f"file {path}"
        case CredentialRef(name):
            return f"credential {name}"


def looks_like_secret(text: str) -> bool:
    """Whether a text must not be shown in an error."""
    return any(shape.search(text) for shape in (_SHAPES, _BEGINNINGS, _RANDOM)) or bool(_BASE64.fullmatch(text.strip()))


def holds_secret(text: str) -> bool:
    """Whether a text has something in it that has the certain shape of a credential."""
    return _SHAPES.search(text) is not None


def comments_with_secrets(text: str) -> list[int]:
    """The lines, counted from 1, whose YAML comment has a credential in it."""
    comments = ((number, _COMMENT.search(line)) for number, line in enumerate(text.splitlines(), 1))
    return [number for number, comment in comments if comment and holds_secret(comment[0])]
