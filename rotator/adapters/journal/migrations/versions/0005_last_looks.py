"""When a look at each policy was fine last, and when one ended in an error."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("policy_state", sa.Column("ok_at", sa.Text, nullable=False, server_default=""))
    op.add_column("policy_state", sa.Column("failed_at", sa.Text, nullable=False, server_default=""))
