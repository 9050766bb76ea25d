"""The JSON Schema of the configuration, for editors."""

from __future__ import annotations

from typing import Any

from rotator.config.shapes import Document


def schema() -> dict[str, Any]:
    """Draft 2020-12, with descriptions; ``rotator schema`` prints it."""
    made = Document.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "rotator"
    return made
