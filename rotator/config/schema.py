"""The JSON Schema of the configuration, for editors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from rotator.config.shapes.document import Document
from rotator.domain.text import duration


def schema() -> dict[str, Any]:
    """Draft 2020-12, with descriptions; ``rotator schema`` prints it."""
    made = Document.model_json_schema(schema_generator=_Generator)
    made["$schema"] = GenerateJsonSchema.schema_dialect
    made["title"] = "rotator"
    return made


class _Generator(GenerateJsonSchema):
    """Durations as the file writes them: an editor that fills in a default must not write ``PT10S``."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - pydantic's own signature
        if isinstance(dft, timedelta):
            return duration(dft)
        if isinstance(dft, BaseModel):  # what is not said has no default of its own
            return {name: self.encode_default(value) for name, value in dft if value is not None}
        return super().encode_default(dft)
