"""The tables, as they are at the newest migration. Times are RFC 3339 text in UTC, so that people can read them.

``policy_state.state`` is the folded ``PolicyRecord`` as JSON; ``event`` is how it came to be, in order. ``channel`` is
how far each channel of notifications got with the events, and ``told`` what it was told of conditions that last.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, Table, Text

REVISION = "0003"
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
    Index("event_by_policy", "policy", "seq"),
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
