"""How Alembic runs here: on the connection that the journal hands over, never on one of its own.

The caller has begun a transaction in which no other process migrates, and ends it: a migration is carried out as a
whole or not at all.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
