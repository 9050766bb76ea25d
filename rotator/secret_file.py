"""Secrets in files. A name may lead to a device without an end: no more is read than a secret can have."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rotator.errors import MissingSecret

LONGEST = 65_536
"""Bytes. The largest secret of AWS Secrets Manager is as large (its quotas); a key or a token has far fewer."""

_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def secret_text(path: Path) -> str:
    """The content without its last line end. Raises ``MissingSecret``, which names the file and never a content."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise MissingSecret(f"file {path}, which can't be read ({os.strerror(error.errno or 0)})") from None
    except ValueError:  # what the system can't have as a name
        raise MissingSecret("a file whose name is not possible") from None
    if len(content) > LONGEST:
        raise MissingSecret(f"file {path}, which is larger than {LONGEST // 1024} KiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if _NO_TEXT.search(text):
        raise MissingSecret(f"file {path}, which is no text")
    return text.rstrip("\r\n")
