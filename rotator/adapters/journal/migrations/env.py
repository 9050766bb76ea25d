"""How Alembic runs here: on the connection that the journal hands over, never on one of its own."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
