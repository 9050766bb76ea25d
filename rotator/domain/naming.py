"""The names of the keys that we make: descriptive and unique."""

from __future__ import annotations

import base64
from datetime import datetime


def key_name(instance: str, policy: str, now: datetime, random: bytes) -> str:
    """``rotator_<instance>_<policy>_<yyyymmdd>_<random>``; neither instance nor policy may have an underscore.

    :param random: five bytes, written as eight letters and digits.
    """
    tail = base64.b32encode(random).decode().rstrip("=").lower()
    return f"rotator_{instance}_{policy}_{now:%Y%m%d}_{tail}"
