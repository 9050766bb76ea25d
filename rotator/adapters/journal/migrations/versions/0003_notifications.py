"""Notifications: how far each channel got, what it was told, and the alerts of the last look at a policy."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("policy_state", sa.Column("alerts", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "channel",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("cursor", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False, server_default=""),
        sa.Column("held_until", sa.Text, nullable=False, server_default=""),
    )
    op.create_table(
        "told",
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("policy", sa.Text, primary_key=True),
        sa.Column("condition", sa.Text, primary_key=True),
        sa.Column("standing", sa.Text, nullable=False),
    )
