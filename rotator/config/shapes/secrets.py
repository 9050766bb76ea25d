"""References to secrets."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from rotator.config.shapes.fields import CREDENTIAL, Shape, Text, Variable
from rotator.config.shapes.places import Place


class EnvShape(Shape):
    """An environment variable."""

    env: Variable


class FileShape(Shape):
    """The content of a file, without its last line end."""

    file: Text


class CredentialShape(Shape):
    """A systemd credential (LoadCredential=)."""

    credential: Annotated[str, StringConstraints(pattern=CREDENTIAL)]


Login = EnvShape | FileShape | CredentialShape  # a backend's own credential can't come from a backend
Secret = Login | Place

REFERENCES: dict[str, type[Shape]] = {"env": EnvShape, "file": FileShape, "credential": CredentialShape}
