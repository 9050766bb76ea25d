"""How pages are drawn: from templates beside this file, everything escaped, nothing undefined passed over."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rotator.telemetry import redact_text

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> Environment:
    """For all pages. ``redact`` takes secrets out of a text before it is escaped, which could hide them."""
    # Here, because a service that is only scraped needs none of it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(redact=redact_text)
    return made
