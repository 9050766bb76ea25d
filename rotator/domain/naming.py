"""The names of the keys that we make: descriptive, unique, and recognised exactly."""

from __future__ import annotations

import base64
import re
from datetime import datetime


def key_name(instance: str, policy: str, now: datetime, random: bytes) -> str:
    """``rotator_<instance>_<policy>_<yyyymmdd>_<random>``; neither instance nor policy may have an underscore.

    :param random: five bytes, written as eight letters and digits.
    """
    tail = base64.b32encode(random).decode().rstrip("=").lower()
    return f"rotator_{instance}_{policy}_{now:%Y%m%d}_{tail}"


def is_our_name(name: str, instance: str, policy: str) -> bool:
    """Whether this installation gave that name to a key of that policy."""
    pattern = rf"rotator_{re.escape(instance)}_{re.escape(policy)}_[0-9]{{8}}_[a-z2-7]{{8}}"
    return re.fullmatch(pattern, name) is not None
