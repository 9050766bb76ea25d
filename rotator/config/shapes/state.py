"""The journal: where it is, how long its events are kept, and where its heads are written down."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, SkipValidation

from rotator.config.shapes.fields import Duration, Shape, Text
from rotator.config.shapes.secrets import Login


class AnchorShape(Shape):
    """Where the head of the journal's chain is written down, so that a changed history shows."""

    every: Duration = Field(timedelta(hours=1), description="How often; the log has it too (journal.head).")
    file: Text | None = Field(None, description="A line is added to it; best where rotator can't change what is there.")
    url: Text | None = Field(None, description="A POST with JSON; 2xx is its success.")
    token: SkipValidation[Login | None] = Field(None, description="Sent to the url as 'Authorization: Bearer'.")


class StateShape(Shape):
    """Where the journal is, and for how long."""

    url: Text | None = Field(
        None,
        description="sqlite:////absolute/path or postgresql+psycopg://USER@HOST/DATABASE?sslmode=... "
        "Default: state.db in the state directory.",
    )
    password: SkipValidation[Login | None] = Field(None, description="For PostgreSQL, unless libpq finds one itself.")
    retention: Duration = Field(
        timedelta(days=400),
        description="How long events are kept, at least; what a live key or an open rotation comes from stays longer.",
    )
    anchor: AnchorShape = AnchorShape()
