"""The journal: one implementation, over SQLAlchemy Core."""
