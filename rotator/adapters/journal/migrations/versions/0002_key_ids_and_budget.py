"""Which key an observation is of; and rotations that began lately are counted by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("observation", sa.Column("key_id", sa.Text, nullable=False, server_default=""))
    op.create_index("event_by_kind", "event", ["kind", "at"])
