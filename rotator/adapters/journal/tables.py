"""The tables, as they are at the newest migration. Times are RFC 3339 text in UTC, so that people can read them.

``policy_state.state`` is the folded ``PolicyRecord`` as JSON; ``event`` is how it came to be, in order. Each policy's
events are a chain (``domain.chain``), and so are those of the policy with the empty name: the journal's own, whose head
is the only row of ``journal_chain``. ``channel`` is how far each channel of notifications got with the events, and
``told`` what it was told of conditions that last.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, Table, Text

REVISION = "0005"
"""The newest migration. A test compares it with the migrations' own head."""

metadata = MetaData()

policy_state = Table(
    "policy_state",
    metadata,
    Column("policy", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("next_at", Text),
    Column("digest", Text, nullable=False, server_default=""),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("problem", Text, nullable=False, server_default=""),
    Column("lease_holder", Text, nullable=False, server_default=""),
    Column("lease_token", Integer, nullable=False, server_default="0"),
    Column("lease_until", Text, nullable=False, server_default=""),
    Column("lease_seconds", Integer, nullable=False, server_default="0"),
    Column("alerts", Text, nullable=False, server_default=""),
    Column("chain_length", Integer, nullable=False, server_default="0"),
    Column("chain_head", Text, nullable=False, server_default=""),
    Column("sealed", Integer, nullable=False, server_default="0"),  # so much of the chain is named by a seal
    Column("ok_at", Text, nullable=False, server_default=""),
    Column("failed_at", Text, nullable=False, server_default=""),
)

event = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("token", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("who", Text, nullable=False, server_default=""),
    Column("number", Integer, nullable=False, server_default="0"),
    Column("previous", Text, nullable=False, server_default=""),
    Column("hash", Text, nullable=False, server_default=""),
    Index("event_in_chain", "policy", "number", unique=True),
    Index("event_by_kind", "kind", "at"),
    sqlite_autoincrement=True,
)

observation = Table(
    "observation",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("fingerprint", Text),
    Column("seen_at", Text, nullable=False),
    Column("key_id", Text, nullable=False, server_default=""),
    Index("observation_by_scope", "scope"),
)

channel = Table(
    "channel",
    metadata,
    Column("name", Text, primary_key=True),
    Column("cursor", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("holder", Text, nullable=False, server_default=""),
    Column("held_until", Text, nullable=False, server_default=""),
)

told = Table(
    "told",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("policy", Text, primary_key=True),
    Column("condition", Text, primary_key=True),
    Column("standing", Text, nullable=False),
)

journal_chain = Table(
    "journal_chain",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("length", Integer, nullable=False, server_default="0"),
    Column("head", Text, nullable=False, server_default=""),
    Column("sealed_at", Text, nullable=False, server_default=""),
    Column("pruned_at", Text, nullable=False, server_default=""),
)
