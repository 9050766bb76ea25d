"""Events say who recorded them, and each carries the hash of the one before.

What is there already is chained as it is now, and an event at its end says how much that is: nobody can tell what
happened to it before.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from rotator.domain.chain import ChainBegun, Entry, Head, canonical

revision = "0004"
down_revision = "0003"

_ROWS = sa.text("SELECT seq, at, token, kind, body FROM event WHERE policy = :policy ORDER BY seq")
_LINK = sa.text("UPDATE event SET number = :number, previous = :previous, hash = :hash WHERE seq = :seq")
_END = sa.text(
    "INSERT INTO event (at, policy, token, kind, body, who, number, previous, hash) "
    "VALUES (:at, :policy, :token, :kind, :body, :who, :number, :previous, :hash)"
)
_HEAD = sa.text("UPDATE policy_state SET chain_length = :number, chain_head = :hash WHERE policy = :policy")


def upgrade() -> None:
    op.add_column("event", sa.Column("who", sa.Text, nullable=False, server_default=""))
    op.add_column("event", sa.Column("number", sa.Integer, nullable=False, server_default="0"))
    op.add_column("event", sa.Column("previous", sa.Text, nullable=False, server_default=""))
    op.add_column("event", sa.Column("hash", sa.Text, nullable=False, server_default=""))
    op.add_column("policy_state", sa.Column("chain_length", sa.Integer, nullable=False, server_default="0"))
    op.add_column("policy_state", sa.Column("chain_head", sa.Text, nullable=False, server_default=""))
    op.add_column("policy_state", sa.Column("sealed", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "journal_chain",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("length", sa.Integer, nullable=False, server_default="0"),
        sa.Column("head", sa.Text, nullable=False, server_default=""),
        sa.Column("sealed_at", sa.Text, nullable=False, server_default=""),
        sa.Column("pruned_at", sa.Text, nullable=False, server_default=""),
    )
    connection = op.get_bind()
    connection.execute(sa.text("INSERT INTO journal_chain (id) VALUES (1)"))
    for policy in connection.execute(sa.text("SELECT DISTINCT policy FROM event")).scalars().all():
        _chain(connection, policy)
    op.drop_index("event_by_policy", "event")
    op.create_index("event_in_chain", "event", ["policy", "number"], unique=True)


def _chain(connection: sa.Connection, policy: str) -> None:
    head = Head()
    links = []
    for row in connection.execute(_ROWS, {"policy": policy}):
        whole = {"policy": policy, "at": row.at, "token": row.token, "kind": row.kind, "body": row.body}
        link = _link(head, {**whole, "who": ""})
        links.append({**link, "seq": row.seq})
        head = Head(link["number"], link["hash"])
    connection.execute(_LINK, links)
    body = canonical({"older": head.number})
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    whole = {"policy": policy, "at": now, "token": 0, "kind": ChainBegun.__name__, "body": body, "who": "migration"}
    end = {**whole, **_link(head, whole)}
    connection.execute(_END, end)
    connection.execute(_HEAD, {"number": end["number"], "hash": end["hash"], "policy": policy})


def _link(head: Head, whole: dict[str, Any]) -> dict[str, Any]:
    entry = Entry(**whole, number=head.number + 1, previous=head.hash)
    return {"number": entry.number, "previous": entry.previous, "hash": entry.digest()}
