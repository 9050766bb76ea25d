"""The first journal: policies with their leases and schedule, events, observations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "policy_state",
        sa.Column("policy", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("next_at", sa.Text),
        sa.Column("digest", sa.Text, nullable=False, server_default=""),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
        sa.Column("lease_holder", sa.Text, nullable=False, server_default=""),
        sa.Column("lease_token", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lease_until", sa.Text, nullable=False, server_default=""),
        sa.Column("lease_seconds", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_table(
        "event",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("event_by_policy", "event", ["policy", "seq"])
    op.create_table(
        "observation",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text),
        sa.Column("seen_at", sa.Text, nullable=False),
    )
    op.create_index("observation_by_scope", "observation", ["scope"])
