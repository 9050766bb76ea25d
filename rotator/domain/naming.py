"""The names of the keys that we make: descriptive and unique."""

from __future__ import annotations

import base64
import re
from datetime import datetime

_TAIL = re.compile(r"[0-9]{8}_[a-z2-7]{8}")


def key_name(instance: str, policy: str, now: datetime, random: bytes) -> str:
    """``rotator_<instance>_<policy>_<yyyymmdd>_<random>``; neither instance nor policy may have an underscore.

    :param random: five bytes, written as eight letters and digits.
    """
    tail = base64.b32encode(random).decode().rstrip("=").lower()
    return f"rotator_{instance}_{policy}_{now:%Y%m%d}_{tail}"


def is_name_of(name: str, instance: str, policy: str) -> bool:
    """Whether ``key_name`` of this instance and policy can have made the name."""
    prefix = f"rotator_{instance}_{policy}_"
    return name.startswith(prefix) and _TAIL.fullmatch(name.removeprefix(prefix)) is not None
